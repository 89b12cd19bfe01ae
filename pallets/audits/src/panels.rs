//! The rounds of an audit: who is drawn, and what follows from what they found.
//!
//! Each step goes forward in [`Round`], in the attempts of a round, or in its [`Stage`]: none can come
//! twice. What is changed here is stored by the caller.

use crate::{draw, pallet::*, tally, types::Pass};
use alloc::{collections::BTreeSet, vec::Vec};
use frame_support::{defensive, traits::Get};
use quipu_primitives::{
    audit::{Accusation, Finding, Member, Outcome, Round, Stage, Subject, Verdict},
    traits::{AuditDuties, Bonds, Cause, Charge, Nodes, ServedSession, Slasher},
    Balance, Digest, NodeId,
};
use sp_runtime::traits::Saturating;

impl<T: Config> Pallet<T> {
    /// Who may be drawn, each with its weight: the subnet's nodes with a bond that would do for a seat, but
    /// for those who are a party, judged before, or belong to who is or did.
    pub(crate) fn candidates(
        served: &ServedSession<T::AccountId>,
        judges: impl Iterator<Item = NodeId>,
    ) -> Vec<(NodeId, Balance)> {
        // Who stood by and did nothing has nothing to hide, and nothing to gain.
        let worked = served.servers.iter().filter(|server| server.positions > 0);
        let worked = worked.map(|server| server.node);
        let answered = served.answered.iter();
        let parties: BTreeSet<NodeId> = worked
            .chain(answered.clone().map(|answered| answered.node))
            .chain(judges)
            .collect();
        let mut owners: Vec<T::AccountId> = parties
            .iter()
            .filter_map(|node| T::Nodes::keys(*node))
            .map(|keys| keys.coldkey)
            .collect();
        owners.push(served.consumer.clone());
        owners.extend(answered.map(|answered| answered.requester.clone()));
        let least = T::Bonds::minimum_self_bond().max(1);
        let weight = |node: NodeId| {
            let keys = T::Nodes::keys(node)?;
            let is_party = parties.contains(&node)
                || owners.contains(&keys.coldkey)
                || keys.hotkey == served.consumer;
            let bond = T::Bonds::self_bond(node);
            (!is_party && bond >= least).then_some((node, bond))
        };
        let nodes = T::Nodes::of_subnet(served.subnet).into_iter();
        nodes.filter_map(weight).collect()
    }

    /// Draws the panel of the audit's round. False if too few could be drawn for them to ever agree.
    pub(crate) fn draw_panel(
        seed: &Digest,
        subject: Subject,
        audit: &mut AuditOf<T>,
        candidates: Vec<(NodeId, Balance)>,
    ) -> bool {
        let round = audit.round;
        let members = draw::panel(seed, subject, round, audit.attempts, candidates);
        if (members.len() as u32) < round.quorum() {
            Self::deposit_event(Event::PanelMissing { subject, round });
            return false;
        }
        let until = Self::now().saturating_add(T::CommitWindow::get());
        audit.stage = Stage::Committing { until };
        audit.members.clear();
        for node in &members {
            if audit.members.try_push(Member::new(*node)).is_err() {
                defensive!("a panel is larger than any may be");
            }
        }
        Self::deposit_event(Event::PanelDrawn {
            subject,
            round,
            members,
            seed: *seed,
            until,
        });
        true
    }

    pub(crate) fn begin_reveal(subject: Subject, audit: &mut AuditOf<T>) {
        let until = Self::now().saturating_add(T::RevealWindow::get());
        audit.stage = Stage::Revealing { until };
        Self::deposit_event(Event::RevealBegan { subject, until });
    }

    /// The audit waits for the panel of this round.
    pub(crate) fn wait_for(round: Round, audit: &mut AuditOf<T>) {
        audit.round = round;
        audit.attempts = 0;
        Self::wait_again(audit);
    }

    fn wait_again(audit: &mut AuditOf<T>) {
        let since = T::Epoch::get();
        audit.members.clear();
        audit.stage = Stage::Waiting { since };
    }

    /// The round's panel has said all that it will say.
    pub(crate) fn conclude(subject: Subject, audit: &mut AuditOf<T>) {
        match audit.round {
            Round::First | Round::Second => Self::conclude_look(subject, audit),
            Round::Committee | Round::Tribunal => Self::conclude_trial(subject, audit),
        }
    }

    fn conclude_look(subject: Subject, audit: &mut AuditOf<T>) {
        let found = audit
            .members
            .first()
            .and_then(|member| Some((member.node, member.finding?)));
        let Some((node, finding)) = found else {
            audit.attempts = audit.attempts.saturating_add(1);
            return match audit.attempts < T::MaxAttempts::get() {
                true => Self::wait_again(audit),
                false => Self::give_up(subject, audit),
            };
        };
        let Finding { verdict, head, .. } = finding;
        if verdict == Verdict::Pass {
            if audit.passes.try_push(Pass { node, head }).is_err() {
                defensive!("more rounds than there are");
            }
            return match audit.round {
                Round::First => Self::wait_for(Round::Second, audit),
                _ => Self::close(subject, audit, Outcome::Passed),
            };
        }
        let until = Self::now().saturating_add(T::AnswerWindow::get());
        audit.accusation = Some(Accusation { node, verdict });
        audit.head = Some(head);
        audit.members.clear();
        audit.stage = Stage::Answering { until };
        let by = node;
        Self::deposit_event(Event::Accused {
            subject,
            by,
            verdict,
            until,
        });
    }

