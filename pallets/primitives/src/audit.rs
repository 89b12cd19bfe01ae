//! What an audit says about a server's work, and how it comes to say it.
//!
//! An audit is about one server of one session. A single auditor looks first; what it can't clear, a
//! committee decides.

use crate::{
    hash::{hash_of, Digest},
    ids::{NodeId, SessionId},
};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Most members of a panel.
pub const MAX_PANEL: u32 = 15;

/// What is audited: the work of one server in one session.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Subject {
    /// The session.
    pub session: SessionId,
    /// The server.
    pub node: NodeId,
}

/// What an auditor found.
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
pub enum Verdict {
    /// The work is what was promised.
    #[codec(index = 0)]
    Pass,
    /// It is not.
    #[codec(index = 1)]
    Fail,
    /// It can't be told. Never slashes.
    #[codec(index = 2)]
    Inconclusive,
    /// The data that would tell was not handed over.
    #[codec(index = 3)]
    Withheld,
}

impl Verdict {
    /// Does it charge the server with something?
    pub fn accuses(self) -> bool {
        matches!(self, Verdict::Fail | Verdict::Withheld)
    }
}

/// A verdict and what it rests on.
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
pub struct Finding {
    /// What was found.
    pub verdict: Verdict,
    /// [`Receipt::digest`](crate::Receipt::digest) of the server's last receipt: the work that was judged. Zeros
    /// where no receipts were handed over.
    pub head: Digest,
    /// Digest of the auditor's own replay. Zeros where there was nothing to replay.
    pub projection: Digest,
}

impl Finding {
    /// What `auditor` commits to before anybody reveals what they found. `salt` is secret until then.
    pub fn commitment(
        &self,
        genesis: &Digest,
        subject: Subject,
        auditor: NodeId,
        salt: &[u8; 32],
    ) -> Digest {
        let content = (genesis, subject, auditor, self, salt);
        hash_of(b"quipu/audit-commitment/1", &content)
    }
}

/// Who looks at an audit, one after the other for as long as it is needed.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum Round {
    /// One auditor.
    #[codec(index = 0)]
    First,
    /// Another one, now and then, after the first let the server pass.
    #[codec(index = 1)]
    Second,
    /// Seven, who decide what an auditor did not let pass.
    #[codec(index = 2)]
    Committee,
    /// Fifteen, where too few of the seven agreed.
    #[codec(index = 3)]
    Tribunal,
}

impl Round {
    /// Members of its panel.
    pub fn size(self) -> u32 {
        match self {
            Round::First | Round::Second => 1,
            Round::Committee => 7,
            Round::Tribunal => MAX_PANEL,
        }
    }

    /// Members who must agree.
    pub fn quorum(self) -> u32 {
        match self {
            Round::First | Round::Second => 1,
            Round::Committee => 5,
            Round::Tribunal => 11,
        }
    }

    /// Does it judge what an auditor did not let pass?
    pub fn is_trial(self) -> bool {
        self >= Round::Committee
    }
}

/// How an audit ended.
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
pub enum Outcome {
    /// Every auditor let the server pass.
    #[codec(index = 0)]
    Passed,
    /// A trial found that the work is not what was promised.
    #[codec(index = 1)]
    Convicted,
    /// The server did not answer an accusation in time, or a trial got no data.
    #[codec(index = 2)]
    Withheld,
    /// A trial found that the work is what was promised.
    #[codec(index = 3)]
    Acquitted,
    /// Nobody knows: too few auditors could be drawn, did their duty, or agreed.
    #[codec(index = 4)]
    Unresolved,
}

impl Outcome {
    /// Does the server lose what it earned in the session?
    pub fn forfeits(self) -> bool {
        matches!(self, Outcome::Convicted | Outcome::Withheld)
    }
}

