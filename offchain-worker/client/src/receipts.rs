//! Does a receipt say what the client saw?

use quipu_attest::Range;
use quipu_primitives::{
    receipt::ReceiptHead, AccountBytes, Digest, NodeId, Receipt, SessionId, Span,
};
use quipu_protocol::SignedReceipt;
use quipu_worker_core::verify;

/// What is known of a server before it signs anything: all that its receipts must repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatory {
    /// Hash of the chain's genesis block.
    pub genesis: Digest,
    /// The session.
    pub session: SessionId,
    /// The key that signs its vouchers.
    pub session_key: AccountBytes,
    /// The server.
    pub node: NodeId,
    /// The key that signs for it, as the chain names it.
    pub hotkey: AccountBytes,
    /// Its blocks.
    pub span: Span,
    /// Root of the subnet's weights.
    pub weights_root: Digest,
    /// Digest of its numeric profile, as the chain names it.
    pub profile: Digest,
}

/// Why a receipt is not accepted. All are the server's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The hotkey did not sign it.
    #[error("the hotkey did not sign it")]
    Signature,
    /// It is for another session, node or span.
    #[error("it is for another session, server or span")]
    Foreign,
    /// It names other weights or another profile than the server registered.
    #[error("it names other weights or another profile")]
    Profile,
    /// It covers other positions.
    #[error(
        "it covers positions {start} to {end} where {expected_start} to {expected_end} are due"
    )]
    Range {
        /// First position that is due.
        expected_start: u32,
        /// One past the last that is due.
        expected_end: u32,
        /// First position it names.
        start: u32,
        /// One past the last it names.
        end: u32,
    },
    /// It commits to another input than the server was given.
    #[error("it commits to another input than the server was given")]
    Input,
    /// It commits to another output than the server gave.
    #[error("it commits to another output than the server gave")]
    Output,
    /// It does not continue the server's chain of receipts.
    #[error("it does not continue the chain of receipts")]
    Chain,
    /// The head at the end is not that of the receipts before.
    #[error("its head is not that of its receipts")]
    Head,
}

/// A server's receipts so far, each verified.
#[derive(Clone, Debug)]
pub struct Verified {
    signatory: Signatory,
    receipts: Vec<SignedReceipt>,
    head: Digest,
}

impl Verified {
    /// No receipts yet.
    pub fn new(signatory: Signatory) -> Self {
        Verified {
            signatory,
            receipts: Vec::new(),
            head: Digest::default(),
        }
    }

    /// All of them, in order.
    pub fn receipts(&self) -> &[SignedReceipt] {
        &self.receipts
    }

    /// Positions that they cover.
    pub fn positions(&self) -> u32 {
        self.receipts.last().map_or(0, |last| last.receipt.end)
    }

    /// Was this very receipt taken?
    pub fn has(&self, receipt: &Receipt) -> bool {
        self.receipts
            .iter()
            .rev()
            .any(|taken| taken.receipt == *receipt)
    }

    /// What enters the session's receipt root; `None` without receipts.
    pub fn head(&self) -> Option<ReceiptHead> {
        let Signatory { node, span, .. } = self.signatory;
        (!self.receipts.is_empty()).then_some(ReceiptHead {
            node,
            span,
            positions: self.positions(),
            head: self.head,
        })
    }

