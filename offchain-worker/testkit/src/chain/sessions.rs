//! Sessions: opening, vouchers, settlement, payout.

use super::{
    dispatch, Outcome, State, GENESIS, MAX_SESSION_DURATION, RECORD_RETENTION, SETTLEMENT_WINDOW,
};
use quipu_primitives::{
    cost,
    views::{SessionInfo, SessionServer, SessionStatus},
    voucher_payload, AccountBytes, Balance, Digest, NodeId, SessionId, SignatureBytes, SubnetId,
    Voucher,
};
use quipu_worker_core::{
    ports::{ChainError, ChainEvent},
    verify,
};
use std::collections::BTreeSet;

/// A session with its deadlines. `info.status` and `info.deadline` are worked out when read.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) info: SessionInfo<AccountBytes>,
    pub(super) expires_at: u32,
    pub(super) closes_at: u32,
    pub(super) closed_at: Option<u32>,
    pub(super) expiry_told: bool,
}

impl Session {
    fn status(&self, now: u32) -> (SessionStatus, u32) {
        match self.closed_at {
            Some(at) => (SessionStatus::Closed, at + RECORD_RETENTION),
            None if self.info.receipt_root.is_some() || now >= self.expires_at => {
                (SessionStatus::Settling, self.closes_at)
            }
            None => (SessionStatus::Open, self.expires_at),
        }
    }

    /// Raises the positions of a server.
    fn record(
        &mut self,
        voucher: Voucher,
        signature: &SignatureBytes,
        equal_is_fine: bool,
    ) -> Result<(), ChainError> {
        if voucher.session != self.info.id {
            return dispatch("Inference", "VoucherForOtherSession");
        }
        let key = self.info.session_key;
        let of_node = |server: &&mut SessionServer| server.node == voucher.node;
        let Some(server) = self.info.servers.iter_mut().find(of_node) else {
            return dispatch("Inference", "NotASessionServer");
        };
        if !verify(&key, &voucher_payload(&GENESIS, &voucher), signature) {
            return dispatch("Inference", "BadVoucherSignature");
        }
        if voucher.positions == server.positions && equal_is_fine {
            return Ok(());
        }
        if voucher.positions <= server.positions {
            return dispatch("Inference", "VoucherReplayed");
        }
        match cost(server.price, server.span.len(), voucher.positions) {
            Some(earned) if earned <= server.cap => {
                server.positions = voucher.positions;
                server.earned = earned;
                Ok(())
            }
            _ => dispatch("Inference", "CapExceeded"),
        }
    }
}

/// Session key, seed commitment and integrator.
type Terms = (AccountBytes, Digest, Option<AccountBytes>);

impl State {
    pub(super) fn session_info(&self, id: SessionId) -> Option<SessionInfo<AccountBytes>> {
        let session = self.sessions.get(&id)?;
        let (status, deadline) = session.status(self.block);
        Some(SessionInfo {
            status,
            deadline,
            ..session.info.clone()
        })
    }

    pub(super) fn open_session(
        &mut self,
        consumer: AccountBytes,
        subnet: SubnetId,
        caps: Vec<(NodeId, Balance)>,
        duration: u32,
        (session_key, seed_commitment, integrator): Terms,
    ) -> Outcome {
        if !self.is_active(subnet) {
            return dispatch("Inference", "SubnetNotActive");
        }
        if !(1..=MAX_SESSION_DURATION).contains(&duration) {
            return dispatch("Inference", "DurationTooLong");
        }
        let mut seen = BTreeSet::new();
        let mut servers = Vec::new();
        for (node, cap) in caps {
            if !seen.insert(node) {
                return dispatch("Inference", "DuplicateServer");
            }
            let info = self.nodes.get(&node).filter(|info| info.subnet == subnet);
            let Some(seat) = info.and_then(|info| info.seat.as_ref()) else {
                return dispatch("Inference", "NotSeated");
            };
            servers.push(SessionServer {
                node,
                span: seat.span,
                price: seat.price,
                cap,
                positions: 0,
                earned: 0,
            });
        }
        let blocks = self
            .subnet_info(subnet)
            .map_or(0, |info| info.manifest.config.blocks);
        if !reaches(blocks, &servers) {
            return dispatch("Inference", "NoRoute");
        }
        let deposit = servers.iter().map(|server| server.cap).sum();
        self.take(consumer, deposit)?;
        self.next_session += 1;
        let (id, opened_at) = (self.next_session, self.block);
        let expires_at = opened_at + duration;
        let session = Session {
            info: SessionInfo {
                id,
                subnet,
                consumer,
                session_key,
                seed_commitment,
                integrator,
                opened_at,
                deposit,
                status: SessionStatus::Open,
                deadline: expires_at,
                receipt_root: None,
                settled_at: None,
                servers,
                job: None,
            },
            expires_at,
            closes_at: expires_at + SETTLEMENT_WINDOW,
            closed_at: None,
            expiry_told: false,
        };
        self.sessions.insert(id, session);
        Ok(vec![ChainEvent::SessionOpened {
            session: id,
            subnet,
        }])
    }

