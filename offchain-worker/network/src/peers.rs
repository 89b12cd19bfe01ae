//! What is known of each peer: its connections and streams, how fast it sends, how far away it is,
//! and how it behaves. Time comes in as an argument.

use crate::limits::{
    BAN_SCORE, FORGIVEN_PER_SECOND, FRAMES_PER_SECOND, FRAME_BURST, MAX_BAN, MAX_KNOWN_PEERS,
};
use libp2p::PeerId;
use quipu_protocol::limits::{BAN, MAX_STREAMS_PER_PEER};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What a ban of any length is cut to: longer than a process lives, short enough to add to a clock.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What no honest peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// It sent what is no frame of the protocol.
    Malformed,
    /// It sent frames faster than it may.
    Flood,
    /// It opened more streams than it may.
    Streams,
    /// It stored a record that is no announcement or is not signed by its node's hotkey.
    Record,
}

impl Offence {
    /// Points that it adds to the score. A peer with [`BAN_SCORE`] is banned.
    pub fn points(self) -> f64 {
        match self {
            Offence::Malformed => 60.0,
            Offence::Flood => 60.0,
            Offence::Record => 20.0,
            Offence::Streams => 5.0,
        }
    }
}

/// How many frames a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRate {
    /// Each second, in the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl Default for FrameRate {
    fn default() -> Self {
        FrameRate {
            per_second: FRAMES_PER_SECOND,
            burst: FRAME_BURST,
        }
    }
}

/// Why a stream is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwelcome {
    /// The peer is banned.
    Banned,
    /// It has as many as it may.
    TooMany,
}

/// A bucket that fills at the rate and holds the burst.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

#[derive(Debug)]
struct Peer {
    connections: u32,
    streams: usize,
    bucket: Bucket,
    round_trip: Option<Duration>,
    score: f64,
    scored_at: Instant,
    banned_until: Option<Instant>,
    bans: u32,
}

impl Peer {
    fn score(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.scored_at).as_secs_f64();
        (self.score - passed * FORGIVEN_PER_SECOND).max(0.0)
    }

    fn is_banned(&self, now: Instant) -> bool {
        self.banned_until.is_some_and(|until| until > now)
    }

    fn in_use(&self) -> bool {
        self.connections > 0 || self.streams > 0
    }
}

/// Every peer that is connected, banned, or remembered.
#[derive(Debug)]
pub(crate) struct PeerBook {
    rate: FrameRate,
    peers: Mutex<HashMap<PeerId, Peer>>,
}

