//! Vouchers and credit.

use super::{Identity, ValidOpen};
use crate::keys::verify;
use quipu_primitives::{cost, voucher_payload, Balance, SessionId, SignatureBytes, Voucher};
use quipu_protocol::{limits::CREDIT_POSITIONS, Refusal, RefusalCode};

/// What one session owes this server.
#[derive(Clone, Debug)]
pub struct Payment {
    session: SessionId,
    key: [u8; 32],
    price: Balance,
    cap: Balance,
    best: Option<(Voucher, SignatureBytes)>,
}

impl Payment {
    /// Nothing is paid yet.
    pub fn new(terms: &ValidOpen) -> Self {
        Payment {
            session: terms.session,
            key: terms.session_key,
            price: terms.price,
            cap: terms.cap,
            best: None,
        }
    }

    /// The highest voucher.
    pub fn best(&self) -> Option<&(Voucher, SignatureBytes)> {
        self.best.as_ref()
    }

    /// Positions that are paid for.
    pub fn paid(&self) -> u32 {
        self.best
            .as_ref()
            .map_or(0, |(voucher, _)| voucher.positions)
    }

    /// Positions that may be served: those paid for and the credit, but none that the cap could
    /// never pay.
    pub fn limit(&self, me: &Identity) -> u32 {
        self.paid()
            .saturating_add(CREDIT_POSITIONS)
            .min(self.affordable(me))
    }

    /// Positions that the cap pays.
    pub fn affordable(&self, me: &Identity) -> u32 {
        match self.price.checked_mul(u128::from(me.span.len())) {
            Some(0) => u32::MAX,
            Some(each) => (self.cap / each).min(u128::from(u32::MAX)) as u32,
            None => 0,
        }
    }

    /// Takes a voucher. True if it is higher than any before, false if it is the highest again.
    pub fn take(
        &mut self,
        voucher: Voucher,
        signature: SignatureBytes,
        me: &Identity,
    ) -> Result<bool, Refusal> {
        let refuse = |message: String| Err(Refusal::new(RefusalCode::Voucher, message));
        if voucher.session != self.session || voucher.node != me.node {
            return refuse(format!(
                "the voucher is for session {} and node {}; this is session {} at node {}",
                voucher.session, voucher.node, self.session, me.node
            ));
        }
        if voucher.positions < self.paid() {
            return refuse(format!(
                "the voucher pays {} positions; {} were promised before",
                voucher.positions,
                self.paid()
            ));
        }
        if voucher.positions > me.context {
            return refuse(format!("a sequence has at most {} positions", me.context));
        }
        match cost(self.price, me.span.len(), voucher.positions) {
            Some(amount) if amount <= self.cap => {}
            _ => {
                return refuse(format!(
                    "{} positions cost more than this server's cap, which pays {}",
                    voucher.positions,
                    self.affordable(me)
                ))
            }
        }
        if !verify(
            &self.key,
            &voucher_payload(&me.genesis, &voucher),
            &signature,
        ) {
            let message = "the session key did not sign this voucher";
            return Err(Refusal::new(RefusalCode::Signature, message));
        }
        if self
            .best
            .is_some_and(|(best, _)| best.positions >= voucher.positions)
        {
            return Ok(false);
        }
        self.best = Some((voucher, signature));
        Ok(true)
    }
}
