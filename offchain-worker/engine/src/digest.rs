//! Digests of weights and tokenizers: what a manifest records and a server checks before it serves.

use blake2::digest::consts::U32;
use blake2::digest::Digest as _;

use crate::weights::source::{StoredTensor, TensorSource};
use crate::weights::WeightsError;

/// BLAKE2b with 256 bits of output.
pub(crate) type Hasher = blake2::Blake2b<U32>;

/// Digests of the tensors outside the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndsDigests {
    /// Over the token embedding.
    pub embedding: [u8; 32],
    /// Over the final norm and the LM head; the head is the embedding where the two are tied.
    pub head: [u8; 32],
}

/// Digest of these tensors. They are taken in ascending order of their names.
pub(crate) fn of_tensors(
    source: &dyn TensorSource,
    mut tensors: Vec<(String, Vec<usize>)>,
) -> Result<[u8; 32], WeightsError> {
    tensors.sort();
    let mut hasher = Hasher::new();
    for (name, shape) in tensors {
        let tensor: StoredTensor = source.tensor(&name)?.expect_shape(&shape)?;
        tensor.hash_into(&mut hasher)?;
    }
    Ok(hasher.finalize().into())
}