    pub(super) fn settle(
        &mut self,
        who: AccountBytes,
        id: SessionId,
        vouchers: Vec<(Voucher, SignatureBytes)>,
        receipt_root: Digest,
    ) -> Outcome {
        let now = self.block;
        let Some(session) = self.sessions.get_mut(&id) else {
            return dispatch("Inference", "UnknownSession");
        };
        if session.info.consumer != who {
            return dispatch("Inference", "NotConsumer");
        }
        if session.info.receipt_root.is_some() {
            return dispatch("Inference", "AlreadySettled");
        }
        if now >= session.expires_at {
            return dispatch("Inference", "SessionExpired");
        }
        let mut settled = session.clone();
        for (voucher, signature) in vouchers {
            settled.record(voucher, &signature, true)?;
        }
        settled.info.receipt_root = Some(receipt_root);
        settled.info.settled_at = Some(now);
        settled.closes_at = (now + SETTLEMENT_WINDOW).min(settled.closes_at);
        *session = settled;
        Ok(vec![ChainEvent::SessionSettling { session: id }])
    }

    pub(super) fn redeem(&mut self, voucher: Voucher, signature: SignatureBytes) -> Outcome {
        let now = self.block;
        let Some(session) = self.sessions.get_mut(&voucher.session) else {
            return dispatch("Inference", "UnknownSession");
        };
        if now >= session.closes_at {
            return dispatch("Inference", "WindowClosed");
        }
        session.record(voucher, &signature, false)?;
        Ok(Vec::new())
    }

    pub(super) fn finalize_session(&mut self, id: SessionId) -> Outcome {
        match self.sessions.get(&id) {
            None => dispatch("Inference", "UnknownSession"),
            Some(session) if session.closed_at.is_some() => dispatch("Inference", "AlreadyClosed"),
            Some(session) if self.block < session.closes_at => dispatch("Inference", "WindowOpen"),
            Some(_) => Ok(self.close(id)),
        }
    }

    fn close(&mut self, id: SessionId) -> Vec<ChainEvent> {
        let now = self.block;
        let Some(session) = self.sessions.get_mut(&id) else {
            return Vec::new();
        };
        session.closed_at = Some(now);
        let info = session.info.clone();
        let mut events = Vec::new();
        let mut paid = 0;
        for server in info.servers.iter().filter(|server| server.earned > 0) {
            let Some(owner) = self.nodes.get(&server.node).map(|node| node.coldkey) else {
                continue;
            };
            self.give(owner, server.earned);
            paid += server.earned;
            events.push(ChainEvent::ServerPaid {
                session: id,
                node: server.node,
                amount: server.earned,
            });
        }
        let refunded = info.deposit - paid;
        self.give(info.consumer, refunded);
        events.push(ChainEvent::SessionClosed {
            session: id,
            paid,
            refunded,
        });
        events
    }

    /// Tells of expired sessions, pays out those whose window closed, and drops old records.
    pub(super) fn work_off_sessions(&mut self) -> Vec<ChainEvent> {
        let now = self.block;
        let mut events = Vec::new();
        let mut due = Vec::new();
        for (id, session) in &mut self.sessions {
            if session.closed_at.is_none() && now >= session.closes_at {
                due.push(*id);
            }
            let expired = now >= session.expires_at && session.info.receipt_root.is_none();
            if expired && !session.expiry_told {
                session.expiry_told = true;
                events.push(ChainEvent::SessionSettling { session: *id });
            }
        }
        for id in due {
            events.extend(self.close(id));
        }
        self.sessions.retain(|_, session| {
            session
                .closed_at
                .is_none_or(|at| now < at + RECORD_RETENTION)
        });
        events
    }
}

/// Does a chain of these servers lead from the first block to the last?
fn reaches(blocks: u16, servers: &[SessionServer]) -> bool {
    let mut reached = BTreeSet::from([0]);
    for block in 0..blocks {
        if reached.contains(&block) {
            let begin = servers.iter().filter(|server| server.span.start == block);
            reached.extend(begin.map(|server| server.span.end));
        }
    }
    reached.contains(&blocks)
}
