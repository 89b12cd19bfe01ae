//! What each server of a session is owed, and the vouchers that say so.

use quipu_primitives::{
    cost,
    receipt::{receipt_root, ReceiptHead},
    voucher_payload, AccountBytes, Balance, Digest, NodeId, SessionId, SignatureBytes, Span,
    Voucher,
};
use quipu_worker_core::{keys::EphemeralKey, Signer};
use std::collections::BTreeMap;

/// A voucher with the session key's signature.
pub type SignedVoucher = (Voucher, SignatureBytes);

/// What one server may get and gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its blocks.
    pub span: Span,
    /// Its price per position and block, as the chain fixed it when the session opened.
    pub price: Balance,
    /// Most that it can be paid.
    pub cap: Balance,
    /// The furthest that verified receipts of it reach.
    verified: Option<ReceiptHead>,
    /// The last voucher signed for it.
    voucher: Option<SignedVoucher>,
}

/// What one server got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paid {
    /// The server.
    pub node: NodeId,
    /// Its blocks.
    pub span: Span,
    /// Positions that it was paid for.
    pub positions: u32,
    /// What they come to.
    pub earned: Balance,
}

/// The accounts of a session. Vouchers are signed here and nowhere else: never for more positions
/// than verified receipts cover, never above the cap, never lower than before.
#[derive(Debug)]
pub struct Ledger {
    genesis: Digest,
    session: SessionId,
    key: EphemeralKey,
    accounts: BTreeMap<NodeId, Account>,
}

impl Account {
    /// A server with its terms, nothing served yet.
    pub fn new(span: Span, price: Balance, cap: Balance) -> Self {
        Account {
            span,
            price,
            cap,
            verified: None,
            voucher: None,
        }
    }

    /// Positions of the last voucher.
    pub fn vouchered(&self) -> u32 {
        self.voucher.map_or(0, |(voucher, _)| voucher.positions)
    }

    /// The most positions that the cap pays for.
    fn affordable(&self) -> u32 {
        match cost(self.price, self.span.len(), 1) {
            Some(0) => u32::MAX,
            Some(each) => u32::try_from(self.cap / each).unwrap_or(u32::MAX),
            None => 0,
        }
    }
}

impl Ledger {
    /// The ledger of a session that `key` signs for.
    pub fn new(
        genesis: Digest,
        session: SessionId,
        key: EphemeralKey,
        accounts: BTreeMap<NodeId, Account>,
    ) -> Self {
        Ledger {
            genesis,
            session,
            key,
            accounts,
        }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The public half of the session key.
    pub fn session_key(&self) -> AccountBytes {
        self.key.public()
    }

    /// Signs with the session key.
    pub fn sign(&self, message: &[u8]) -> SignatureBytes {
        self.key.sign(message)
    }

    /// Receipts up to this head were verified. One that reaches less far than what is known, as
    /// after a replay, changes nothing.
    pub fn verified(&mut self, head: ReceiptHead) {
        if let Some(account) = self.accounts.get_mut(&head.node) {
            if account
                .verified
                .is_none_or(|known| known.positions < head.positions)
            {
                account.verified = Some(head);
            }
        }
    }

    /// A voucher for what was verified since the last one, if that is anything.
    pub fn pay(&mut self, node: NodeId) -> Option<SignedVoucher> {
        let account = self.accounts.get_mut(&node)?;
        let positions = account.verified?.positions.min(account.affordable());
        if positions <= account.vouchered() {
            return None;
        }
        let voucher = Voucher {
            session: self.session,
            node,
            positions,
        };
        let signature = self.key.sign(&voucher_payload(&self.genesis, &voucher));
        account.voucher = Some((voucher, signature));
        account.voucher
    }

    /// The last voucher signed for a server.
    pub fn last(&self, node: NodeId) -> Option<SignedVoucher> {
        self.accounts.get(&node)?.voucher
    }

    /// Positions of the last voucher of a server.
    pub fn vouchered(&self, node: NodeId) -> u32 {
        self.accounts.get(&node).map_or(0, Account::vouchered)
    }

    /// The last voucher of each server that served.
    pub fn vouchers(&self) -> Vec<SignedVoucher> {
        self.accounts
            .values()
            .filter_map(|account| account.voucher)
            .collect()
    }

    /// The session's receipt root: over the furthest verified head of each server that has one.
    pub fn root(&self) -> Digest {
        let heads: Vec<ReceiptHead> = self
            .accounts
            .values()
            .filter_map(|account| account.verified)
            .collect();
        receipt_root(self.session, &heads)
    }

    /// What each server that served is paid.
    pub fn paid(&self) -> Vec<Paid> {
        self.accounts
            .iter()
            .filter(|(_, account)| account.vouchered() > 0)
            .map(|(node, account)| Paid {
                node: *node,
                span: account.span,
                positions: account.vouchered(),
                earned: cost(account.price, account.span.len(), account.vouchered())
                    .unwrap_or(account.cap),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quipu_worker_core::verify;

    const GENESIS: Digest = [1; 32];

    fn key() -> EphemeralKey {
        EphemeralKey::from_seed(&[7; 32])
    }

    fn ledger(price: Balance, cap: Balance) -> Ledger {
        let account = Account::new(Span { start: 0, end: 10 }, price, cap);
        Ledger::new(GENESIS, 5, key(), BTreeMap::from([(1, account)]))
    }

    fn head(positions: u32) -> ReceiptHead {
        ReceiptHead {
            node: 1,
            span: Span { start: 0, end: 10 },
            positions,
            head: [9; 32],
        }
    }

    #[test]
    fn only_verified_positions_are_paid_and_only_once() {
        let mut ledger = ledger(3, 3 * 10 * 100);
        assert_eq!(ledger.pay(1), None);
        ledger.verified(head(32));
        let (voucher, signature) = ledger.pay(1).unwrap();
        assert_eq!(
            voucher,
            Voucher {
                session: 5,
                node: 1,
                positions: 32
            }
        );
        assert!(verify(
            &key().public(),
            &voucher_payload(&GENESIS, &voucher),
            &signature
        ));
        assert_eq!(ledger.pay(1), None);
        // A replay from the start verifies again what is paid already.
        ledger.verified(head(32));
        assert_eq!(ledger.pay(1), None);
        ledger.verified(head(64));
        assert_eq!(ledger.pay(1).unwrap().0.positions, 64);
        assert_eq!(ledger.paid()[0].earned, 3 * 10 * 64);
        assert_eq!(ledger.pay(2), None);
        assert_eq!(ledger.vouchers().len(), 1);
    }

    proptest! {
        /// Whatever is verified, vouchers rise, stay within what was verified and under the cap.
        #[test]
        fn vouchers_never_pass_cap_or_receipts(
            price in 0u128..50,
            cap in 0u128..100_000,
            heads in proptest::collection::vec(1u32..500, 1..20),
        ) {
            let mut ledger = ledger(price, cap);
            let mut furthest = 0;
            let mut before = 0;
            for positions in heads {
                ledger.verified(head(positions));
                furthest = furthest.max(positions);
                if let Some((voucher, _)) = ledger.pay(1) {
                    prop_assert!(voucher.positions > before);
                    prop_assert!(voucher.positions <= furthest);
                    prop_assert!(cost(price, 10, voucher.positions).unwrap() <= cap);
                    before = voucher.positions;
                }
            }
            let paid: Balance = ledger.paid().iter().map(|paid| paid.earned).sum();
            prop_assert_eq!(paid, cost(price, 10, before).unwrap());
        }
    }
}
