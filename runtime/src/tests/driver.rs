//! Builds blocks as a node does, in the current externalities.

use crate::{
    Block, BlockNumber, Executive, Hash, Header, Nonce, Runtime, RuntimeCall, SignedPayload,
    System, TxExtension, UncheckedExtrinsic, VERSION,
};
use codec::Encode;
use sp_block_builder::runtime_decl_for_block_builder::BlockBuilder;
use sp_consensus_babe::{
    digests::{PreDigest, SecondaryPlainPreDigest},
    BABE_ENGINE_ID,
};
use sp_inherents::InherentData;
use sp_keyring::Sr25519Keyring;
use sp_runtime::{
    generic::Era,
    traits::{Block as _, Header as _},
    ApplyExtrinsicResult, Digest, DigestItem,
};

/// The slot of the first block: any will do, BABE counts epochs from it.
pub const FIRST_SLOT: u64 = 1_000;

/// What BABE puts into the header of a block that the `author`-th validator authors in `slot`.
pub fn claim(slot: u64, author: u32) -> Digest {
    let claim = PreDigest::SecondaryPlain(SecondaryPlainPreDigest {
        authority_index: author,
        slot: slot.into(),
    });
    Digest {
        logs: vec![DigestItem::PreRuntime(BABE_ENGINE_ID, claim.encode())],
    }
}

/// The head of the chain.
pub struct Driver {
    number: BlockNumber,
    parent: Hash,
}

impl Driver {
    /// A chain that has its genesis block alone.
    pub fn new() -> Self {
        Self {
            number: 0,
            parent: System::block_hash(0),
        }
    }

    /// Builds a block in `slot` (counted from [`FIRST_SLOT`]), authored by the first validator,
    /// with what inherents demand and these extrinsics. Returns what became of the latter too.
    pub fn block(
        &mut self,
        slot: u64,
        extrinsics: Vec<UncheckedExtrinsic>,
    ) -> (Block, Vec<ApplyExtrinsicResult>) {
        let slot = FIRST_SLOT + slot;
        let header = Header::new(
            self.number + 1,
            Default::default(),
            Default::default(),
            self.parent,
            claim(slot, 0),
        );
        Executive::initialize_block(&header);
        let mut data = InherentData::new();
        let millis = crate::Clock::schedule().slot_millis * slot;
        data.put_data(sp_timestamp::INHERENT_IDENTIFIER, &millis)
            .expect("encodes");
        let mut all = <Runtime as BlockBuilder<Block>>::inherent_extrinsics(data);
        assert!(!all.is_empty(), "the timestamp is an inherent");
        for inherent in &all {
            Executive::apply_extrinsic(inherent.clone())
                .expect("is valid")
                .expect("dispatches");
        }
        let results = extrinsics
            .iter()
            .map(|it| Executive::apply_extrinsic(it.clone()))
            .collect();
        all.extend(extrinsics);
        let header = Executive::finalize_block();
        self.number = header.number;
        self.parent = header.hash();
        (Block::new(header, all), results)
    }
}

/// An extrinsic as a wallet signs it.
pub fn signed(who: Sr25519Keyring, nonce: Nonce, call: RuntimeCall) -> UncheckedExtrinsic {
    let extension: TxExtension = (
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckMortality::from(Era::Immortal),
        frame_system::CheckNonce::from(nonce),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
        frame_metadata_hash_extension::CheckMetadataHash::new(false),
        frame_system::WeightReclaim::new(),
    );
    let genesis = System::block_hash(0);
    let (spec, tx) = (VERSION.spec_version, VERSION.transaction_version);
    let implicit = ((), spec, tx, genesis, genesis, (), (), (), None, ());
    let payload = SignedPayload::from_raw(call.clone(), extension.clone(), implicit);
    let signature = payload.using_encoded(|bytes| who.sign(bytes));
    UncheckedExtrinsic::new_signed(
        call,
        who.to_account_id().into(),
        crate::Signature::Sr25519(signature),
        extension,
    )
}
