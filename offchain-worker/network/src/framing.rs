//! Frames over any byte stream: sockets, muxed streams, pipes in memory.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quipu_protocol::{
    frame::{lengths, PREFIX},
    limits::{MAX_HEADER, MAX_PAYLOAD},
    Activations, ActivationsError, ActivationsHeader, Frame, FrameError, Request, Response,
};
use quipu_worker_core::ports::PeerError;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Most bytes asked of the stream in one read, and the first allocation of a payload.
const CHUNK: usize = 64 * 1024;
/// Payloads up to this length are copied behind their header, so that the frame is one write. It
/// is what the muxer sends in one piece.
const INLINE: usize = 16 * 1024;

/// Reads frames.
#[derive(Debug)]
pub struct FrameReader<R> {
    io: R,
    prefix: [u8; PREFIX],
    filled: usize,
    header: BytesMut,
    payload: BytesMut,
    ended: bool,
}

/// Writes frames.
#[derive(Debug)]
pub struct FrameWriter<W> {
    io: W,
    torn: bool,
}

fn broken(error: io::Error) -> PeerError {
    PeerError::Unreachable(format!("the connection broke: {error}"))
}

fn torn() -> PeerError {
    PeerError::Unreachable("the stream ended in the middle of a frame".into())
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `io`.
    pub fn new(io: R) -> Self {
        FrameReader {
            io,
            prefix: [0; PREFIX],
            filled: 0,
            header: BytesMut::new(),
            payload: BytesMut::new(),
            ended: false,
        }
    }

    /// The next frame. [`PeerError::Closed`] if the stream ended before it began,
    /// [`PeerError::Unreachable`] if it ended within, [`PeerError::Protocol`] if its lengths are
    /// not allowed. After an error, every further call gives [`PeerError::Closed`].
    ///
    /// Cancel-safe: what a dropped call has read is kept for the next.
    pub async fn read(&mut self) -> Result<Frame, PeerError> {
        if self.ended {
            return Err(PeerError::Closed);
        }
        let result = self.fill().await;
        self.ended = result.is_err();
        result
    }

    /// Reads nothing more.
    pub fn end(&mut self) {
        self.ended = true;
    }

    async fn fill(&mut self) -> Result<Frame, PeerError> {
        while self.filled < PREFIX {
            let read = self
                .io
                .read(&mut self.prefix[self.filled..])
                .await
                .map_err(broken)?;
            if read == 0 {
                return Err(if self.filled == 0 {
                    PeerError::Closed
                } else {
                    torn()
                });
            }
            self.filled += read;
        }
        let (header, payload) = lengths(self.prefix)?;
        fill_buffer(&mut self.io, &mut self.header, header).await?;
        fill_buffer(&mut self.io, &mut self.payload, payload).await?;
        self.filled = 0;
        Ok(Frame {
            header: std::mem::take(&mut self.header).freeze(),
            payload: std::mem::take(&mut self.payload).freeze(),
        })
    }
}

