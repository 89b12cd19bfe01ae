//! How everyone else reaches the network's task.

use crate::{
    client::ClientStream,
    command::Command,
    driver::Listening,
    error::NetworkError,
    limits::{ENOUGH_RECORDS, FETCHES, FETCH_TIMEOUT, FOUND_QUEUE},
    peers::Offence,
    records::{check_record, Clock, KeyDirectory},
    serve::{OpenError, Wire},
    warden::Warden,
};
use async_trait::async_trait;
use futures::{stream, StreamExt};
use libp2p::{kad, multiaddr::Protocol, Multiaddr, PeerId};
use quipu_primitives::{AccountBytes, Digest, NodeId, SubnetId};
use quipu_protocol::{
    limits::{ANNOUNCEMENT_TTL, MAX_ADDRESSES, MAX_ANNOUNCEMENT},
    Announcement, SignedAnnouncement,
};
use quipu_worker_core::ports::{PeerError, Peers, ServeStream};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot, watch, Semaphore},
    time::timeout,
};
use tokio_util::compat::FuturesAsyncReadCompatExt;

/// A handle of the network. Cheap to clone; the network shuts down when the last one is dropped.
///
/// Commands go through one bounded queue; when it is full, callers wait.
#[derive(Clone)]
pub struct NetworkHandle(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) local: PeerId,
    pub(crate) external: Vec<Multiaddr>,
    pub(crate) genesis: Digest,
    pub(crate) open_timeout: Duration,
    pub(crate) step_timeout: Duration,
    pub(crate) clock: Clock,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) listening: watch::Receiver<Listening>,
    pub(crate) warden: Arc<Warden>,
    /// Permits for DHT queries.
    pub(crate) queries: Semaphore,
}

impl Inner {
    /// Permits for DHT queries.
    pub(crate) fn permits() -> Semaphore {
        Semaphore::new(FETCHES)
    }
}

/// Reads a peer id as it is on chain: multihash bytes.
pub fn peer_id_from_bytes(bytes: &[u8]) -> Result<PeerId, PeerError> {
    PeerId::from_bytes(bytes)
        .map_err(|error| PeerError::Unreachable(format!("its peer id can't be read: {error}")))
}

impl NetworkHandle {
    pub(crate) fn new(inner: Inner) -> Self {
        NetworkHandle(Arc::new(inner))
    }

    /// Our peer id. [`PeerId::to_bytes`] is what the chain holds.
    pub fn local_peer_id(&self) -> PeerId {
        self.0.local
    }

    /// Where we listen, once every listener has an address. Empty if there are none.
    /// Cancel-safe.
    pub async fn listen_addresses(&self) -> Result<Vec<Multiaddr>, NetworkError> {
        let mut listening = self.0.listening.clone();
        let ready = listening
            .wait_for(|listening| listening.pending.is_empty())
            .await;
        ready
            .map(|listening| listening.addresses.clone())
            .map_err(|_| NetworkError::Down)
    }

    /// The addresses to announce: the external ones that were configured, or else where we listen,
    /// without loopback where there is anything else. Cancel-safe.
    pub async fn announced_addresses(&self) -> Result<Vec<String>, NetworkError> {
        let mut addresses = self.0.external.clone();
        if addresses.is_empty() {
            addresses = self.listen_addresses().await?;
            let is_local = crate::driver::is_loopback;
            if addresses.iter().any(|address| !is_local(address)) {
                addresses.retain(|address| !is_local(address));
            }
        }
        addresses.truncate(MAX_ADDRESSES);
        Ok(addresses.iter().map(Multiaddr::to_string).collect())
    }

    /// Remembers where a peer of the DHT is. Cancel-safe: it is done or not.
    pub async fn add_address(&self, peer: PeerId, address: Multiaddr) -> Result<(), NetworkError> {
        self.command(Command::AddAddress { peer, address }).await
    }

