//! Limits and states of one-shot jobs.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Most bytes of a job's inline prompt.
pub const MAX_PROMPT: u32 = 4096;
/// Most bytes of a job's answer.
pub const MAX_ANSWER: u32 = 16_384;

/// How a job's answer ended.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum FinishReason {
    /// The model ended it.
    #[codec(index = 0)]
    Stop,
    /// `max_tokens` was reached.
    #[codec(index = 1)]
    Length,
}
