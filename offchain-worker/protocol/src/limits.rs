//! Every limit and timeout of the wire, in one place.

use std::time::Duration;

/// Most bytes of a frame's SCALE header.
pub const MAX_HEADER: usize = 4 * 1024;
/// Most bytes of a frame's payload: 1,024 positions of 8,192 floats.
pub const MAX_PAYLOAD: usize = 32 * 1024 * 1024;
/// Most positions in one step; a longer prompt goes in several.
pub const MAX_STEP_TOKENS: u32 = 512;
/// Bytes that a stream buffers in each direction while its reader does something else; that of yamux at
/// the least.
pub const STREAM_BUFFER: usize = 256 * 1024;
/// Most bytes of steps that a client sends before the first of them is answered, unless a single one has
/// more: their outputs have as many, and neither end may wait for the other to read.
pub const PIPELINE_BYTES: usize = STREAM_BUFFER / 4 * 3;
/// Most steps that a client sends before the first of them is answered.
pub const PIPELINE_STEPS: usize = 32;
/// Most positions at the end of a step that are drafted.
pub const MAX_DRAFTED: u32 = 16;
/// Drafted positions that may fail to count in a session, beyond as many as it has positions. They
/// are computed, and nobody pays for them.
pub const DRAFT_ALLOWANCE: u32 = 64;
/// How often a client may begin a session's sequence anew at one server: it is computed again, and nobody
/// pays twice.
pub const MAX_REPLAYS: u32 = 8;
/// Positions that a server serves beyond the last voucher.
pub const CREDIT_POSITIONS: u32 = 96;
/// Complete ranges that a server serves without having seen the predecessor's receipts for them.
pub const UPSTREAM_SLACK: u32 = 2;
/// Receipts of the predecessor that a server keeps for ranges which are not complete yet.
pub const MAX_EARLY_UPSTREAM: usize = 64;
/// How long a server keeps a cache that nobody uses.
pub const LEASE: Duration = Duration::from_secs(120);
/// How long a client waits for the answer to a step before it counts the server as failed.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client waits for a stream, and for the answer to an `Open`.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client leaves a failed server alone at first; doubles with each failure.
pub const BAN: Duration = Duration::from_secs(15);
/// How often an announcement is renewed.
pub const ANNOUNCE_EVERY: Duration = Duration::from_secs(60);
/// How long an announcement is believed.
pub const ANNOUNCEMENT_TTL: Duration = Duration::from_secs(120);
/// Most bytes of an announcement.
pub const MAX_ANNOUNCEMENT: usize = 4 * 1024;
/// Most addresses in an announcement.
pub const MAX_ADDRESSES: usize = 16;
/// Sessions that a server runs at once.
pub const MAX_SESSIONS: usize = 64;
/// Streams that one peer may have open at a server.
pub const MAX_STREAMS_PER_PEER: usize = 8;
/// Connections that one peer may have.
pub const MAX_CONNECTIONS_PER_PEER: u32 = 4;
/// Connections of a server in all.
pub const MAX_CONNECTIONS: u32 = 512;
/// How long a draining server waits for its sessions to end.
pub const DRAIN: Duration = Duration::from_secs(60);
