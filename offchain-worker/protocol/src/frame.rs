//! Framing: `u32 header length ‖ u32 payload length ‖ header ‖ payload`, lengths little endian.
//!
//! Both lengths are checked against [`limits`](crate::limits) before anything is allocated, and
//! the header must use its bytes up. A payload must have the length that its header announces.

use crate::{
    activations::{Activations, ActivationsError, ActivationsHeader},
    limits::{MAX_HEADER, MAX_PAYLOAD},
    message::{Request, Response},
};
use bytes::Bytes;
use codec::{DecodeAll, Encode};

/// Bytes before the header.
pub const PREFIX: usize = 8;

/// A header with its payload, not yet decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// SCALE bytes of a [`Request`] or [`Response`].
    pub header: Bytes,
    /// Raw activations, or nothing.
    pub payload: Bytes,
}

/// Why bytes are not a frame of this protocol. All are the sender's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header is longer than allowed, or empty.
    #[error("a header of {0} bytes; at most {MAX_HEADER} are taken")]
    Header(usize),
    /// The payload is longer than allowed.
    #[error("a payload of {0} bytes; at most {MAX_PAYLOAD} are taken")]
    Payload(usize),
    /// The header is no message of this protocol.
    #[error("the header is no message of this version")]
    Malformed,
    /// A payload where none belongs, or of another length than its header says.
    #[error("the payload does not fit its header: {0}")]
    Mismatch(#[from] ActivationsError),
    /// A payload came with a message that has none.
    #[error("a payload of {0} bytes where none belongs")]
    Unsolicited(usize),
}

/// The lengths that a prefix announces, checked.
pub fn lengths(prefix: [u8; PREFIX]) -> Result<(usize, usize), FrameError> {
    let [a, b, c, d, e, f, g, h] = prefix;
    let header = u32::from_le_bytes([a, b, c, d]) as usize;
    let payload = u32::from_le_bytes([e, f, g, h]) as usize;
    if header == 0 || header > MAX_HEADER {
        return Err(FrameError::Header(header));
    }
    if payload > MAX_PAYLOAD {
        return Err(FrameError::Payload(payload));
    }
    Ok((header, payload))
}

/// A message and, where it has one, its payload.
fn open<T: DecodeAll>(
    frame: Frame,
    shape: impl Fn(&T) -> Option<ActivationsHeader>,
) -> Result<(T, Option<Activations>), FrameError> {
    let message = T::decode_all(&mut frame.header.as_ref()).map_err(|_| FrameError::Malformed)?;
    let activations = match shape(&message) {
        Some(header) => Some(Activations::new(header, frame.payload)?),
        None if frame.payload.is_empty() => None,
        None => return Err(FrameError::Unsolicited(frame.payload.len())),
    };
    Ok((message, activations))
}

impl Frame {
    /// A frame of a message and its payload.
    pub fn new<T: Encode>(message: &T, payload: Bytes) -> Self {
        Frame {
            header: message.encode().into(),
            payload,
        }
    }

    /// The eight bytes before the header.
    pub fn prefix(&self) -> [u8; PREFIX] {
        let mut prefix = [0; PREFIX];
        prefix[..4].copy_from_slice(&(self.header.len() as u32).to_le_bytes());
        prefix[4..].copy_from_slice(&(self.payload.len() as u32).to_le_bytes());
        prefix
    }

    /// Reads this frame as a request.
    pub fn into_request(self) -> Result<(Request, Option<Activations>), FrameError> {
        open(self, Request::payload)
    }

    /// Reads this frame as a response.
    pub fn into_response(self) -> Result<(Response, Option<Activations>), FrameError> {
        open(self, Response::payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Refusal, RefusalCode, Step};
    use proptest::prelude::*;
    use quipu_primitives::DType;

    #[test]
    fn a_step_goes_both_ways() {
        let activations = Activations::from_f32(&[1.0, 2.0, 3.0, 4.0], 2).unwrap();
        let step = Step {
            step: 3,
            position: 9,
            drafted: 1,
            activations: activations.header,
        };
        let frame = Frame::new(&Request::Step(step), activations.bytes.clone());
        let (header, payload) = lengths(frame.prefix()).unwrap();
        assert_eq!((header, payload), (frame.header.len(), 16));
        assert_eq!(
            frame.into_request().unwrap(),
            (Request::Step(step), Some(activations))
        );
    }

    #[test]
    fn lengths_are_checked_before_anything_is_allocated() {
        let prefix = |header: u32, payload: u32| {
            let mut prefix = [0; PREFIX];
            prefix[..4].copy_from_slice(&header.to_le_bytes());
            prefix[4..].copy_from_slice(&payload.to_le_bytes());
            lengths(prefix)
        };
        assert_eq!(prefix(0, 0), Err(FrameError::Header(0)));
        assert_eq!(
            prefix(u32::MAX, 0),
            Err(FrameError::Header(u32::MAX as usize))
        );
        assert_eq!(
            prefix(1, u32::MAX),
            Err(FrameError::Payload(u32::MAX as usize))
        );
        assert_eq!(prefix(1, 1), Ok((1, 1)));
    }

    #[test]
    fn payloads_must_fit_their_header() {
        let finish = Frame::new(&Request::Finish { positions: 0 }, vec![0; 4].into());
        assert_eq!(finish.into_request(), Err(FrameError::Unsolicited(4)));
        let step = Step {
            step: 0,
            position: 0,
            drafted: 0,
            activations: ActivationsHeader {
                dtype: DType::F32,
                tokens: u32::MAX,
                hidden: u32::MAX,
            },
        };
        let short = Frame::new(&Request::Step(step), vec![0; 4].into());
        assert!(matches!(short.into_request(), Err(FrameError::Mismatch(_))));
        let mut trailing = Frame::new(&Request::Finish { positions: 0 }, Bytes::new());
        trailing.header = [trailing.header.as_ref(), &[0]].concat().into();
        assert_eq!(trailing.into_request(), Err(FrameError::Malformed));
    }

    #[test]
    fn the_longest_refusal_fits_a_header() {
        let refusal = Refusal::new(RefusalCode::Internal, "é".repeat(4000));
        assert!(refusal.message.len() <= 512);
        let frame = Frame::new(&Response::Refused(refusal.clone()), Bytes::new());
        assert!(lengths(frame.prefix()).is_ok());
        assert_eq!(frame.into_response().unwrap().0, Response::Refused(refusal));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_a_typed_error(header: Vec<u8>, payload: Vec<u8>) {
            let frame = Frame { header: header.into(), payload: payload.into() };
            let _ = frame.clone().into_request();
            let _ = frame.into_response();
        }
    }
}
