//! A run of consecutive transformer blocks.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use core::fmt;
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// Consecutive blocks `start..end`, never empty once [validated](Span::new).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct Span {
    /// First block.
    pub start: u16,
    /// One past the last block.
    pub end: u16,
}

/// Why a span does not fit a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanError {
    /// `start >= end`.
    Empty,
    /// `end` lies behind the model's last block.
    OutsideModel {
        /// Number of blocks of the model.
        blocks: u16,
    },
}

impl Span {
    /// A span of a model of `blocks` blocks.
    pub fn new(start: u16, end: u16, blocks: u16) -> Result<Self, SpanError> {
        let span = Span { start, end };
        span.check(blocks)?;
        Ok(span)
    }

    /// Does this span lie inside a model of `blocks` blocks?
    pub fn check(&self, blocks: u16) -> Result<(), SpanError> {
        if self.start >= self.end {
            return Err(SpanError::Empty);
        }
        if self.end > blocks {
            return Err(SpanError::OutsideModel { blocks });
        }
        Ok(())
    }

    /// Number of blocks.
    pub fn len(&self) -> u16 {
        self.end.saturating_sub(self.start)
    }

    /// True for a span that holds no block.
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Does the span hold this block?
    pub fn contains(&self, block: u16) -> bool {
        (self.start..self.end).contains(&block)
    }

    /// The blocks in order.
    pub fn blocks(&self) -> core::ops::Range<u16> {
        self.start..self.end
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.start, self.end)
    }
}

impl core::str::FromStr for Span {
    type Err = &'static str;

    /// `"a:b"`, blocks `a` up to but without `b`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "a span is written START:END, such as 0:10 for blocks 0 to 9";
        let (start, end) = text.split_once(':').ok_or(SHAPE)?;
        let start = start.parse().map_err(|_| SHAPE)?;
        let end = end.parse().map_err(|_| SHAPE)?;
        Span::new(start, end, u16::MAX).map_err(|_| "a span holds at least one block")
    }
}

impl fmt::Display for SpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpanError::Empty => write!(f, "the span holds no block"),
            SpanError::OutsideModel { blocks } => {
                write!(
                    f,
                    "the span ends behind the model's last block: it has {blocks}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn spans_outside_the_model_are_refused() {
        assert!(Span::new(0, 30, 30).is_ok());
        assert_eq!(Span::new(3, 3, 30), Err(SpanError::Empty));
        assert_eq!(Span::new(4, 3, 30), Err(SpanError::Empty));
        assert_eq!(
            Span::new(29, 31, 30),
            Err(SpanError::OutsideModel { blocks: 30 })
        );
    }

    #[test]
    fn spans_read_and_write_as_text() {
        let span: Span = "10:20".parse().unwrap();
        assert_eq!((span.start, span.end, span.len()), (10, 20, 10));
        assert_eq!(span.to_string(), "10:20");
        for bad in ["", "3", "3:", "3:3", "5:4", "-1:4", "0:70000"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
