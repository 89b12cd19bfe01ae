//! The server's end of a serving stream.

use crate::{
    framing::{frame_len, response_frame, FrameReader, FrameWriter},
    limits::{REFUSE_TIMEOUT, WRITE_TIMEOUT},
    metrics::NetworkMetrics,
    peers::{FrameRate, Offence},
    warden::{StreamSlot, Warden},
};
use libp2p::PeerId;
use quipu_protocol::{Activations, Refusal, RefusalCode, Request, Response};
use quipu_worker_core::ports::PeerError;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{split, AsyncRead, AsyncWrite},
    sync::{mpsc, Mutex},
    time::{timeout, timeout_at, Instant},
};
use tokio_util::sync::CancellationToken;

pub(crate) type BoxRead = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type BoxWrite = Box<dyn AsyncWrite + Send + Unpin>;

/// A stream that a client opened to us. Both halves can go on at once after [`ServerStream::split`].
/// The stream closes when both are dropped.
pub struct ServerStream {
    reader: ServerReader,
    writer: ServerWriter,
}

/// Receives a stream's requests.
pub struct ServerReader {
    peer: Vec<u8>,
    frames: FrameReader<BoxRead>,
    writer: ServerWriter,
    idle: Duration,
    since: Instant,
}

/// Sends a stream's responses. Clones write to the same stream, each frame whole.
#[derive(Clone)]
pub struct ServerWriter {
    frames: Arc<Mutex<FrameWriter<BoxWrite>>>,
    slot: Arc<StreamSlot>,
}

impl ServerStream {
    /// A stream over any bytes, for tests without sockets. `peer` is who the client says it is;
    /// `idle` how long it may send nothing.
    pub fn over(
        peer: Vec<u8>,
        io: impl AsyncRead + AsyncWrite + Send + 'static,
        idle: Duration,
        rate: FrameRate,
    ) -> Self {
        let warden = Warden::new(rate, NetworkMetrics::default(), None);
        let id = PeerId::from_bytes(&peer).unwrap_or_else(|_| PeerId::random());
        Self::new(peer, io, warden.ours(id, CancellationToken::new()), idle)
    }

    pub(crate) fn new(
        peer: Vec<u8>,
        io: impl AsyncRead + AsyncWrite + Send + 'static,
        slot: StreamSlot,
        idle: Duration,
    ) -> Self {
        let (reader, writer) = split(io);
        let frames: FrameWriter<BoxWrite> = FrameWriter::new(Box::new(writer));
        let writer = ServerWriter {
            frames: Arc::new(Mutex::new(frames)),
            slot: Arc::new(slot),
        };
        let reader = ServerReader {
            peer,
            frames: FrameReader::new(Box::new(reader)),
            writer: writer.clone(),
            idle,
            since: Instant::now(),
        };
        ServerStream { reader, writer }
    }

    /// The client: multihash bytes of its peer id, which the connection proved.
    pub fn peer(&self) -> &[u8] {
        &self.reader.peer
    }

    /// See [`ServerReader::recv`]. Cancel-safe.
    pub async fn recv(&mut self) -> Result<(Request, Option<Activations>), PeerError> {
        self.reader.recv().await
    }

    /// See [`ServerWriter::send`]. Not cancel-safe.
    pub async fn send(
        &mut self,
        response: Response,
        payload: Option<Activations>,
    ) -> Result<(), PeerError> {
        self.writer.send(response, payload).await
    }

    /// See [`ServerWriter::close`]. Cancel-safe.
    pub async fn close(&mut self) -> Result<(), PeerError> {
        self.writer.close().await
    }

    /// Both halves.
    pub fn split(self) -> (ServerReader, ServerWriter) {
        (self.reader, self.writer)
    }
}

impl ServerReader {
    /// The client: multihash bytes of its peer id, which the connection proved.
    pub fn peer(&self) -> &[u8] {
        &self.peer
    }

