//! People and what they sign with.

use codec::Encode;
use quipu_primitives::{
    voucher_payload, AccountBytes, Digest, Receipt, SignatureBytes, SignedReceipt, Voucher,
};
use quipu_runtime::{AccountId, SessionKeys};
use sp_core::{
    ed25519, proof_of_possession::ProofOfPossessionGenerator, sr25519, Pair as PairTrait,
};

/// A key pair derived from the development phrase.
#[derive(Clone)]
pub struct Key {
    pair: sr25519::Pair,
    name: String,
}

impl Key {
    /// The key of `//name`; `name` may go on, such as `Alice//hotkey`.
    pub fn new(name: &str) -> Self {
        Key {
            pair: derive(name),
            name: name.into(),
        }
    }

    /// The name that it was derived from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its account.
    pub fn account(&self) -> AccountId {
        self.pair.public().into()
    }

    /// Its public key.
    pub fn public(&self) -> AccountBytes {
        self.pair.public().0
    }

    /// Signs bytes in the context `substrate`.
    pub fn sign(&self, bytes: &[u8]) -> sr25519::Signature {
        self.pair.sign(bytes)
    }

    /// Signs a voucher as a session key does.
    pub fn voucher(&self, genesis: &Digest, voucher: Voucher) -> (Voucher, SignatureBytes) {
        (voucher, self.sign(&voucher_payload(genesis, &voucher)).0)
    }

    /// Signs a receipt as a hotkey does.
    pub fn receipt(
        &self,
        genesis: &Digest,
        session_key: &AccountBytes,
        receipt: Receipt,
    ) -> SignedReceipt {
        let signature = self.sign(&receipt.payload(genesis, session_key)).0;
        SignedReceipt { receipt, signature }
    }
}

/// The secret session keys of a validator, those of `//name`.
#[derive(Clone)]
pub struct ValidatorKeys {
    /// Signs blocks.
    pub babe: sr25519::Pair,
    /// Signs votes.
    pub grandpa: ed25519::Pair,
}

impl ValidatorKeys {
    /// The keys that `quipu-node` has for this name.
    pub fn new(name: &str) -> Self {
        ValidatorKeys {
            babe: derive(name),
            grandpa: derive(name),
        }
    }

    /// Their public halves, as the chain stores them.
    pub fn public(&self) -> SessionKeys {
        SessionKeys {
            grandpa: self.grandpa.public().into(),
            babe: self.babe.public().into(),
        }
    }

    /// The signatures by which `owner` proves to have these keys.
    pub fn ownership_proof(&self, owner: &AccountId) -> Vec<u8> {
        let (mut grandpa, mut babe) = (self.grandpa, self.babe.clone());
        let owner = owner.encode();
        let proofs = (
            grandpa.generate_proof_of_possession(&owner),
            babe.generate_proof_of_possession(&owner),
        );
        proofs.encode()
    }
}

fn derive<P: PairTrait>(name: &str) -> P {
    P::from_string(&format!("//{name}"), None).expect("every name derives a key")
}
