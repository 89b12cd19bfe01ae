//! Audits, as far as the server that is audited has to do with them.

use super::{dispatch, FakeChain, State, GENESIS, RECORD_RETENTION};
use quipu_primitives::{
    audit::{Accusation, Finding, Member, Outcome, Round, Stage, Subject, Verdict},
    views::AuditInfo,
    AccountBytes, Digest, NodeId,
};

impl State {
    pub(super) fn audits_of(&self, node: NodeId) -> Vec<AuditInfo<AccountBytes>> {
        let audits = self.audits.values();
        let of = |audit: &&AuditInfo<_>| {
            let is_judge = audit.accusation.is_some_and(|one| one.node == node);
            let is_member = audit.members.iter().any(|one| one.node == node);
            let is_part = audit.subject.node == node || is_judge || is_member;
            is_part && !audit.stage.is_closed()
        };
        audits.filter(of).cloned().collect()
    }

    /// The place of this hotkey's node on the panel.
    fn place(&self, who: AccountBytes, subject: Subject) -> Option<usize> {
        let node = self.nodes.values().find(|node| node.hotkey == who)?.id;
        let members = &self.audits.get(&subject)?.members;
        members.iter().position(|member| member.node == node)
    }

    pub(super) fn commit_finding(
        &mut self,
        who: AccountBytes,
        subject: Subject,
        commitment: Digest,
    ) -> super::Outcome {
        let (place, now) = (self.place(who, subject), self.block);
        let (Some(place), Some(audit)) = (place, self.audits.get_mut(&subject)) else {
            return dispatch("Audits", "NotOnThePanel");
        };
        if !matches!(audit.stage, Stage::Committing { until } if now < until) {
            return dispatch("Audits", "NotCommitting");
        }
        if audit.members[place].commitment.is_some() {
            return dispatch("Audits", "AlreadyCommitted");
        }
        audit.members[place].commitment = Some(commitment);
        if audit.members.iter().all(|one| one.commitment.is_some()) {
            audit.stage = Stage::Revealing { until: now + 10 };
        }
        Ok(Vec::new())
    }

    /// What all have revealed stays on record, for tests to look at: what follows is the pallet's.
    pub(super) fn reveal_finding(
        &mut self,
        who: AccountBytes,
        subject: Subject,
        finding: Finding,
        salt: [u8; 32],
    ) -> super::Outcome {
        let (place, now) = (self.place(who, subject), self.block);
        let (Some(place), Some(audit)) = (place, self.audits.get_mut(&subject)) else {
            return dispatch("Audits", "NotOnThePanel");
        };
        if !matches!(audit.stage, Stage::Revealing { until } if now < until) {
            return dispatch("Audits", "NotRevealing");
        }
        let member = &mut audit.members[place];
        let commitment = finding.commitment(&GENESIS, subject, member.node, &salt);
        if member.commitment != Some(commitment) {
            return dispatch("Audits", "CommitmentMismatch");
        }
        if member.finding.is_some() {
            return dispatch("Audits", "AlreadyRevealed");
        }
        member.finding = Some(finding);
        Ok(Vec::new())
    }

    pub(super) fn answer_audit(
        &mut self,
        who: AccountBytes,
        subject: Subject,
        head: Digest,
    ) -> super::Outcome {
        let hotkey = self.nodes.get(&subject.node).map(|node| node.hotkey);
        let now = self.block;
        let Some(audit) = self.audits.get_mut(&subject) else {
            return dispatch("Audits", "NoSuchAudit");
        };
        if hotkey != Some(who) {
            return dispatch("Audits", "NotTheServer");
        }
        if !matches!(audit.stage, Stage::Answering { until } if now < until) {
            return dispatch("Audits", "NotAnswering");
        }
        audit.head = Some(head);
        audit.round = Round::Committee;
        audit.stage = Stage::Waiting { since: 0 };
        Ok(Vec::new())
    }
}

impl FakeChain {
    /// These are drawn to look at the server's work: they have so many blocks to commit.
    pub fn draw(&self, subject: Subject, members: &[NodeId], blocks: u32) {
        let until = self.block() + blocks;
        self.put_audit(subject, Stage::Committing { until }, |audit| {
            audit.members = members.iter().copied().map(Member::new).collect();
        });
    }

    /// An auditor did not let the server pass: it has so many blocks to answer.
    pub fn accuse(&self, subject: Subject, by: NodeId, blocks: u32) {
        let until = self.block() + blocks;
        self.put_audit(subject, Stage::Answering { until }, |audit| {
            audit.accusation = Some(Accusation {
                node: by,
                verdict: Verdict::Fail,
            });
            audit.head = Some([0; 32]);
        });
    }

    /// The server's audit is over.
    pub fn end_audit(&self, subject: Subject, outcome: Outcome) {
        let kept_until = self.block() + RECORD_RETENTION;
        let closed = Stage::Closed {
            outcome,
            kept_until,
        };
        self.put_audit(subject, closed, |_| {});
    }

    fn put_audit(
        &self,
        subject: Subject,
        stage: Stage<u32>,
        change: impl FnOnce(&mut AuditInfo<AccountBytes>),
    ) {
        let mut state = self.state();
        let session = state
            .session_info(subject.session)
            .expect("the session is on record");
        let mut audit = AuditInfo {
            subject,
            subnet: session.subnet,
            victim: session.consumer,
            price: 0,
            round: Round::First,
            stage,
            members: Vec::new(),
            accusation: None,
            head: None,
        };
        change(&mut audit);
        state.audits.insert(subject, audit);
    }

    /// An audit, whether or not the chain can be reached.
    pub fn audit_record(&self, subject: Subject) -> Option<AuditInfo<AccountBytes>> {
        self.state().audits.get(&subject).cloned()
    }
}
