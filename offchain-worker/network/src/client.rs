//! The client's end of a serving stream.

use crate::{
    framing::{frame_len, request_frame, FrameReader, FrameWriter},
    limits::WRITE_TIMEOUT,
    metrics::NetworkMetrics,
    peers::{FrameRate, Offence},
    server::{BoxRead, BoxWrite},
    warden::{StreamSlot, Warden},
};
use async_trait::async_trait;
use libp2p::PeerId;
use quipu_protocol::{Activations, Request, Response};
use quipu_worker_core::ports::{PeerError, ServeStream};
use std::time::Duration;
use tokio::{
    io::{split, AsyncRead, AsyncWrite},
    time::{timeout, timeout_at, Instant},
};
use tokio_util::sync::CancellationToken;

/// A stream that we opened to a server. Dropping it closes it.
///
/// [`ServeStream::send`] is not cancel-safe: after a dropped call the stream is torn.
/// [`ServeStream::receive`] is cancel-safe. It gives [`PeerError::Timeout`] once the server owes an
/// answer and nothing was sent or came for the step timeout; without a request under way it waits
/// for as long as the connection lives.
pub struct ClientStream {
    reader: FrameReader<BoxRead>,
    writer: FrameWriter<BoxWrite>,
    slot: StreamSlot,
    step_timeout: Duration,
    /// Requests whose answer has not come.
    owed: u32,
    /// When something was last sent or came.
    since: Instant,
}

impl ClientStream {
    /// A stream over any bytes, for tests without sockets.
    pub fn over(io: impl AsyncRead + AsyncWrite + Send + 'static, step_timeout: Duration) -> Self {
        let warden = Warden::new(FrameRate::default(), NetworkMetrics::default(), None);
        Self::new(
            io,
            warden.ours(PeerId::random(), CancellationToken::new()),
            step_timeout,
        )
    }

    pub(crate) fn new(
        io: impl AsyncRead + AsyncWrite + Send + 'static,
        slot: StreamSlot,
        step_timeout: Duration,
    ) -> Self {
        let (reader, writer) = split(io);
        ClientStream {
            reader: FrameReader::new(Box::new(reader)),
            writer: FrameWriter::new(Box::new(writer)),
            slot,
            step_timeout,
            owed: 0,
            since: Instant::now(),
        }
    }

    async fn next_frame(&mut self) -> Result<(Response, Option<Activations>), PeerError> {
        let read = self.slot.while_connected(self.reader.read());
        let frame = if self.owed > 0 {
            match timeout_at(self.since + self.step_timeout, read).await {
                Ok(frame) => frame?,
                Err(_) => {
                    self.reader.end();
                    return Err(PeerError::Timeout(self.step_timeout));
                }
            }
        } else {
            read.await?
        };
        self.slot.metrics().bytes_in.inc_by(frame_len(&frame));
        self.since = Instant::now();
        let (response, payload) = frame.into_response()?;
        if answers(&response) {
            self.owed = self.owed.saturating_sub(1);
        }
        Ok((response, payload))
    }
}

/// Does a server owe an answer to it?
fn is_answered(request: &Request) -> bool {
    match request {
        Request::Open(_)
        | Request::Step(_)
        | Request::Voucher { .. }
        | Request::Finish { .. }
        | Request::Fetch(_) => true,
        Request::Upstream(_) | Request::HandOn(_) | Request::TakeFrom(_) | Request::Push(_) => {
            false
        }
    }
}

/// Is it an answer, and nothing that comes beside one?
fn answers(response: &Response) -> bool {
    !matches!(
        response,
        Response::Receipt(_) | Response::Rows { .. } | Response::NotHandedOn { .. }
    )
}

#[async_trait]
impl ServeStream for ClientStream {
    async fn send(
        &mut self,
        request: Request,
        payload: Option<Activations>,
    ) -> Result<(), PeerError> {
        let frame = request_frame(&request, payload)?;
        let write = self.slot.while_connected(self.writer.write(&frame));
        match timeout(WRITE_TIMEOUT, write).await {
            Ok(written) => written?,
            Err(_) => return Err(PeerError::Timeout(WRITE_TIMEOUT)),
        }
        self.slot.metrics().bytes_out.inc_by(frame_len(&frame));
        self.since = Instant::now();
        if is_answered(&request) {
            self.owed = self.owed.saturating_add(1);
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<(Response, Option<Activations>), PeerError> {
        let result = self.next_frame().await;
        if let Err(PeerError::Protocol(error)) = &result {
            tracing::debug!(peer = %self.slot.peer, %error, "a server broke the protocol");
            self.reader.end();
            self.slot.metrics().frames_refused("malformed").inc();
            self.slot.offend(Offence::Malformed);
        }
        result
    }
}