    /// Connects to a peer at `addresses` or where the DHT knows it, unless it is connected. Cancel-safe:
    /// a dial that began goes on.
    pub async fn dial(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), PeerError> {
        let (reply, answer) = oneshot::channel();
        let connect = Command::Connect {
            peer,
            addresses: addresses.clone(),
            reply,
        };
        self.command(connect).await.map_err(down)?;
        let first = match answer.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => why,
            Err(_) => return Err(down(NetworkError::Down)),
        };
        let Some(found) = self.locate(peer).await else {
            return Err(PeerError::Unreachable(first));
        };
        let addresses = addresses.into_iter().chain(found).collect();
        let (reply, answer) = oneshot::channel();
        self.command(Command::Connect {
            peer,
            addresses,
            reply,
        })
        .await
        .map_err(down)?;
        match answer.await {
            Ok(connected) => connected.map_err(PeerError::Unreachable),
            Err(_) => Err(down(NetworkError::Down)),
        }
    }

    /// Asks the DHT where a peer is; `None` if it does not know.
    async fn locate(&self, peer: PeerId) -> Option<Vec<Multiaddr>> {
        let _permit = self.0.queries.acquire().await.ok()?;
        let (reply, answer) = oneshot::channel();
        self.command(Command::Locate { peer, reply }).await.ok()?;
        answer.await.ok().filter(|found| !found.is_empty())
    }

    /// Stores an announcement in the DHT, here and at the closest peers. Gives the number of peers
    /// that answered: 0 means that nobody else can find it yet. Cancel-safe: what was begun goes on.
    pub async fn publish(&self, signed: &SignedAnnouncement) -> Result<usize, NetworkError> {
        let said = &signed.announcement;
        let value = signed.to_bytes();
        if value.len() > MAX_ANNOUNCEMENT {
            return Err(NetworkError::Announcement(value.len()));
        }
        let key = Announcement::key(&self.0.genesis, said.subnet, said.node);
        let mut record = kad::Record::new(key.to_vec(), value);
        record.expires = Some(Instant::now() + ANNOUNCEMENT_TTL);
        self.publish_record(record).await
    }

    async fn publish_record(&self, record: kad::Record) -> Result<usize, NetworkError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Publish { record, reply }).await?;
        answer
            .await
            .map_err(|_| NetworkError::Down)?
            .map_err(NetworkError::Store)
    }

    /// Publishes a record without looking at it.
    #[cfg(test)]
    pub(crate) async fn publish_bare(&self, record: kad::Record) -> usize {
        self.publish_record(record).await.unwrap()
    }

    /// The newest current announcement of each node that the DHT has, signed by the hotkey given.
    /// Nodes without one are left out. Searches for a bounded number at once, for
    /// [`FETCH_TIMEOUT`] each. Cancel-safe.
    pub async fn fetch_announcements(
        &self,
        genesis: Digest,
        subnet: SubnetId,
        nodes: &[(NodeId, AccountBytes)],
    ) -> Vec<Announcement> {
        stream::iter(nodes.to_vec())
            .map(|(node, hotkey)| self.fetch(genesis, subnet, node, hotkey))
            .buffered(FETCHES)
            .filter_map(std::future::ready)
            .collect()
            .await
    }

    async fn fetch(
        &self,
        genesis: Digest,
        subnet: SubnetId,
        node: NodeId,
        hotkey: AccountBytes,
    ) -> Option<Announcement> {
        let _permit = self.0.queries.acquire().await.ok()?;
        let key = Announcement::key(&genesis, subnet, node);
        let keys = move |s, n| (s == subnet && n == node).then_some(hotkey);
        let keys: &dyn KeyDirectory = &keys;
        let (found, mut values) = mpsc::channel(FOUND_QUEUE);
        self.command(Command::Find {
            key: key.to_vec().into(),
            found,
        })
        .await
        .ok()?;
        let mut newest: Option<Announcement> = None;
        let search = async {
            let mut valid = 0;
            while let Some(value) = values.recv().await {
                match check_record(&key, &value, &genesis, (self.0.clock)(), keys) {
                    Ok(SignedAnnouncement { announcement, .. }) => {
                        if newest
                            .as_ref()
                            .is_none_or(|known| known.made_at < announcement.made_at)
                        {
                            newest = Some(announcement);
                        }
                        valid += 1;
                        if valid == ENOUGH_RECORDS {
                            break;
                        }
                    }
                    Err(error) => tracing::debug!(node, %error, "a found record is no good"),
                }
            }
        };
        if timeout(FETCH_TIMEOUT, search).await.is_err() {
            tracing::debug!(node, "the search for an announcement was cut short");
        }
        newest
    }

    /// Opens a serving stream. Cancel-safe: a stream that nobody waits for is closed.
    pub async fn open_stream(
        &self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    ) -> Result<ClientStream, PeerError> {
        let Wire { stream, cut } = self.open_raw(peer, addresses).await?;
        let slot = self.0.warden.ours(peer, cut);
        Ok(ClientStream::new(
            stream.compat(),
            slot,
            self.0.step_timeout,
        ))
    }

    pub(crate) async fn open_raw(
        &self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    ) -> Result<Wire, PeerError> {
        let limit = self.0.open_timeout;
        match timeout(limit, self.try_open(peer, addresses)).await {
            Ok(opened) => opened,
            Err(_) => Err(PeerError::Timeout(limit)),
        }
    }

    async fn try_open(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<Wire, PeerError> {
        // The connection may be one whose end was not noticed yet: then a second try dials anew.
        let mut tries = 2;
        loop {
            self.dial(peer, addresses.clone()).await?;
            let (reply, answer) = oneshot::channel();
            self.command(Command::OpenStream { peer, reply })
                .await
                .map_err(down)?;
            tries -= 1;
            let error = match answer.await {
                Ok(Ok(wire)) => return Ok(wire),
                Ok(Err(OpenError::Unsupported)) => {
                    return Err(PeerError::Unreachable(OpenError::Unsupported.to_string()))
                }
                Ok(Err(error)) => error,
                Err(_) => OpenError::Broken("the connection closed".into()),
            };
            if tries == 0 {
                return Err(PeerError::Unreachable(error.to_string()));
            }
        }
    }

    /// Moving average of the round trip to a peer, once one was measured: the first ping goes out
    /// when a connection is made, further ones each 15 s while it lasts.
    pub fn round_trip_to(&self, peer: &PeerId) -> Option<Duration> {
        self.0.warden.book.round_trip(peer)
    }

    /// Peers with an open connection.
    pub fn connected_peers(&self) -> Vec<PeerId> {
        self.0.warden.book.connected()
    }

    /// Counts an offence of a peer. One too many, and it is disconnected and banned.
    pub fn report(&self, peer: &PeerId, offence: Offence) {
        self.0.warden.offend(peer, offence);
    }

    /// A peer's score: 0 for a clean one; at [`BAN_SCORE`](crate::limits::BAN_SCORE) it is banned.
    /// Fades with time.
    pub fn score(&self, peer: &PeerId) -> f64 {
        self.0.warden.book.score(peer, Instant::now())
    }

    /// Is the peer banned now?
    pub fn is_banned(&self, peer: &PeerId) -> bool {
        self.0.warden.book.is_banned(peer, Instant::now())
    }

    /// Disconnects a peer and keeps it away for so long. Its streams end with an error at both
    /// ends. Cancel-safe: once begun, the peer's streams and frames are refused even if the
    /// connection stays.
    pub async fn ban(&self, peer: PeerId, length: Duration) -> Result<(), NetworkError> {
        self.0.warden.book.ban(&peer, length, Instant::now());
        self.0.warden.metrics.bans.inc();
        self.command(Command::Disconnect { peer }).await
    }

    /// Closes every connection and socket, and ends the network for all its handles. Cancel-safe:
    /// once begun it goes on.
    pub async fn shutdown(&self) {
        let (reply, done) = oneshot::channel();
        if self.command(Command::Shutdown { reply }).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Has the network shut down?
    pub fn is_down(&self) -> bool {
        self.0.commands.is_closed()
    }

    async fn command(&self, command: Command) -> Result<(), NetworkError> {
        self.0
            .commands
            .send(command)
            .await
            .map_err(|_| NetworkError::Down)
    }
}

fn down(error: NetworkError) -> PeerError {
    PeerError::Unreachable(error.to_string())
}

/// Addresses that can be read. A suffix `/p2p/…` is cut off: who is expected is known.
fn parse(addresses: &[String]) -> Vec<Multiaddr> {
    let mut parsed = Vec::new();
    for text in addresses.iter().take(MAX_ADDRESSES) {
        match text.parse::<Multiaddr>() {
            Ok(mut address) => {
                if let Some(Protocol::P2p(_)) = address.iter().last() {
                    address.pop();
                }
                parsed.push(address);
            }
            Err(error) => tracing::debug!(address = text, %error, "an address can't be read"),
        }
    }
    parsed
}

#[async_trait]
impl Peers for NetworkHandle {
    fn local(&self) -> Vec<u8> {
        self.0.local.to_bytes()
    }

    async fn open(
        &self,
        peer: &[u8],
        addresses: &[String],
    ) -> Result<Box<dyn ServeStream>, PeerError> {
        let peer = peer_id_from_bytes(peer)?;
        Ok(Box::new(self.open_stream(peer, parse(addresses)).await?))
    }

    async fn announcements(
        &self,
        genesis: Digest,
        subnet: SubnetId,
        nodes: &[(NodeId, AccountBytes)],
    ) -> Vec<Announcement> {
        self.fetch_announcements(genesis, subnet, nodes).await
    }

    fn round_trip(&self, peer: &[u8]) -> Option<Duration> {
        self.round_trip_to(&PeerId::from_bytes(peer).ok()?)
    }
}
