//! Extrinsics as a wallet signs them.

use crate::{Chain, Key};
use codec::Encode;
use quipu_runtime::{
    Balance, Hash, Nonce, RuntimeCall, Signature, TxExtension, UncheckedExtrinsic, VERSION,
};
use sp_runtime::generic::Era;

/// What a wallet decides when it signs; [`Chain::signing`] is what an honest one decides.
#[derive(Clone, Debug)]
pub struct Signing {
    /// The account's number of extrinsics so far.
    pub nonce: Nonce,
    /// For how long the extrinsic is valid.
    pub era: Era,
    /// Hash of the block with which `era` begins.
    pub checkpoint: Hash,
    /// The chain that it is for.
    pub genesis: Hash,
    /// The version of the runtime that it is for.
    pub spec_version: u32,
    /// On top of the fee.
    pub tip: Balance,
    /// The digest of the metadata by which the wallet decoded what it signs, if it vouches for
    /// that.
    pub metadata_hash: Option<[u8; 32]>,
}

impl Chain {
    /// What a wallet connected to this chain would put into `key`'s next extrinsic.
    pub fn signing(&mut self, key: &Key) -> Signing {
        let nonce = self.read(|| quipu_runtime::System::account_nonce(key.account()));
        let head = u64::from(self.number());
        let era = Era::mortal(64, head);
        let birth = u32::try_from(era.birth(head)).expect("blocks are numbered in 32 bits");
        Signing {
            nonce,
            era,
            checkpoint: self.hash_of(birth),
            genesis: self.hash_of(0),
            spec_version: VERSION.spec_version,
            tip: 0,
            metadata_hash: None,
        }
    }
}

/// The extrinsic that `key` signs so.
pub fn signed(key: &Key, call: RuntimeCall, signing: Signing) -> UncheckedExtrinsic {
    let metadata = match signing.metadata_hash {
        Some(hash) => frame_metadata_hash_extension::CheckMetadataHash::new_with_custom_hash(hash),
        None => frame_metadata_hash_extension::CheckMetadataHash::new(false),
    };
    let extension: TxExtension = (
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckMortality::from(signing.era),
        frame_system::CheckNonce::from(signing.nonce),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(signing.tip),
        metadata,
        frame_system::WeightReclaim::new(),
    );
    let implicit = (
        (),
        signing.spec_version,
        VERSION.transaction_version,
        signing.genesis,
        signing.checkpoint,
        (),
        (),
        (),
        signing.metadata_hash,
        (),
    );
    let payload = quipu_runtime::SignedPayload::from_raw(call.clone(), extension.clone(), implicit);
    let signature = payload.using_encoded(|bytes| key.sign(bytes));
    UncheckedExtrinsic::new_signed(
        call,
        key.account().into(),
        Signature::Sr25519(signature),
        extension,
    )
}
