//! Keys of people and workers: sr25519, given as a secret URI or a seed file.

use quipu_primitives::{AccountBytes, SignatureBytes};
use quipu_worker_core::Signer;
use std::{fmt, path::Path, str::FromStr};
use subxt_signer::{sr25519, SecretUri};

/// An sr25519 key.
#[derive(Clone)]
pub struct Keypair(sr25519::Keypair);

/// Why a key can't be used. Secrets never appear in the message.
#[derive(Debug, thiserror::Error)]
pub enum KeypairError {
    /// The text is no secret URI.
    #[error(
        "this is no secret URI: give a phrase of words, 0x and 64 hex digits, or a development \
         key such as //Alice"
    )]
    Uri,
    /// The file holds no secret URI.
    #[error(
        "the key file {path} holds no secret URI: put a phrase of words, 0x and 64 hex digits, or \
         a development key such as //Alice into it, and nothing else"
    )]
    Content {
        /// Its path.
        path: String,
    },
    /// The file can't be read.
    #[error("the key file {path} can't be read: {source}")]
    File {
        /// Its path.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Keypair {
    /// The key of a secret URI: a phrase, a hex seed, or a development key such as `//Alice`,
    /// each with optional derivation.
    pub fn from_uri(uri: &str) -> Result<Self, KeypairError> {
        let uri = SecretUri::from_str(uri.trim()).map_err(|_| KeypairError::Uri)?;
        sr25519::Keypair::from_uri(&uri)
            .map(Keypair)
            .map_err(|_| KeypairError::Uri)
    }

    /// The key whose secret URI stands in a file.
    pub fn from_file(path: &Path) -> Result<Self, KeypairError> {
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| KeypairError::File {
            path: name(),
            source,
        })?;
        Self::from_uri(&text).map_err(|_| KeypairError::Content { path: name() })
    }
}

impl Signer for Keypair {
    fn public(&self) -> AccountBytes {
        self.0.public_key().0
    }

    fn sign(&self, message: &[u8]) -> SignatureBytes {
        self.0.sign(message).0
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({})", subxt::utils::AccountId32(self.public()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn development_keys_sign() {
        let alice = Keypair::from_uri("//Alice").unwrap();
        let signature = alice.sign(b"quipu");
        assert!(quipu_worker_core::verify(
            &alice.public(),
            b"quipu",
            &signature
        ));
        assert_eq!(
            format!("{alice:?}"),
            "Keypair(5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY)"
        );
    }

    #[test]
    fn nonsense_is_refused_without_repeating_it() {
        let error = Keypair::from_uri("my secret is hunter2").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        assert!(matches!(
            Keypair::from_file(Path::new("no/such/file")),
            Err(KeypairError::File { .. })
        ));
    }
}
