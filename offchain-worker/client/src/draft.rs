//! Guesses at how an answer goes on, which the chain of servers checks in one pass.
//!
//! With an exact profile a position gives the same bits whether it goes through the servers alone or
//! with others, and a token is chosen by its position's logits, the seed and the position alone. So
//! the client can send tokens that it only guesses, and keep as many as it would have chosen: the
//! answer is the same, in fewer round trips.

use std::fmt;

/// Longest run of tokens that is looked up.
const LONGEST: usize = 8;
/// Shortest: one token alone says too little of the next.
const SHORTEST: usize = 2;
/// Drafted tokens with which an answer begins.
const FIRST: u32 = 4;
/// Most rounds without a draft after drafts that were all wrong.
const LONGEST_PAUSE: u32 = 8;

/// Guesses at how a sequence of tokens goes on. A wrong guess costs work, never correctness.
pub trait Drafter: Send + Sync {
    /// At most `most` tokens that may follow on `tokens`, the prompt and the answer so far; the fewer
    /// the less it knows.
    fn draft(&self, tokens: &[u32], most: usize) -> Vec<u32>;
}

/// Looks the last tokens up in what came before, the longest run first and the latest place of it,
/// and guesses that what followed there follows here: names, quotations, code and lists repeat.
#[derive(Clone, Copy, Debug, Default)]
pub struct PromptLookUp;

impl Drafter for PromptLookUp {
    fn draft(&self, tokens: &[u32], most: usize) -> Vec<u32> {
        let Some(from) = follows(tokens) else {
            return Vec::new();
        };
        // Where the copy reaches the end it goes on with what it copied.
        let mut guess: Vec<u32> = Vec::with_capacity(most);
        for at in from..from.saturating_add(most) {
            let copied = tokens.get(at).or_else(|| guess.get(at - tokens.len()));
            guess.extend(copied.copied());
        }
        guess
    }
}

/// The place behind the latest of the longest earlier runs that end as `tokens` does.
fn follows(tokens: &[u32]) -> Option<usize> {
    let mut best: Option<(usize, usize)> = None;
    for end in (SHORTEST..tokens.len()).rev() {
        let run = tokens[..end]
            .iter()
            .rev()
            .zip(tokens.iter().rev())
            .take(LONGEST)
            .take_while(|(one, other)| one == other)
            .count();
        if run >= SHORTEST && best.is_none_or(|(longest, _)| run > longest) {
            best = Some((run, end));
        }
        if run == LONGEST {
            break;
        }
    }
    best.map(|(_, end)| end)
}

/// What became of drafted tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drafted {
    /// Passes of the chain that had drafted tokens with them.
    pub rounds: u32,
    /// Tokens that were drafted.
    pub drafted: u32,
    /// Those of them that were right.
    pub accepted: u32,
}

/// How much to draft: more while it is right, less when it is not, nothing for a while when none of
/// it is.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    most: u32,
    now: u32,
    pause: u32,
    wait: u32,
    pub total: Drafted,
}

impl Pace {
    /// At most `most` tokens; none with 0.
    pub fn new(most: u32) -> Self {
        Pace {
            most,
            now: FIRST.min(most),
            pause: 1,
            wait: 0,
            total: Drafted::default(),
        }
    }

    /// How many to draft now.
    pub fn next(&mut self) -> u32 {
        match self.wait {
            0 => self.now,
            _ => {
                self.wait -= 1;
                0
            }
        }
    }

    /// So many of those that were drafted were right.
    pub fn learn(&mut self, drafted: u32, accepted: u32) {
        if drafted == 0 {
            return;
        }
        self.total.rounds += 1;
        self.total.drafted += drafted;
        self.total.accepted += accepted;
        if accepted == 0 {
            self.wait = self.pause;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            self.now = 1.min(self.most);
            return;
        }
        self.pause = 1;
        self.now = match accepted < drafted {
            true => accepted + 1,
            false => drafted.saturating_mul(2).max(self.now),
        }
        .min(self.most);
    }
}

impl fmt::Debug for dyn Drafter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drafter(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(tokens: &[u32], most: usize) -> Vec<u32> {
        PromptLookUp.draft(tokens, most)
    }

    #[test]
    fn what_followed_before_follows_again() {
        assert_eq!(guess(&[1, 2, 3, 4, 5, 9, 2, 3], 2), [4, 5]);
        assert_eq!(
            guess(&[1, 2, 3, 4, 5, 9, 2, 3], 9),
            [4, 5, 9, 2, 3, 4, 5, 9, 2]
        );
        assert!(guess(&[1, 2, 3, 4, 5, 9, 7, 3], 4).is_empty());
        assert!(guess(&[], 4).is_empty() && guess(&[5], 4).is_empty());
        assert!(guess(&[5, 5], 4).is_empty());
        assert!(guess(&[1, 2, 9, 1, 2], 0).is_empty());
    }

    #[test]
    fn the_longest_run_wins_and_then_the_latest() {
        assert_eq!(guess(&[7, 1, 2, 3, 0, 1, 2, 4, 0, 7, 1, 2], 1), [3]);
        assert_eq!(guess(&[1, 2, 3, 0, 1, 2, 4, 0, 1, 2], 1), [4]);
    }

    #[test]
    fn a_repetition_goes_on() {
        assert_eq!(guess(&[8, 5, 5, 5], 4), [5, 5, 5, 5]);
        assert_eq!(guess(&[8, 1, 2, 1, 2], 5), [1, 2, 1, 2, 1]);
    }

    #[test]
    fn the_pace_follows_what_is_right() {
        let mut pace = Pace::new(16);
        assert_eq!(pace.next(), 4);
        pace.learn(4, 4);
        assert_eq!(pace.next(), 8);
        pace.learn(8, 8);
        pace.learn(16, 16);
        assert_eq!(pace.next(), 16);
        pace.learn(16, 2);
        assert_eq!(pace.next(), 3);
        // Less was known than was asked for: no reason to ask for less.
        pace.learn(1, 1);
        assert_eq!(pace.next(), 3);
        let mut gaps = Vec::new();
        for _ in 0..6 {
            pace.learn(1, 0);
            let gap = std::iter::from_fn(|| (pace.next() == 0).then_some(())).count();
            gaps.push(gap);
        }
        assert_eq!(gaps, [1, 2, 4, 8, 8, 8]);
        pace.learn(1, 1);
        assert_eq!(pace.next(), 2);
        let expected = Drafted {
            rounds: 12,
            drafted: 4 + 8 + 16 + 16 + 1 + 6 + 1,
            accepted: 4 + 8 + 16 + 2 + 1 + 1,
        };
        assert_eq!(pace.total, expected);
    }

    #[test]
    fn nothing_is_drafted_where_nothing_may_be() {
        let mut pace = Pace::new(0);
        assert_eq!(pace.next(), 0);
        pace.learn(0, 0);
        assert_eq!((pace.next(), pace.total), (0, Drafted::default()));
    }
}