    /// Waits for the next request.
    ///
    /// [`PeerError::Closed`] when the client closed the stream, and after any other error.
    /// [`PeerError::Protocol`] when what came is no request, and [`PeerError::Closed`] when the
    /// client sent faster than it may: then it was told, the stream was closed, and its score
    /// rises. [`PeerError::Timeout`] when it sent nothing for too long.
    ///
    /// Cancel-safe: a dropped call loses at most the words of a refusal.
    pub async fn recv(&mut self) -> Result<(Request, Option<Activations>), PeerError> {
        let read = self.writer.slot.while_connected(self.frames.read());
        let frame = match timeout_at(self.since + self.idle, read).await {
            Err(_) => {
                self.frames.end();
                return Err(PeerError::Timeout(self.idle));
            }
            Ok(Err(PeerError::Protocol(error))) => return Err(self.malformed(error).await),
            Ok(frame) => frame?,
        };
        self.since = Instant::now();
        let metrics = self.writer.slot.metrics();
        metrics.bytes_in.inc_by(frame_len(&frame));
        if !self.writer.slot.take_frame() {
            metrics.frames_refused("flood").inc();
            let refusal = Refusal::new(RefusalCode::Busy, "too many frames in a short time");
            self.shed(Offence::Flood, refusal).await;
            return Err(PeerError::Closed);
        }
        match frame.into_request() {
            Ok(request) => Ok(request),
            Err(error) => Err(self.malformed(error).await),
        }
    }

    async fn malformed(&mut self, error: quipu_protocol::FrameError) -> PeerError {
        self.writer.slot.metrics().frames_refused("malformed").inc();
        let refusal = Refusal::new(RefusalCode::Unexpected, error.to_string());
        self.shed(Offence::Malformed, refusal).await;
        error.into()
    }

    async fn shed(&mut self, offence: Offence, refusal: Refusal) {
        tracing::debug!(peer = %self.writer.slot.peer, ?offence, %refusal, "stream closed");
        self.frames.end();
        self.writer.slot.offend(offence);
        self.writer.refuse_and_close(refusal).await;
    }
}

impl ServerWriter {
    /// Sends a response, with the activations where it has some. [`PeerError::Protocol`] if these
    /// do not fit the response: then nothing was sent. [`PeerError::Timeout`] if the client does
    /// not take it.
    ///
    /// Not cancel-safe: after a dropped call the stream may be torn, and further ones give
    /// [`PeerError::Closed`].
    pub async fn send(
        &self,
        response: Response,
        payload: Option<Activations>,
    ) -> Result<(), PeerError> {
        let frame = response_frame(&response, payload)?;
        let write = async { self.frames.lock().await.write(&frame).await };
        match timeout(WRITE_TIMEOUT, self.slot.while_connected(write)).await {
            Ok(written) => written?,
            Err(_) => return Err(PeerError::Timeout(WRITE_TIMEOUT)),
        }
        self.slot.metrics().bytes_out.inc_by(frame_len(&frame));
        Ok(())
    }

    /// Says that no response comes any more. Call it after the last one, so that it arrives even
    /// if the stream is dropped at once. Cancel-safe.
    pub async fn close(&self) -> Result<(), PeerError> {
        let close = async { self.frames.lock().await.close().await };
        match timeout(REFUSE_TIMEOUT, self.slot.while_connected(close)).await {
            Ok(closed) => closed,
            Err(_) => Err(PeerError::Timeout(REFUSE_TIMEOUT)),
        }
    }

    /// Writes bytes that are no frame.
    #[cfg(test)]
    pub(crate) async fn write_bare(&self, bytes: &[u8]) {
        self.frames.lock().await.write_bare(bytes).await;
    }

    /// Tries to say why, and closes. The peer may be gone, or take nothing: that is no error.
    pub(crate) async fn refuse_and_close(&self, refusal: Refusal) {
        let refuse = async {
            self.send(Response::Refused(refusal), None).await?;
            self.close().await
        };
        match timeout(REFUSE_TIMEOUT, refuse).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(peer = %self.slot.peer, %error, "not refused"),
            Err(_) => tracing::debug!(peer = %self.slot.peer, "not refused in time"),
        }
    }
}

/// The streams that clients open to us. Bounded: when nobody takes them, further ones are refused
/// as busy.
pub struct IncomingStreams {
    receiver: mpsc::Receiver<ServerStream>,
}

impl IncomingStreams {
    /// A bounded queue of streams.
    pub fn channel(capacity: usize) -> (mpsc::Sender<ServerStream>, IncomingStreams) {
        let (sender, receiver) = mpsc::channel(capacity);
        (sender, IncomingStreams { receiver })
    }

    /// The next stream; `None` once the network has shut down. Cancel-safe.
    pub async fn next(&mut self) -> Option<ServerStream> {
        self.receiver.recv().await
    }
}

impl futures::Stream for IncomingStreams {
    type Item = ServerStream;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ServerStream>> {
        self.receiver.poll_recv(cx)
    }
}
