//! The receipts of the server before this one: proof that the client brought what it was given.

use super::{Identity, Neighbour, Record};
use crate::keys::verify;
use quipu_attest::Range;
use quipu_primitives::{AccountBytes, SessionId, RECEIPT_POSITIONS};
use quipu_protocol::{
    limits::{MAX_EARLY_UPSTREAM, UPSTREAM_SLACK},
    Refusal, RefusalCode, SignedReceipt,
};
use std::collections::{BTreeMap, BTreeSet};

/// A refusal, and the evidence for it where there is new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What the client hears.
    pub refusal: Refusal,
    /// The receipt that contradicts what came in.
    pub evidence: Option<Box<SignedReceipt>>,
}

fn wrong(message: impl Into<String>) -> Wrong {
    Wrong {
        refusal: Refusal::new(RefusalCode::Upstream, message),
        evidence: None,
    }
}

/// What is known of the predecessors' receipts in one session.
#[derive(Clone, Debug)]
pub struct Upstream {
    session: SessionId,
    session_key: AccountBytes,
    predecessors: Vec<Neighbour>,
    verified: BTreeSet<u32>,
    early: BTreeMap<u32, SignedReceipt>,
    /// Ranges for which evidence was kept: once is enough.
    disputed: BTreeSet<u32>,
}

impl Upstream {
    /// Nothing is verified but the ranges that begin at `verified`.
    pub fn new(
        session: SessionId,
        session_key: AccountBytes,
        predecessors: Vec<Neighbour>,
        verified: impl IntoIterator<Item = u32>,
    ) -> Self {
        let verified = verified.into_iter().collect();
        Upstream {
            session,
            session_key,
            predecessors,
            verified,
            early: BTreeMap::new(),
            disputed: BTreeSet::new(),
        }
    }

    /// May further steps be served, when `complete` ranges are signed?
    pub fn admits(&self, me: &Identity, complete: usize) -> Result<(), Refusal> {
        let missing = complete.saturating_sub(self.verified.len());
        if me.span.start == 0 || missing <= UPSTREAM_SLACK as usize {
            return Ok(());
        }
        let message = format!(
            "the receipts of the server before block {} are missing for {missing} ranges",
            me.span.start
        );
        Err(Refusal::new(RefusalCode::Upstream, message))
    }

    /// Takes a receipt of a predecessor. `signed` is what this server signed so far. True if the
    /// receipt verified a range that was not verified before.
    pub fn take(
        &mut self,
        me: &Identity,
        given: SignedReceipt,
        signed: &[SignedReceipt],
    ) -> Result<bool, Wrong> {
        self.authenticate(me, &given)?;
        let start = given.receipt.start;
        let Some(own) = signed.get((start / RECEIPT_POSITIONS) as usize) else {
            if self.early.len() >= MAX_EARLY_UPSTREAM && !self.early.contains_key(&start) {
                return Err(wrong(
                    "too many receipts for positions that did not come yet",
                ));
            }
            self.early.insert(start, given);
            return Ok(false);
        };
        let own = Range {
            start,
            end: own.receipt.end,
            leaf: own.receipt.input,
        };
        match compare(&given, &own) {
            Ok(()) => Ok(self.verified.insert(start)),
            Err(refusal) => Err(self.dispute(refusal, given)),
        }
    }

    /// The receipt is well signed but contradicts what came in.
    fn dispute(&mut self, refusal: Refusal, given: SignedReceipt) -> Wrong {
        let first = self.disputed.insert(given.receipt.start);
        Wrong {
            refusal,
            evidence: first.then(|| Box::new(given)),
        }
    }

    fn authenticate(&self, me: &Identity, given: &SignedReceipt) -> Result<(), Wrong> {
        let receipt = &given.receipt;
        if receipt.session != self.session {
            return Err(wrong(format!(
                "the receipt is of session {}",
                receipt.session
            )));
        }
        let Some(predecessor) = self
            .predecessors
            .iter()
            .find(|one| one.node == receipt.node)
        else {
            return Err(wrong(format!(
                "node {} is no server of this session that ends before block {}",
                receipt.node, me.span.start
            )));
        };
        if receipt.span != predecessor.span || receipt.weights_root != me.weights_root {
            return Err(wrong("the receipt is for other blocks or weights"));
        }
        let length = receipt.end.checked_sub(receipt.start);
        if !receipt.start.is_multiple_of(RECEIPT_POSITIONS)
            || receipt.end > me.context
            || !length.is_some_and(|length| (1..=RECEIPT_POSITIONS).contains(&length))
        {
            return Err(wrong("the receipt covers no range of positions"));
        }
        let payload = receipt.payload(&me.genesis, &self.session_key);
        if !verify(&predecessor.hotkey, &payload, &given.signature) {
            return Err(wrong(format!(
                "node {} did not sign the receipt",
                receipt.node
            )));
        }
        Ok(())
    }

    /// Compares ranges that a step would complete with the receipts that came before it.
    pub fn expect(&mut self, ranges: &[Range]) -> Result<(), Wrong> {
        for range in ranges {
            let Some(given) = self.early.get(&range.start) else {
                continue;
            };
            if let Err(refusal) = compare(given, range) {
                let given = given.clone();
                return Err(self.dispute(refusal, given));
            }
        }
        Ok(())
    }

    /// These ranges are signed now. Gives what the receipts that came early come to: those that
    /// verify them, and those that contradict them.
    pub fn completed(&mut self, signed: &[SignedReceipt]) -> Vec<Record> {
        let mut records = Vec::new();
        for own in signed.iter().map(|own| &own.receipt) {
            let range = Range {
                start: own.start,
                end: own.end,
                leaf: own.input,
            };
            let Some(given) = self.early.remove(&range.start) else {
                continue;
            };
            match compare(&given, &range) {
                Ok(()) if self.verified.insert(range.start) => {
                    records.push(Record::Upstream(given))
                }
                Ok(()) => {}
                Err(refusal) => records.extend(
                    self.dispute(refusal, given)
                        .evidence
                        .map(|given| Record::Conflict(*given)),
                ),
            }
        }
        records
    }
}

fn compare(given: &SignedReceipt, own: &Range) -> Result<(), Refusal> {
    let receipt = &given.receipt;
    if receipt.end == own.end && receipt.output == own.leaf {
        return Ok(());
    }
    let message = format!(
        "node {} signed another output for positions {} to {} than came in",
        receipt.node, own.start, own.end
    );
    Err(Refusal::new(RefusalCode::Upstream, message))
}