    fn conclude_trial(subject: Subject, audit: &mut AuditOf<T>) {
        let head = audit.head.unwrap_or_default();
        let findings = audit.members.iter().filter_map(|member| member.finding);
        match (tally::outcome(audit.round, &head, findings), audit.round) {
            (Some(outcome), _) => Self::close(subject, audit, outcome),
            (None, Round::Committee) => Self::wait_for(Round::Tribunal, audit),
            (None, _) => Self::close(subject, audit, Outcome::Unresolved),
        }
    }

    /// Nobody looks any more: what was found so far counts.
    pub(crate) fn give_up(subject: Subject, audit: &mut AuditOf<T>) {
        let outcome = match audit.round {
            Round::Second => Outcome::Passed,
            _ => Outcome::Unresolved,
        };
        Self::close(subject, audit, outcome);
    }

    /// Ends the audit, and leaves those who are to be punished to the slasher.
    pub(crate) fn close(subject: Subject, audit: &mut AuditOf<T>, outcome: Outcome) {
        let kept_until = Self::now().saturating_add(T::RecordRetention::get());
        audit.stage = Stage::Closed {
            outcome,
            kept_until,
        };
        Self::deposit_event(Event::AuditClosed { subject, outcome });
        if outcome.forfeits() {
            Forfeits::<T>::insert(subject.session, subject.node, ());
        }
        Self::thank(audit, outcome);
        let session = subject.session;
        match outcome {
            Outcome::Convicted => {
                Self::charge(
                    subject,
                    audit,
                    Cause::Computation { session },
                    Verdict::Fail,
                );
                // Who let this very work pass did not look, or lied.
                let wrong = audit.passes.iter();
                for pass in wrong.filter(|pass| Some(pass.head) == audit.head) {
                    Self::charge_auditor(subject, pass.node, audit.victim.clone());
                }
            }
            Outcome::Withheld => {
                Self::charge(
                    subject,
                    audit,
                    Cause::Withheld { session },
                    Verdict::Withheld,
                );
            }
            Outcome::Acquitted => {
                // That data came in the end does not prove that it was there before.
                let failed = |accusation: &Accusation| accusation.verdict == Verdict::Fail;
                let accused = T::Nodes::keys(subject.node).map(|keys| keys.coldkey);
                if let (Some(accuser), Some(victim)) = (audit.accusation.filter(failed), accused) {
                    Self::charge_auditor(subject, accuser.node, victim);
                }
            }
            Outcome::Passed | Outcome::Unresolved => {}
        }
    }

    /// Tells who of those that looked said what turned out to be so. An accuser who was right has the reporter's
    /// share of the slash instead.
    fn thank(audit: &AuditOf<T>, outcome: Outcome) {
        let head = audit.head.unwrap_or_default();
        let agrees = |member: &&Member| {
            let finding = member.finding.as_ref();
            finding.is_some_and(|finding| tally::agrees(outcome, &head, finding))
        };
        let is_right = |pass: &&Pass| match outcome {
            Outcome::Passed => true,
            Outcome::Acquitted => pass.head == head,
            _ => false,
        };
        let judges = audit
            .members
            .iter()
            .filter(agrees)
            .map(|member| member.node);
        // Who let pass in the round that ends stands in both lists; only a trial's members can agree.
        let judges = judges.filter(|_| audit.round.is_trial());
        let passed = audit.passes.iter().filter(is_right).map(|pass| pass.node);
        for node in judges.chain(passed) {
            if let Some(keys) = T::Nodes::keys(node) {
                T::Duties::duty_done(node, &keys.coldkey, audit.price);
            }
        }
    }

    /// Charges the server. The accuser has the reporter's share where it said what the charge says, or
    /// that the server is at fault and then was not heard.
    fn charge(subject: Subject, audit: &AuditOf<T>, cause: Cause, verdict: Verdict) {
        let is_right = |accusation: &Accusation| {
            let unheard = !audit.round.is_trial() && accusation.verdict.accuses();
            accusation.verdict == verdict || unheard
        };
        let reporter = audit.accusation.filter(is_right);
        let reporter = reporter.and_then(|accusation| T::Nodes::keys(accusation.node));
        let charged = T::Slasher::charge(Charge {
            node: subject.node,
            cause,
            price: audit.price,
            reporter: reporter.map(|keys| keys.coldkey),
            victim: Some(audit.victim.clone()),
        });
        if charged.is_err() {
            // A session has one audit of a server, and the server stays while it lasts.
            defensive!("a convicted server can't be charged");
        }
    }

    fn charge_auditor(subject: Subject, auditor: NodeId, victim: T::AccountId) {
        let charged = T::Slasher::charge(Charge {
            node: auditor,
            cause: Cause::FalseVerdict {
                session: subject.session,
                server: subject.node,
            },
            price: T::AccusationBond::get(),
            reporter: None,
            victim: Some(victim),
        });
        if charged.is_err() {
            // An auditor looks once at a server's work, and stays until the audit is over.
            defensive!("an auditor can't be charged");
        }
    }
}