impl PeerBook {
    pub(crate) fn new(rate: FrameRate) -> Self {
        PeerBook {
            rate,
            peers: Mutex::new(HashMap::new()),
        }
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<PeerId, Peer>> {
        // No code panics while it holds the lock, and each change leaves the map whole.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, peer: &PeerId, now: Instant, f: impl FnOnce(&mut Peer) -> T) -> T {
        let mut peers = self.peers();
        f(peers.entry(*peer).or_insert_with(|| Peer {
            connections: 0,
            streams: 0,
            bucket: Bucket {
                tokens: f64::from(self.rate.burst),
                at: now,
            },
            round_trip: None,
            score: 0.0,
            scored_at: now,
            banned_until: None,
            bans: 0,
        }))
    }

    /// The peer has so many connections now.
    pub(crate) fn connections(&self, peer: &PeerId, count: u32, now: Instant) {
        self.with(peer, now, |peer| peer.connections = count);
    }

    pub(crate) fn connected(&self) -> Vec<PeerId> {
        let peers = self.peers();
        peers
            .iter()
            .filter(|(_, peer)| peer.connections > 0)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Counts one more stream, unless the peer may not have it. [`Self::stream_ended`] must follow.
    pub(crate) fn stream_began(&self, peer: &PeerId, now: Instant) -> Result<(), Unwelcome> {
        self.with(peer, now, |peer| {
            if peer.is_banned(now) {
                return Err(Unwelcome::Banned);
            }
            if peer.streams >= MAX_STREAMS_PER_PEER {
                return Err(Unwelcome::TooMany);
            }
            peer.streams += 1;
            Ok(())
        })
    }

    pub(crate) fn stream_ended(&self, peer: &PeerId) {
        if let Some(peer) = self.peers().get_mut(peer) {
            peer.streams = peer.streams.saturating_sub(1);
        }
    }

    /// May the peer send one more frame now?
    pub(crate) fn take_frame(&self, peer: &PeerId, now: Instant) -> bool {
        let FrameRate { per_second, burst } = self.rate;
        self.with(peer, now, |peer| {
            let bucket = &mut peer.bucket;
            let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
            bucket.tokens = (bucket.tokens + passed * f64::from(per_second)).min(f64::from(burst));
            bucket.at = bucket.at.max(now);
            let may = bucket.tokens >= 1.0 && peer.banned_until.is_none_or(|until| until <= now);
            if may {
                bucket.tokens -= 1.0;
            }
            may
        })
    }

    /// A ping took so long. The average moves a quarter of the way.
    pub(crate) fn measured(&self, peer: &PeerId, sample: Duration, now: Instant) {
        self.with(peer, now, |peer| {
            peer.round_trip = Some(match peer.round_trip {
                Some(average) => (average * 3 + sample) / 4,
                None => sample,
            });
        });
    }

    pub(crate) fn round_trip(&self, peer: &PeerId) -> Option<Duration> {
        self.peers().get(peer)?.round_trip
    }

    /// Counts an offence. Gives the length of the ban if it is one too many.
    pub(crate) fn offend(&self, peer: &PeerId, offence: Offence, now: Instant) -> Option<Duration> {
        self.with(peer, now, |peer| {
            peer.score = peer.score(now) + offence.points();
            peer.scored_at = now;
            if peer.score < BAN_SCORE || peer.is_banned(now) {
                return None;
            }
            let length = BAN.saturating_mul(1 << peer.bans.min(16)).min(MAX_BAN);
            peer.score = 0.0;
            peer.bans = peer.bans.saturating_add(1);
            peer.banned_until = Some(now + length);
            Some(length)
        })
    }

    /// Score of a peer: 0 is a clean one, [`BAN_SCORE`] leads to a ban.
    pub(crate) fn score(&self, peer: &PeerId, now: Instant) -> f64 {
        self.peers().get(peer).map_or(0.0, |peer| peer.score(now))
    }

    /// Bans a peer. A longer ban stays.
    pub(crate) fn ban(&self, peer: &PeerId, length: Duration, now: Instant) {
        let until = now + length.min(FOREVER);
        self.with(peer, now, |peer| {
            peer.banned_until = Some(peer.banned_until.map_or(until, |old| old.max(until)));
        });
    }

    pub(crate) fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        self.peers()
            .get(peer)
            .is_some_and(|peer| peer.is_banned(now))
    }

    /// When the next ban ends.
    pub(crate) fn next_release(&self) -> Option<Instant> {
        self.peers()
            .values()
            .filter_map(|peer| peer.banned_until)
            .min()
    }

    /// Peers whose ban has ended, each once.
    pub(crate) fn released(&self, now: Instant) -> Vec<PeerId> {
        let mut released = Vec::new();
        for (id, peer) in self.peers().iter_mut() {
            if peer.banned_until.is_some_and(|until| until <= now) {
                peer.banned_until = None;
                released.push(*id);
            }
        }
        released
    }

    /// Forgets peers that are not in use, the best behaved first, until few enough are left. Gives
    /// those whose ban is forgotten with them.
    pub(crate) fn tidy(&self, now: Instant) -> Vec<PeerId> {
        let mut peers = self.peers();
        let excess = peers.len().saturating_sub(MAX_KNOWN_PEERS);
        if excess == 0 {
            return Vec::new();
        }
        let mut idle: Vec<_> = peers
            .iter()
            .filter(|(_, peer)| !peer.in_use())
            .map(|(id, peer)| (peer.banned_until, peer.score(now), *id))
            .collect();
        idle.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        idle.truncate(excess);
        for (_, _, id) in &idle {
            peers.remove(id);
        }
        idle.into_iter()
            .filter(|(ban, _, _)| ban.is_some())
            .map(|(_, _, id)| id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(per_second: u32, burst: u32) -> (PeerBook, PeerId, Instant) {
        (
            PeerBook::new(FrameRate { per_second, burst }),
            PeerId::random(),
            Instant::now(),
        )
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn frames_beyond_burst_and_rate_are_refused() {
        let (book, peer, start) = book(10, 3);
        let taken = |at| (0..100).filter(|_| book.take_frame(&peer, at)).count();
        assert_eq!(taken(start), 3);
        assert_eq!(taken(start + SECOND / 10), 1);
        assert_eq!(taken(start + SECOND / 10), 0);
        assert_eq!(taken(start + 60 * SECOND), 3);
        assert!(
            book.take_frame(&PeerId::random(), start),
            "another peer has its own bucket"
        );
    }

    #[test]
    fn streams_are_counted_and_given_back() {
        let (book, peer, now) = book(1, 1);
        for _ in 0..MAX_STREAMS_PER_PEER {
            assert_eq!(book.stream_began(&peer, now), Ok(()));
        }
        assert_eq!(book.stream_began(&peer, now), Err(Unwelcome::TooMany));
        book.stream_ended(&peer);
        assert_eq!(book.stream_began(&peer, now), Ok(()));
    }

    #[test]
    fn offences_add_up_to_bans_that_double_and_end() {
        let (book, peer, start) = book(10, 10);
        assert_eq!(book.offend(&peer, Offence::Malformed, start), None);
        assert_eq!(book.score(&peer, start), 60.0);
        assert_eq!(book.offend(&peer, Offence::Malformed, start), Some(BAN));
        assert!(book.is_banned(&peer, start));
        assert!(!book.take_frame(&peer, start));
        assert_eq!(book.stream_began(&peer, start), Err(Unwelcome::Banned));
        assert_eq!(book.next_release(), Some(start + BAN));
        assert!(book.released(start + BAN / 2).is_empty());
        assert_eq!(book.released(start + BAN), [peer]);
        assert_eq!(book.next_release(), None);
        let later = start + BAN;
        book.offend(&peer, Offence::Flood, later);
        assert_eq!(book.offend(&peer, Offence::Flood, later), Some(2 * BAN));
    }

    #[test]
    fn scores_fade() {
        let (book, peer, start) = book(1, 1);
        book.offend(&peer, Offence::Malformed, start);
        let later = start + 30 * SECOND;
        assert_eq!(book.score(&peer, later), 30.0);
        assert_eq!(book.offend(&peer, Offence::Malformed, later), None);
        assert_eq!(book.score(&peer, later + 1000 * SECOND), 0.0);
    }

    #[test]
    fn round_trips_are_averaged() {
        let (book, peer, now) = book(1, 1);
        assert_eq!(book.round_trip(&peer), None);
        book.measured(&peer, Duration::from_millis(100), now);
        book.measured(&peer, Duration::from_millis(20), now);
        assert_eq!(book.round_trip(&peer), Some(Duration::from_millis(80)));
    }

    #[test]
    fn the_book_stays_small_and_keeps_whom_it_needs() {
        let (book, connected, now) = book(1, 1);
        book.connections(&connected, 1, now);
        let banned = PeerId::random();
        book.ban(&banned, SECOND, now);
        for _ in 0..MAX_KNOWN_PEERS + 10 {
            book.measured(&PeerId::random(), SECOND, now);
        }
        assert!(book.tidy(now).is_empty());
        assert_eq!(book.peers().len(), MAX_KNOWN_PEERS);
        assert_eq!(book.connected(), [connected]);
        assert!(book.is_banned(&banned, now));
    }

    #[test]
    fn a_shorter_ban_does_not_end_a_longer_one() {
        let (book, peer, now) = book(1, 1);
        book.ban(&peer, 10 * SECOND, now);
        book.ban(&peer, SECOND, now);
        assert!(book.is_banned(&peer, now + 9 * SECOND));
    }
}
