//! Auditors that don't do their duty.

use async_trait::async_trait;
use quipu_primitives::{
    audit::{Finding, Verdict},
    Digest,
};
use quipu_worker::audit::{projection, Case, Ended, Examiner, Question, Reason, Shown, Wrong};

/// The work that was shown, as it would have to be named.
fn head(shown: &Shown) -> Digest {
    let last = shown.receipts.last();
    last.map(|signed| signed.receipt.digest())
        .unwrap_or_default()
}

/// Says of every server that it cheats, with a replay that it invents.
#[derive(Clone, Copy, Debug)]
pub struct Accuser;

#[async_trait]
impl Examiner for Accuser {
    async fn examine(&self, _: Case, shown: Shown) -> (Finding, Reason) {
        let finding = Finding {
            verdict: Verdict::Fail,
            head: head(&shown),
            projection: rand::random(),
        };
        (finding, Reason::Differs(0))
    }

    async fn examine_answer(&self, _: Question, _: Ended) -> (Verdict, Digest, Reason) {
        (Verdict::Fail, rand::random(), Wrong::Text.into())
    }
}

/// Lets everybody pass, and replays nothing: what its replay would have given it copies.
#[derive(Clone, Copy, Debug)]
pub struct RubberStamp;

#[async_trait]
impl Examiner for RubberStamp {
    async fn examine(&self, case: Case, shown: Shown) -> (Finding, Reason) {
        let finding = Finding {
            verdict: Verdict::Pass,
            head: head(&shown),
            projection: projection(&case, &shown.output),
        };
        (finding, Reason::Same)
    }

    async fn examine_answer(&self, _: Question, _: Ended) -> (Verdict, Digest, Reason) {
        (Verdict::Pass, rand::random(), Reason::Follows)
    }
}
