//! sr25519 in Substrate's signing context.

use quipu_primitives::{AccountBytes, SignatureBytes};

/// The signing context that Substrate uses for everything.
pub const CONTEXT: &[u8] = b"substrate";

/// A key that signs: a hotkey, a coldkey or a session key. The secret stays behind this trait.
pub trait Signer: Send + Sync {
    /// The public key, which is also the account.
    fn public(&self) -> AccountBytes;
    /// Signs `message` in the context `substrate`.
    fn sign(&self, message: &[u8]) -> SignatureBytes;
}

/// Did the holder of `public` sign `message`?
pub fn verify(public: &AccountBytes, message: &[u8], signature: &SignatureBytes) -> bool {
    let Ok(public) = schnorrkel::PublicKey::from_bytes(public) else {
        return false;
    };
    let Ok(signature) = schnorrkel::Signature::from_bytes(signature) else {
        return false;
    };
    public.verify_simple(CONTEXT, message, &signature).is_ok()
}

/// A key that lives in memory alone, such as a consumer's session key.
pub struct EphemeralKey(schnorrkel::Keypair);

impl EphemeralKey {
    /// The key of these 32 secret bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let secret = schnorrkel::MiniSecretKey::from_bytes(seed)
            .expect("any 32 bytes are a mini secret key; qed");
        EphemeralKey(secret.expand_to_keypair(schnorrkel::ExpansionMode::Ed25519))
    }
}

impl Signer for EphemeralKey {
    fn public(&self) -> AccountBytes {
        self.0.public.to_bytes()
    }

    fn sign(&self, message: &[u8]) -> SignatureBytes {
        self.0.sign_simple(CONTEXT, message).to_bytes()
    }
}

impl std::fmt::Debug for EphemeralKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EphemeralKey").field(&self.public()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_bind_key_and_message() {
        let key = EphemeralKey::from_seed(&[1; 32]);
        let signature = key.sign(b"one");
        assert!(verify(&key.public(), b"one", &signature));
        assert!(!verify(&key.public(), b"two", &signature));
        assert!(!verify(
            &EphemeralKey::from_seed(&[2; 32]).public(),
            b"one",
            &signature
        ));
        assert!(!verify(&[0xff; 32], b"one", &signature));
        assert!(!verify(&key.public(), b"one", &[0; 64]));
    }
}
