//! Fetching what a server signed, and the rows behind it.

use quipu_primitives::{receipt::Direction, DType, RECEIPT_POSITIONS};
use quipu_protocol::{
    limits::OPEN_TIMEOUT, Activations, ActivationsHeader, Fetch, Refusal, Request, Response,
    SignedReceipt,
};
use quipu_worker_core::ports::{PeerError, Peers, ServeStream};
use std::time::Duration;
use tokio::time::timeout;

/// What a server shows: its receipts in order, and the rows that went in and came out, of all their positions.
/// Nothing of it is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// What it signed, as it says.
    pub receipts: Vec<SignedReceipt>,
    /// What went in.
    pub input: Vec<u8>,
    /// What came out.
    pub output: Vec<u8>,
}

/// What may be shown at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Types that the rows may have, all of them the same.
    pub dtypes: Vec<DType>,
    /// Numbers in a row.
    pub hidden: u32,
    /// Longest sequence of the model.
    pub context: u32,
}

/// Why nothing was fetched. Whether the server is to blame, or the way to it, is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The server can't be reached, or the stream broke.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// It shows nothing.
    #[error("the server shows nothing: {0}")]
    Refused(Refusal),
    /// What came is not what was asked for.
    #[error("the server shows {0}")]
    Wrong(&'static str),
}

/// Fetches from the server with this peer id (multihash bytes), which must answer each time within `patience`.
/// At most as much as the model's context holds is taken. Cancel-safe: nothing is left behind.
pub async fn fetch(
    peers: &dyn Peers,
    peer: &[u8],
    addresses: &[String],
    what: Fetch,
    shape: &Shape,
    patience: Duration,
) -> Result<Shown, FetchError> {
    let open = timeout(OPEN_TIMEOUT, peers.open(peer, addresses)).await;
    let mut stream = open.unwrap_or(Err(PeerError::Timeout(OPEN_TIMEOUT)))?;
    stream.send(Request::Fetch(what), None).await?;
    let mut shown = Shown::default();
    let mut dtype = None;
    loop {
        match receive(&mut *stream, patience).await? {
            (Response::Receipt(signed), None) => {
                let length = signed.receipt.end.checked_sub(signed.receipt.start);
                let fits = length.is_some_and(|length| (1..=RECEIPT_POSITIONS).contains(&length));
                if !fits || signed.receipt.end > shape.context {
                    return Err(FetchError::Wrong("a receipt of no range"));
                }
                let tokens = length.unwrap_or_default();
                for direction in [Direction::In, Direction::Out] {
                    let rows = rows(&mut *stream, patience, direction, tokens, shape).await?;
                    if *dtype.get_or_insert(rows.header.dtype) != rows.header.dtype {
                        return Err(FetchError::Wrong("rows of two types"));
                    }
                    let all = match direction {
                        Direction::In => &mut shown.input,
                        Direction::Out => &mut shown.output,
                    };
                    all.extend_from_slice(&rows.bytes);
                }
                // Each covers a position at least: the context bounds their number and their rows.
                if shown.receipts.len() >= shape.context as usize {
                    return Err(FetchError::Wrong("more receipts than positions"));
                }
                shown.receipts.push(signed);
            }
            (Response::Fetched { .. }, None) => return Ok(shown),
            (Response::Refused(refusal), None) => return Err(FetchError::Refused(refusal)),
            _ => return Err(FetchError::Wrong("something that was not asked for")),
        }
    }
}

async fn receive(
    stream: &mut dyn ServeStream,
    patience: Duration,
) -> Result<(Response, Option<Activations>), FetchError> {
    let received = timeout(patience, stream.receive()).await;
    Ok(received.unwrap_or(Err(PeerError::Timeout(patience)))?)
}

async fn rows(
    stream: &mut dyn ServeStream,
    patience: Duration,
    wanted: Direction,
    tokens: u32,
    shape: &Shape,
) -> Result<Activations, FetchError> {
    let fits = |header: ActivationsHeader| {
        let size = (header.tokens, header.hidden) == (tokens, shape.hidden);
        size && shape.dtypes.contains(&header.dtype)
    };
    match receive(stream, patience).await? {
        (Response::Rows { direction, .. }, Some(rows))
            if direction == wanted && fits(rows.header) =>
        {
            Ok(rows)
        }
        (Response::Refused(refusal), None) => Err(FetchError::Refused(refusal)),
        _ => Err(FetchError::Wrong("other rows than its receipt is about")),
    }
}