/// Reads until `buffer` has `len` bytes. It never has room for more than twice what has come, or a
/// chunk: who only announces a payload does not make us allocate it.
async fn fill_buffer<R: AsyncRead + Unpin>(
    io: &mut R,
    buffer: &mut BytesMut,
    len: usize,
) -> Result<(), PeerError> {
    while buffer.len() < len {
        let missing = len - buffer.len();
        if buffer.len() == buffer.capacity() {
            buffer.reserve(missing.min(buffer.len().max(CHUNK)));
        }
        let mut room = (&mut *buffer).limit(missing.min(CHUNK));
        if io.read_buf(&mut room).await.map_err(broken)? == 0 {
            return Err(torn());
        }
    }
    Ok(())
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writes to `io`.
    pub fn new(io: W) -> Self {
        FrameWriter { io, torn: false }
    }

    /// Writes and flushes a frame. A frame that is too long is refused with
    /// [`PeerError::Protocol`] before anything is written.
    ///
    /// Not cancel-safe: after a dropped or failed call, the stream is torn, and every further call
    /// gives [`PeerError::Closed`].
    pub async fn write(&mut self, frame: &Frame) -> Result<(), PeerError> {
        let (header, payload) = (frame.header.len(), frame.payload.len());
        if header == 0 || header > MAX_HEADER {
            return Err(FrameError::Header(header).into());
        }
        if payload > MAX_PAYLOAD {
            return Err(FrameError::Payload(payload).into());
        }
        if self.torn {
            return Err(PeerError::Closed);
        }
        self.torn = true;
        let inline = if payload <= INLINE { payload } else { 0 };
        let mut head = BytesMut::with_capacity(PREFIX + header + inline);
        head.put_slice(&frame.prefix());
        head.put_slice(&frame.header);
        head.put_slice(&frame.payload[..inline]);
        let rest = frame.payload.slice(inline..);
        self.io
            .write_all_buf(&mut head.chain(rest))
            .await
            .map_err(broken)?;
        self.io.flush().await.map_err(broken)?;
        self.torn = false;
        Ok(())
    }

    /// Writes half of a frame and tears the stream: for tests of what comes of it. Not cancel-safe.
    pub async fn write_part(&mut self, frame: &Frame) -> Result<(), PeerError> {
        self.torn = true;
        let bytes = [
            &frame.prefix()[..],
            frame.header.as_ref(),
            frame.payload.as_ref(),
        ]
        .concat();
        self.io
            .write_all(&bytes[..bytes.len() / 2])
            .await
            .map_err(broken)?;
        self.io.flush().await.map_err(broken)
    }

    /// Writes bytes that are no frame.
    #[cfg(test)]
    pub(crate) async fn write_bare(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// Says that nothing more comes. Cancel-safe: it may be called again.
    pub async fn close(&mut self) -> Result<(), PeerError> {
        self.torn = true;
        self.io.shutdown().await.map_err(broken)
    }
}

/// Bytes of a frame on the wire.
pub fn frame_len(frame: &Frame) -> u64 {
    (PREFIX + frame.header.len() + frame.payload.len()) as u64
}

/// The frame of a request. [`FrameError`] if its payload does not fit it.
pub fn request_frame(request: &Request, payload: Option<Activations>) -> Result<Frame, FrameError> {
    Ok(Frame::new(request, fitting(request.payload(), payload)?))
}

/// The frame of a response. [`FrameError`] if its payload does not fit it.
pub fn response_frame(
    response: &Response,
    payload: Option<Activations>,
) -> Result<Frame, FrameError> {
    Ok(Frame::new(response, fitting(response.payload(), payload)?))
}

fn fitting(
    asked: Option<ActivationsHeader>,
    payload: Option<Activations>,
) -> Result<Bytes, FrameError> {
    match (asked, payload) {
        (None, None) => Ok(Bytes::new()),
        (None, Some(payload)) => Err(FrameError::Unsolicited(payload.bytes.len())),
        (Some(header), payload) => {
            let bytes = payload.map(|payload| payload.bytes).unwrap_or_default();
            let expected = header
                .byte_len()
                .ok_or(ActivationsError::Type(header.dtype))?;
            if bytes.len() != expected {
                return Err(ActivationsError::Length {
                    expected,
                    got: bytes.len(),
                }
                .into());
            }
            Ok(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use quipu_protocol::Step;
    use tokio::io::duplex;

    fn frame(payload: usize) -> Frame {
        Frame {
            header: Bytes::from_static(b"header"),
            payload: vec![7; payload].into(),
        }
    }

    #[tokio::test]
    async fn frames_of_any_length_come_as_they_went() {
        let (near, far) = duplex(1000);
        let (mut reader, mut writer) = (FrameReader::new(near), FrameWriter::new(far));
        for payload in [0, 1, INLINE, INLINE + 1, CHUNK + 1, 1_000_000, MAX_PAYLOAD] {
            let sent = frame(payload);
            let (wrote, read) = tokio::join!(writer.write(&sent), reader.read());
            wrote.unwrap();
            assert_eq!(read.unwrap(), sent);
        }
        writer.close().await.unwrap();
        assert_eq!(reader.read().await, Err(PeerError::Closed));
    }

    #[tokio::test]
    async fn a_dropped_read_loses_nothing() {
        let (near, mut far) = duplex(1000);
        let mut reader = FrameReader::new(near);
        let sent = frame(100);
        let bytes = [
            &sent.prefix()[..],
            sent.header.as_ref(),
            sent.payload.as_ref(),
        ]
        .concat();
        for byte in bytes {
            assert_eq!(reader.read().now_or_never(), None);
            far.write_all(&[byte]).await.unwrap();
        }
        assert_eq!(reader.read().await, Ok(sent));
    }

    #[tokio::test]
    async fn an_announced_payload_is_not_allocated_before_it_comes() {
        let (near, mut far) = duplex(1000);
        let mut reader = FrameReader::new(near);
        let mut prefix = [0; PREFIX];
        prefix[0] = 1;
        prefix[4..].copy_from_slice(&(MAX_PAYLOAD as u32).to_le_bytes());
        far.write_all(&prefix).await.unwrap();
        far.write_all(&[0; 101]).await.unwrap();
        assert_eq!(reader.read().now_or_never(), None);
        assert_eq!(reader.payload.len(), 100);
        assert!(reader.payload.capacity() <= 2 * CHUNK);
    }

    #[tokio::test]
    async fn a_stream_that_ends_within_a_frame_is_not_a_closed_one() {
        let sent = frame(100);
        for keep in [1, PREFIX, PREFIX + 3, PREFIX + sent.header.len() + 50] {
            let (near, mut far) = duplex(1000);
            let bytes = [
                &sent.prefix()[..],
                sent.header.as_ref(),
                sent.payload.as_ref(),
            ]
            .concat();
            far.write_all(&bytes[..keep]).await.unwrap();
            drop(far);
            let mut reader = FrameReader::new(near);
            assert!(matches!(
                reader.read().await,
                Err(PeerError::Unreachable(_))
            ));
            assert_eq!(reader.read().await, Err(PeerError::Closed));
        }
    }

    #[tokio::test]
    async fn a_dropped_write_tears_the_stream() {
        let (_near, far) = duplex(10);
        let mut writer = FrameWriter::new(far);
        assert_eq!(writer.write(&frame(100)).now_or_never(), None);
        assert_eq!(writer.write(&frame(0)).await, Err(PeerError::Closed));
    }

    #[tokio::test]
    async fn frames_that_are_too_long_are_not_written() {
        let (_near, far) = duplex(10);
        let mut writer = FrameWriter::new(far);
        let long = frame(MAX_PAYLOAD + 1);
        let expected = PeerError::Protocol(FrameError::Payload(MAX_PAYLOAD + 1));
        assert_eq!(writer.write(&long).await, Err(expected));
        let header = Frame {
            header: vec![0; MAX_HEADER + 1].into(),
            payload: Bytes::new(),
        };
        let expected = PeerError::Protocol(FrameError::Header(MAX_HEADER + 1));
        assert_eq!(writer.write(&header).await, Err(expected));
    }

    #[test]
    fn payloads_must_fit_what_is_sent() {
        let activations = Activations::from_f32(&[1.0, 2.0], 2).unwrap();
        let step = Step {
            step: 0,
            position: 0,
            drafted: 0,
            activations: activations.header,
        };
        assert!(request_frame(&Request::Step(step), Some(activations.clone())).is_ok());
        assert!(matches!(
            request_frame(&Request::Step(step), None),
            Err(FrameError::Mismatch(_))
        ));
        assert_eq!(
            request_frame(&Request::Finish { positions: 0 }, Some(activations)),
            Err(FrameError::Unsolicited(8))
        );
    }
}