    /// Takes the receipt for a range over which the client committed to `input` and `output`
    /// itself. Nothing changes on an error.
    pub fn take(
        &mut self,
        input: &Range,
        output: &Range,
        signed: SignedReceipt,
    ) -> Result<(), ReceiptError> {
        let receipt = &signed.receipt;
        let known = &self.signatory;
        let Receipt {
            session,
            node,
            span,
            weights_root,
            profile,
            start,
            end,
            ..
        } = *receipt;
        if (session, node, span) != (known.session, known.node, known.span) {
            return Err(ReceiptError::Foreign);
        }
        if (weights_root, profile) != (known.weights_root, known.profile) {
            return Err(ReceiptError::Profile);
        }
        if (start, end) != (input.start, input.end) {
            let (expected_start, expected_end) = (input.start, input.end);
            return Err(ReceiptError::Range {
                expected_start,
                expected_end,
                start,
                end,
            });
        }
        if receipt.input != input.leaf {
            return Err(ReceiptError::Input);
        }
        if receipt.output != output.leaf {
            return Err(ReceiptError::Output);
        }
        if receipt.previous != self.head {
            return Err(ReceiptError::Chain);
        }
        if !verify(
            &known.hotkey,
            &receipt.payload(&known.genesis, &known.session_key),
            &signed.signature,
        ) {
            return Err(ReceiptError::Signature);
        }
        self.head = receipt.digest();
        self.receipts.push(signed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_worker_core::{keys::EphemeralKey, Signer};

    fn key() -> EphemeralKey {
        EphemeralKey::from_seed(&[5; 32])
    }

    fn signatory() -> Signatory {
        Signatory {
            genesis: [1; 32],
            session: 7,
            session_key: [8; 32],
            node: 3,
            hotkey: key().public(),
            span: Span { start: 10, end: 20 },
            weights_root: [2; 32],
            profile: [3; 32],
        }
    }

    fn range(leaf: u8) -> Range {
        Range {
            start: 0,
            end: 32,
            leaf: [leaf; 32],
        }
    }

    fn receipt() -> Receipt {
        Receipt {
            session: 7,
            node: 3,
            span: Span { start: 10, end: 20 },
            weights_root: [2; 32],
            profile: [3; 32],
            start: 0,
            end: 32,
            input: [4; 32],
            output: [5; 32],
            previous: [0; 32],
        }
    }

    fn signed(receipt: Receipt) -> SignedReceipt {
        let signature = key().sign(&receipt.payload(&[1; 32], &[8; 32]));
        SignedReceipt { receipt, signature }
    }

    #[test]
    fn every_field_must_be_what_the_client_saw() {
        let take = |receipt| Verified::new(signatory()).take(&range(4), &range(5), signed(receipt));
        assert_eq!(take(receipt()), Ok(()));
        let wrong = [
            (
                Receipt {
                    session: 8,
                    ..receipt()
                },
                ReceiptError::Foreign,
            ),
            (
                Receipt {
                    node: 4,
                    ..receipt()
                },
                ReceiptError::Foreign,
            ),
            (
                Receipt {
                    span: Span { start: 0, end: 20 },
                    ..receipt()
                },
                ReceiptError::Foreign,
            ),
            (
                Receipt {
                    weights_root: [9; 32],
                    ..receipt()
                },
                ReceiptError::Profile,
            ),
            (
                Receipt {
                    profile: [9; 32],
                    ..receipt()
                },
                ReceiptError::Profile,
            ),
            (
                Receipt {
                    input: [9; 32],
                    ..receipt()
                },
                ReceiptError::Input,
            ),
            (
                Receipt {
                    output: [9; 32],
                    ..receipt()
                },
                ReceiptError::Output,
            ),
            (
                Receipt {
                    previous: [9; 32],
                    ..receipt()
                },
                ReceiptError::Chain,
            ),
        ];
        for (receipt, error) in wrong {
            assert_eq!(take(receipt), Err(error));
        }
        for (start, end) in [(0, 31), (1, 32), (32, 64)] {
            let got = take(Receipt {
                start,
                end,
                ..receipt()
            });
            assert!(matches!(got, Err(ReceiptError::Range { .. })));
        }
    }

    #[test]
    fn signatures_bind_key_chain_session_and_content() {
        let mut verified = Verified::new(signatory());
        let good = signed(receipt());
        let mut take = |signed| verified.take(&range(4), &range(5), signed);
        let other_key = EphemeralKey::from_seed(&[6; 32]);
        let signature = other_key.sign(&receipt().payload(&[1; 32], &[8; 32]));
        assert_eq!(
            take(SignedReceipt {
                signature,
                ..good.clone()
            }),
            Err(ReceiptError::Signature)
        );
        for (genesis, session_key) in [([2; 32], [8; 32]), ([1; 32], [9; 32])] {
            let signature = key().sign(&receipt().payload(&genesis, &session_key));
            assert_eq!(
                take(SignedReceipt {
                    signature,
                    ..good.clone()
                }),
                Err(ReceiptError::Signature)
            );
        }
        assert_eq!(take(good), Ok(()));
    }

    #[test]
    fn receipts_are_chained() {
        let mut verified = Verified::new(signatory());
        assert_eq!((verified.head(), verified.positions()), (None, 0));
        verified
            .take(&range(4), &range(5), signed(receipt()))
            .unwrap();
        let next = |leaf| Range {
            start: 32,
            end: 40,
            leaf: [leaf; 32],
        };
        let second = Receipt {
            start: 32,
            end: 40,
            previous: receipt().digest(),
            ..receipt()
        };
        let replayed = Receipt {
            previous: [0; 32],
            ..second.clone()
        };
        assert_eq!(
            verified.take(&next(4), &next(5), signed(replayed)),
            Err(ReceiptError::Chain)
        );
        verified
            .take(&next(4), &next(5), signed(second.clone()))
            .unwrap();
        let head = verified.head().unwrap();
        assert_eq!((head.positions, head.head), (40, second.digest()));
    }
}
