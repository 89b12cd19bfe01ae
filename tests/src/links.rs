//! Emulated links: TCP proxies between processes of one machine, which carry everything late, at a
//! bounded rate, or not at all.
//!
//! Each direction of each connection is a queue with its own clock: what comes in goes out after the
//! time that it takes at the link's rate, and the delay. Only the opening of a connection takes no
//! time. Threads sleep, rather than tasks: a task's timer is a millisecond late.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{sync_channel, Receiver},
        Arc, Mutex, MutexGuard, PoisonError,
    },
    thread,
    time::{Duration, Instant},
};

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;
/// Chunks that are under way in one direction of a connection; who sends more waits.
const UNDER_WAY: usize = 512;

/// A proxy on the loopback interface for one listening process. Dropping it cuts its connections.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    address: SocketAddr,
}

#[derive(Debug, Default)]
struct Shared {
    delay_nanos: AtomicU64,
    /// 0 for as fast as it goes.
    bits_per_second: AtomicU64,
    cut: AtomicBool,
    ends: Mutex<Ends>,
}

#[derive(Debug, Default)]
struct Ends {
    target: Option<SocketAddr>,
    /// Both ends of every connection so far.
    open: Vec<TcpStream>,
}

impl Shared {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long so many bytes occupy the link.
    fn occupied(&self, bytes: usize) -> Duration {
        match self.bits_per_second.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            rate => Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64),
        }
    }

    fn delay(&self) -> Duration {
        Duration::from_nanos(self.delay_nanos.load(Ordering::Relaxed))
    }

    /// Ends every connection, and opens no more.
    fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
        for stream in self.ends().open.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Link {
    /// A proxy on a free port, without delay, that refuses everybody until [`Link::lead_to`].
    pub fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::<Shared>::default();
        let of_thread = shared.clone();
        thread::Builder::new()
            .name("link".into())
            .spawn(move || accept(listener, of_thread))?;
        Ok(Link { shared, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects those who come from now on to `target`.
    pub fn lead_to(&self, target: SocketAddr) {
        self.shared.ends().target = Some(target);
    }

    /// What comes in from now on is under way for `delay`, and at most so many bits a second; 0 for
    /// as fast as it goes.
    pub fn set(&self, delay: Duration, bits_per_second: u64) {
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.shared.delay_nanos.store(nanos, Ordering::Relaxed);
        let rate = &self.shared.bits_per_second;
        rate.store(bits_per_second, Ordering::Relaxed);
    }

    /// Cuts every connection and refuses new ones, for good: what is under way is lost.
    pub fn cut(&self) {
        self.shared.cut();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.cut();
        // It sees by itself that it has come to its end.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: TcpListener, shared: Arc<Shared>) {
    for near in listener.incoming() {
        if shared.cut.load(Ordering::Relaxed) {
            return;
        }
        // Who could not be connected finds the connection closed.
        if let Ok(near) = near {
            let _ = join(near, &shared);
        }
    }
}

fn join(near: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let mut ends = shared.ends();
    let target = ends.target.ok_or(io::ErrorKind::NotConnected)?;
    let far = TcpStream::connect(target)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    ends.open.extend([near.try_clone()?, far.try_clone()?]);
    carry(near.try_clone()?, far.try_clone()?, shared.clone())?;
    carry(far, near, shared.clone())
}

/// Carries one direction until either side ends.
fn carry(mut from: TcpStream, to: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let (queue, later) = sync_channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let thread = |name: &str| thread::Builder::new().name(name.into());
    thread("link out").spawn(move || deliver(later, to))?;
    thread("link in").spawn(move || {
        let mut free = Instant::now();
        let mut chunk = vec![0; CHUNK];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            free = free.max(Instant::now()) + shared.occupied(count);
            let due = free + shared.delay();
            if queue.send((due, chunk[..count].to_vec())).is_err() {
                break;
            }
        }
    })?;
    Ok(())
}

fn deliver(later: Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    for (due, bytes) in later {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that sends everything back.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut back = stream.try_clone().unwrap();
                thread::spawn(move || io::copy(&mut stream, &mut back));
            }
        });
        address
    }

    fn connected() -> (Link, TcpStream) {
        let link = Link::open().unwrap();
        link.lead_to(echo());
        let stream = TcpStream::connect(link.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        (link, stream)
    }

    fn there_and_back(stream: &mut TcpStream, bytes: &[u8]) -> Duration {
        let started = Instant::now();
        let mut sender = stream.try_clone().unwrap();
        let sent = bytes.to_vec();
        let sending = thread::spawn(move || sender.write_all(&sent).unwrap());
        let mut got = vec![0; bytes.len()];
        stream.read_exact(&mut got).unwrap();
        sending.join().unwrap();
        assert_eq!(got, bytes);
        started.elapsed()
    }

    #[test]
    fn each_direction_is_late_by_the_delay() {
        let (link, mut stream) = connected();
        there_and_back(&mut stream, b"at once");
        let delay = Duration::from_millis(30);
        link.set(delay, 0);
        assert!(there_and_back(&mut stream, b"later") >= 2 * delay);
    }

    #[test]
    fn much_takes_its_time_and_arrives_in_order() {
        let (link, mut stream) = connected();
        let bytes: Vec<u8> = (0..200_000u32).map(|at| (at * 7 % 251) as u8).collect();
        there_and_back(&mut stream, &bytes);
        link.set(Duration::ZERO, 8_000_000);
        // 200 kB at 1 MB a second, the way back beside it.
        assert!(there_and_back(&mut stream, &bytes) >= Duration::from_millis(200));
    }

    #[test]
    fn a_cut_link_ends_its_connections_and_opens_none() {
        let (link, mut stream) = connected();
        there_and_back(&mut stream, b"still there");
        link.cut();
        let ended = |mut stream: TcpStream| matches!(stream.read(&mut [0]), Ok(0) | Err(_));
        assert!(ended(stream));
        // The first one wakes the proxy, which then closes.
        assert!(TcpStream::connect(link.address()).map_or(true, ended));
    }

    #[test]
    fn who_comes_before_the_target_is_known_is_sent_away() {
        let link = Link::open().unwrap();
        let mut early = TcpStream::connect(link.address()).unwrap();
        assert!(matches!(early.read(&mut [0]), Ok(0) | Err(_)));
        link.lead_to(echo());
        let mut stream = TcpStream::connect(link.address()).unwrap();
        there_and_back(&mut stream, b"now");
    }
}
