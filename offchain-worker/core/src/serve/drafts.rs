//! Positions that the client drafted: computed, but not committed to until it says that they count.

use super::Identity;
use bytes::Bytes;
use quipu_protocol::{
    limits::{DRAFT_ALLOWANCE, MAX_DRAFTED},
    Activations, Refusal, RefusalCode,
};

/// The drafted positions at the end of a session's cache.
#[derive(Clone, Debug, Default)]
pub(super) struct Drafts {
    /// How many there are.
    held: u32,
    /// Their rows, as they came in and went out.
    input: Bytes,
    output: Bytes,
    /// How many did not count so far: work that nobody pays for.
    lost: u32,
}

/// A step's first rows count at once; its last ones are drafted.
pub(super) struct Parts {
    pub sure: Bytes,
    pub drafted: Bytes,
}

/// The rows of a step of which the last `drafted` are drafted; there are more than that.
pub(super) fn parts(rows: &Activations, drafted: u32) -> Parts {
    let tokens = rows.header.tokens.max(1) as usize;
    let at = rows.bytes.len() / tokens * tokens.saturating_sub(drafted as usize);
    Parts {
        sure: rows.bytes.slice(..at),
        drafted: rows.bytes.slice(at..),
    }
}

/// What counts now, one behind the other.
pub(super) fn joined(counted: &Bytes, sure: &Bytes) -> Bytes {
    match counted.is_empty() {
        true => sure.clone(),
        false => [counted.as_ref(), sure.as_ref()].concat().into(),
    }
}

impl Drafts {
    /// How many there are.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// How many of them count if the sequence goes on at `position`, where `committed` positions
    /// count already; `None` if it can't go on there.
    pub fn counted(&self, committed: u32, position: u32) -> Option<u32> {
        let counted = position.checked_sub(committed)?;
        (counted <= self.held).then_some(counted)
    }

    /// May a step have so many drafted positions among its `tokens`, when it begins at `position` and
    /// thus lets `counted` of those before it count?
    pub fn admit(
        &self,
        me: &Identity,
        position: u32,
        tokens: u32,
        drafted: u32,
        counted: u32,
    ) -> Result<(), Refusal> {
        let refuse = |message: String| Err(Refusal::new(RefusalCode::Drafted, message));
        if drafted == 0 {
            return Ok(());
        }
        if !me.exact {
            return refuse("this server's profile is not exact: it takes no drafts".into());
        }
        if drafted > MAX_DRAFTED {
            return refuse(format!(
                "{drafted} drafted positions; a step has at most {MAX_DRAFTED}"
            ));
        }
        if drafted >= tokens {
            return refuse("a step begins with a position that is not drafted".into());
        }
        let lost = self.lost_with(counted).saturating_add(drafted);
        if lost > DRAFT_ALLOWANCE.saturating_add(position) {
            return refuse(format!(
                "{} drafted positions of the session did not count; it has {position} that do",
                self.lost_with(counted)
            ));
        }
        Ok(())
    }

    /// How many did not count, once `counted` of those that are held do.
    fn lost_with(&self, counted: u32) -> u32 {
        let lost = self.held.saturating_sub(counted);
        self.lost.saturating_add(lost)
    }

    /// The rows of the first `counted`, as they came in and went out.
    pub fn rows(&self, counted: u32) -> (Bytes, Bytes) {
        let first = |rows: &Bytes| match self.held {
            0 => Bytes::new(),
            held => rows.slice(..rows.len() / held as usize * counted.min(held) as usize),
        };
        (first(&self.input), first(&self.output))
    }

    /// Only the first `counted` are left.
    pub fn cut(&mut self, counted: u32) {
        let (input, output) = self.rows(counted);
        self.lost = self.lost_with(counted);
        (self.held, self.input, self.output) = (self.held.min(counted), input, output);
    }

    /// All of them count or are gone, and these follow.
    pub fn replace(&mut self, held: u32, input: Bytes, output: Bytes) {
        (self.held, self.input, self.output) = (held, input, output);
    }

    /// The cache is lost, and they with it: none of them counted.
    pub fn forget(&mut self) {
        self.lost = self.lost_with(0);
        self.replace(0, Bytes::new(), Bytes::new());
    }
}
