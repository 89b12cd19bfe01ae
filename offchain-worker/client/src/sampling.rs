//! From the consumer's seed to the noise that chooses tokens.
//!
//! Before it looks at servers, a client draws a nonce; the chain records its commitment when the
//! session opens, so that neither side can choose the noise after it saw logits. The key of the
//! noise follows from the nonce alone:
//!
//! ```text
//! nonce      = 32 random bytes, or H("quipu/nonce/1" ‖ seed) for a seed that the consumer chose
//! commitment = H("quipu/seed-commitment/1" ‖ nonce)
//! key        = H("quipu/sampling-key/1" ‖ nonce)
//! ```
//!
//! A chosen seed thus gives the same text in every session.

use crate::options::SamplingOptions;
use quipu_engine::Sampling;
use quipu_primitives::{hash::hash_of, Digest};
use rand::RngCore;

/// The nonce of one session. Secret until the session is settled.
#[derive(Clone, PartialEq, Eq)]
pub struct Nonce([u8; 32]);

impl Nonce {
    /// Of a chosen seed, or random.
    pub fn new(seed: Option<u64>) -> Self {
        match seed {
            Some(seed) => Nonce(hash_of(b"quipu/nonce/1", &seed)),
            None => {
                let mut nonce = [0; 32];
                rand::rngs::OsRng.fill_bytes(&mut nonce);
                Nonce(nonce)
            }
        }
    }

    /// What the chain records.
    pub fn commitment(&self) -> Digest {
        hash_of(b"quipu/seed-commitment/1", &self.0)
    }

    /// The engine's parameters, with the key that follows from this nonce.
    pub fn sampling(&self, options: &SamplingOptions) -> Sampling {
        Sampling {
            temperature: options.temperature,
            top_k: options.top_k,
            top_p: options.top_p,
            seed: hash_of(b"quipu/sampling-key/1", &self.0),
        }
    }
}

impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonce(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_everything_and_reveals_nothing_of_another() {
        let options = SamplingOptions::default();
        let of = |seed| Nonce::new(Some(seed));
        assert_eq!(of(1).commitment(), of(1).commitment());
        assert_eq!(of(1).sampling(&options), of(1).sampling(&options));
        assert_ne!(of(1).commitment(), of(2).commitment());
        assert_ne!(of(1).sampling(&options).seed, of(2).sampling(&options).seed);
        assert_ne!(of(1).sampling(&options).seed, of(1).commitment());
        assert_ne!(Nonce::new(None), Nonce::new(None));
    }
}
