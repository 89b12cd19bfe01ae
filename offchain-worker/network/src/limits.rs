//! Limits and timeouts that one end decides by itself. Those that both ends must know are in
//! [`quipu_protocol::limits`].

use quipu_protocol::limits::{LEASE, STEP_TIMEOUT};
use std::time::Duration;

/// Commands that wait for the network's task. When it is full, callers wait.
pub const COMMAND_QUEUE: usize = 256;
/// Accepted streams that wait for the server. When it is full, further ones are refused as busy.
pub const INBOUND_QUEUE: usize = 64;
/// How long a stream at a server may go without a whole frame from the client.
pub const STREAM_IDLE: Duration = Duration::from_secs(2 * LEASE.as_secs());
/// How long a peer may take to accept a frame that we send.
pub const WRITE_TIMEOUT: Duration = STEP_TIMEOUT;
/// How long we try to tell a peer why we close its stream.
pub const REFUSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Refusals of whole streams that are being written at once. Further ones are closed without words.
pub const REFUSALS: usize = 16;
/// Frames that one peer may send per second, over all its streams, in the long run.
pub const FRAMES_PER_SECOND: u32 = 2_000;
/// Frames that one peer may send at once.
pub const FRAME_BURST: u32 = 4_000;

/// How long a dial may take, with its handshakes.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection is kept that nobody uses.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(60);
/// Connections that are being set up at once, in each direction.
pub const MAX_PENDING_CONNECTIONS: u32 = 64;
/// Connections kept free for peers that we dial, so that others can't shut us in.
pub const OUTGOING_RESERVE: u32 = 64;
/// How often a connected peer is pinged.
pub const PING_EVERY: Duration = Duration::from_secs(15);
/// How long a ping may take.
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Failed pings in a row after which a connection counts as dead.
pub const PING_FAILURES: u32 = 2;

/// How long a DHT query may take.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a client looks for one announcement.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Announcements that are looked for at once; further ones wait.
pub const FETCHES: usize = 16;
/// Valid answers after which a search ends. The newest wins.
pub const ENOUGH_RECORDS: usize = 3;
/// Values that wait for the one who searches. When it is full, the search ends.
pub const FOUND_QUEUE: usize = 32;
/// Records kept for the DHT.
pub const MAX_RECORDS: usize = 16_384;
/// How often the routing table is refreshed.
pub const REFRESH: Duration = Duration::from_secs(120);
/// How often expired records and forgotten peers are cleared away.
pub const HOUSEKEEPING: Duration = Duration::from_secs(30);

/// Peers whose conduct is remembered. When it is full, the best behaved are forgotten.
pub const MAX_KNOWN_PEERS: usize = 4_096;
/// Score at which a peer is banned.
pub const BAN_SCORE: f64 = 100.0;
/// Points of the score that fade each second.
pub const FORGIVEN_PER_SECOND: f64 = 1.0;
/// Longest ban that a score leads to.
pub const MAX_BAN: Duration = Duration::from_secs(60 * 60);
/// How long shutting down waits for connections to close.
pub const WIND_DOWN: Duration = Duration::from_secs(1);