/// Where an audit stands.
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
pub enum Stage<BlockNumber> {
    /// The round's panel is drawn when nobody who acted up to now can have known the randomness.
    #[codec(index = 0)]
    Waiting {
        /// The epoch in which the wait began.
        since: u64,
    },
    /// The panel's members look, and commit to what they find.
    #[codec(index = 1)]
    Committing {
        /// The first block in which no commitment is taken.
        until: BlockNumber,
    },
    /// They reveal it.
    #[codec(index = 2)]
    Revealing {
        /// The first block in which nothing is revealed any more.
        until: BlockNumber,
    },
    /// The server must say which work it stands by.
    #[codec(index = 3)]
    Answering {
        /// The first block in which no answer is taken.
        until: BlockNumber,
    },
    /// It is over.
    #[codec(index = 4)]
    Closed {
        /// How it ended.
        outcome: Outcome,
        /// The block from which on it may be forgotten.
        kept_until: BlockNumber,
    },
}

impl<BlockNumber> Stage<BlockNumber> {
    /// Is it over?
    pub fn is_closed(&self) -> bool {
        matches!(self, Stage::Closed { .. })
    }

    /// What it waits for: the one thing that goes on with it, if nobody does before.
    pub fn place(self) -> Place<BlockNumber> {
        match self {
            Stage::Waiting { since } => Place::Draw(since),
            Stage::Committing { until: at }
            | Stage::Revealing { until: at }
            | Stage::Answering { until: at }
            | Stage::Closed { kept_until: at, .. } => Place::Block(at),
        }
    }

    /// The same, with its blocks as `number` has them.
    pub fn map<Other>(self, number: impl Fn(BlockNumber) -> Other) -> Stage<Other> {
        match self {
            Stage::Waiting { since } => Stage::Waiting { since },
            Stage::Committing { until } => Stage::Committing {
                until: number(until),
            },
            Stage::Revealing { until } => Stage::Revealing {
                until: number(until),
            },
            Stage::Answering { until } => Stage::Answering {
                until: number(until),
            },
            Stage::Closed {
                outcome,
                kept_until,
            } => Stage::Closed {
                outcome,
                kept_until: number(kept_until),
            },
        }
    }
}

/// What an audit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<BlockNumber> {
    /// A draw, since this epoch.
    Draw(u64),
    /// A block.
    Block(BlockNumber),
}

/// Somebody drawn to look.
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
pub struct Member {
    /// The auditor.
    pub node: NodeId,
    /// [`Finding::commitment`], once it was sent.
    pub commitment: Option<Digest>,
    /// What it found, once that was revealed.
    pub finding: Option<Finding>,
}

impl Member {
    /// Somebody who was just drawn.
    pub fn new(node: NodeId) -> Self {
        Member {
            node,
            commitment: None,
            finding: None,
        }
    }
}

/// Who did not let a server pass.
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
pub struct Accusation {
    /// The auditor.
    pub node: NodeId,
    /// What it said.
    pub verdict: Verdict,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_binds_everything() {
        let finding = Finding {
            verdict: Verdict::Pass,
            head: [1; 32],
            projection: [2; 32],
        };
        let subject = Subject {
            session: 3,
            node: 4,
        };
        let (genesis, salt) = ([5; 32], [6; 32]);
        let of = |finding: Finding| finding.commitment(&genesis, subject, 7, &salt);
        let whole = of(finding);
        let others = [
            of(Finding {
                verdict: Verdict::Fail,
                ..finding
            }),
            of(Finding {
                head: [0; 32],
                ..finding
            }),
            of(Finding {
                projection: [0; 32],
                ..finding
            }),
            finding.commitment(&[0; 32], subject, 7, &salt),
            finding.commitment(
                &genesis,
                Subject {
                    session: 0,
                    ..subject
                },
                7,
                &salt,
            ),
            finding.commitment(&genesis, Subject { node: 0, ..subject }, 7, &salt),
            finding.commitment(&genesis, subject, 0, &salt),
            finding.commitment(&genesis, subject, 7, &[0; 32]),
        ];
        for other in others {
            assert_ne!(other, whole);
        }
    }

    #[test]
    fn more_than_half_of_a_trial_must_agree() {
        for round in [Round::Committee, Round::Tribunal] {
            assert!(2 * round.quorum() > round.size());
            assert!(round.size() <= MAX_PANEL);
        }
    }
}
