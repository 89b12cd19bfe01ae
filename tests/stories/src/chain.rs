//! The chain of a story.

use crate::{
    extrinsic::signed,
    invariants::{self, Supply},
    Key,
};
use codec::Encode;
use frame_support::genesis_builder_helper;
use frame_system::Phase;
use quipu_runtime::{
    clock::Schedule, genesis, AccountId, Block, BlockNumber, Executive, Hash, Header, Runtime,
    RuntimeCall, RuntimeEvent, RuntimeGenesisConfig, System, UncheckedExtrinsic,
};
use sp_block_builder::runtime_decl_for_block_builder::BlockBuilder;
use sp_consensus_babe::{
    digests::{PreDigest, SecondaryPlainPreDigest},
    BABE_ENGINE_ID,
};
use sp_inherents::InherentData;
use sp_io::TestExternalities;
use sp_runtime::{
    traits::{BlakeTwo256, Block as _, Hash as _, Header as _},
    ApplyExtrinsicResult, BuildStorage, Digest, DigestItem, DispatchError, Perbill,
    TransactionOutcome,
};
use std::{collections::BTreeMap, panic::AssertUnwindSafe};

/// The slot of the first block. Any will do: BABE counts epochs from it.
const FIRST_SLOT: u64 = 1_000;

/// Tells a story on a chain that starts from this preset, then has a second node import it.
pub fn story(preset: &str, tell: impl FnOnce(&mut Chain)) {
    story_at(preset, |_| {}, tell);
}

/// As [`story`], on a chain whose genesis sets some durations to suit it.
pub fn story_at(
    preset: &str,
    set_clock: impl FnOnce(&mut Schedule),
    tell: impl FnOnce(&mut Chain),
) {
    let mut chain = Chain::start(preset, set_clock);
    tell(&mut chain);
    chain.imported_elsewhere();
}

/// As [`story_at`], on a chain where all that servers do is audited.
pub fn audited_story(
    preset: &str,
    set_clock: impl FnOnce(&mut Schedule),
    tell: impl FnOnce(&mut Chain),
) {
    let mut chain = Chain::configured(preset, |config| {
        set_clock(&mut config.clock.schedule);
        config.audits.rate = Some(Perbill::one());
    });
    tell(&mut chain);
    chain.imported_elsewhere();
}

/// The genesis config that a preset comes to: the default with the preset's patch on it.
pub fn config_of(preset: &str) -> RuntimeGenesisConfig {
    let full = genesis_builder_helper::get_preset::<RuntimeGenesisConfig>(&None, |_| None)
        .expect("there is a default");
    let mut full: serde_json::Value = serde_json::from_slice(&full).expect("is JSON");
    let patch = genesis::preset(&preset.into()).expect("the preset exists");
    merge(&mut full, serde_json::from_slice(&patch).expect("is JSON"));
    serde_json::from_value(full).expect("fits the runtime's genesis config")
}

/// RFC 7386, as chain-spec tools apply it.
fn merge(target: &mut serde_json::Value, patch: serde_json::Value) {
    let serde_json::Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = serde_json::Value::Object(Default::default());
    }
    let target = target.as_object_mut().expect("made one above");
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge(target.entry(key).or_insert(serde_json::Value::Null), value);
        }
    }
}

/// The head of a chain with its state. Each block is committed to the trie before the next.
pub struct Chain {
    ext: TestExternalities,
    genesis: sp_storage::Storage,
    /// Hash of each block by its number.
    hashes: Vec<Hash>,
    slot: u64,
    blocks: Vec<Block>,
    supply: Supply,
    marked: Mark,
}

/// What every account had at a moment of the story, and the fees that it has paid since.
#[derive(Default)]
struct Mark {
    total: BTreeMap<AccountId, u128>,
    fees: BTreeMap<AccountId, u128>,
    income: BTreeMap<AccountId, u128>,
}

impl Chain {
    /// A chain that has its genesis block alone.
    pub fn start(preset: &str, set_clock: impl FnOnce(&mut Schedule)) -> Self {
        Self::configured(preset, |config| set_clock(&mut config.clock.schedule))
    }

    fn configured(preset: &str, configure: impl FnOnce(&mut RuntimeGenesisConfig)) -> Self {
        let mut config = config_of(preset);
        configure(&mut config);
        let genesis = config.build_storage().expect("the preset builds");
        let mut ext = TestExternalities::new(genesis.clone());
        let (header, issuance) = ext.execute_with(|| (genesis_header(), invariants::issuance()));
        ext.reset_overlay();
        let mut chain = Chain {
            ext,
            genesis,
            hashes: vec![header.hash()],
            slot: FIRST_SLOT,
            blocks: vec![],
            supply: Supply::of(issuance),
            marked: Mark::default(),
        };
        chain.mark();
        chain
    }

    /// Number of the last block.
    pub fn number(&self) -> BlockNumber {
        BlockNumber::try_from(self.blocks.len()).expect("stories are short")
    }

    /// Hash of a block of this chain.
    pub fn hash_of(&self, number: BlockNumber) -> Hash {
        self.hashes[number as usize]
    }

    /// Hash of the genesis block, as vouchers name the chain by it.
    pub fn genesis_hash(&self) -> [u8; 32] {
        self.hashes[0].0
    }

    /// The slot in which the next block will be authored.
    pub fn next_slot(&self) -> u64 {
        self.slot
    }

    /// The last block.
    pub fn head(&self) -> &Block {
        self.blocks.last().expect("there is a block")
    }

    /// Looks at the state after the last block. Nothing that is written stays.
    pub fn read<R>(&mut self, look: impl FnOnce() -> R) -> R {
        let seen = self.ext.execute_with(look);
        self.ext.reset_overlay();
        seen
    }

    /// The durations of this chain.
    pub fn schedule(&mut self) -> Schedule {
        self.read(quipu_runtime::Clock::schedule)
    }

    /// Authors a block with these extrinsics and says what became of each. Those that are invalid
    /// stay out of it, as with a node.
    pub fn block(&mut self, extrinsics: Vec<UncheckedExtrinsic>) -> Vec<ApplyExtrinsicResult> {
        self.block_by(0, extrinsics)
    }

    /// As [`Chain::block`], authored by the validator at this place of the set.
    pub fn block_by(
        &mut self,
        author: u32,
        extrinsics: Vec<UncheckedExtrinsic>,
    ) -> Vec<ApplyExtrinsicResult> {
        let (number, parent, slot) = (self.number() + 1, self.hash_of(self.number()), self.slot);
        let built = self
            .ext
            .execute_with(|| build(number, parent, slot, author, extrinsics));
        self.ext.commit_all().expect("no transaction is open");
        let (block, results) = built;
        self.hashes.push(block.header.hash());
        self.blocks.push(block);
        self.slot += 1;

        for event in self.events() {
            self.supply.note(&event);
            if let Some((who, fee)) = fee_in(&event) {
                *self.marked.fees.entry(who).or_default() += fee;
            }
            if let Some((who, amount)) = income_in(&event) {
                *self.marked.income.entry(who).or_default() += amount;
            }
        }
        let supply = self.supply.clone();
        self.read(|| invariants::check(&supply));
        results
    }

    /// Would the validator at this place of the set be let author the next block?
    pub fn lets_author(&mut self, author: u32) -> bool {
        let (number, parent, slot) = (self.number() + 1, self.hash_of(self.number()), self.slot);
        let tried = std::panic::catch_unwind(AssertUnwindSafe(|| {
            self.ext
                .execute_with(|| build(number, parent, slot, author, vec![]))
        }));
        self.ext.reset_overlay();
        tried.is_ok()
    }

    /// Will the next block begin a session? `pallet-session` declares such a block full, so that
    /// it takes no extrinsics, and what waits for `on_idle` waits on.
    pub fn begins_session_next(&mut self) -> bool {
        let epoch = self.schedule().epoch_slots;
        let slots = self.slot - FIRST_SLOT;
        slots > 0 && slots.is_multiple_of(epoch)
    }

    /// As the pool of a node does, keeps extrinsics back from a block that takes none.
    fn wait_for_room(&mut self) {
        if self.begins_session_next() {
            self.block(vec![]);
        }
    }

    /// Do the [`invariants`] notice what `corrupt` does to the state? Nothing of it stays.
    pub fn notices(&mut self, corrupt: impl FnOnce()) -> bool {
        let supply = self.supply.clone();
        self.read(|| {
            corrupt();
            std::panic::catch_unwind(AssertUnwindSafe(|| invariants::check(&supply))).is_err()
        })
    }

    /// Signs a call as an honest wallet does.
    pub fn sign(&mut self, key: &Key, call: impl Into<RuntimeCall>) -> UncheckedExtrinsic {
        let signing = self.signing(key);
        signed(key, call.into(), signing)
    }

    /// Submits a call in a block of its own, which must succeed, and gives its events. The block
    /// is the next one, unless that takes none.
    pub fn send(&mut self, key: &Key, call: impl Into<RuntimeCall>) -> Vec<RuntimeEvent> {
        let call = call.into();
        self.wait_for_room();
        let extrinsic = self.sign(key, call.clone());
        let results = self.block(vec![extrinsic]);
        assert_eq!(results, [Ok(Ok(()))], "{} sends {call:?}", key.name());
        self.events_of_extrinsic(0)
    }

    /// Submits calls of one account in one block, all of which must succeed.
    pub fn send_all(&mut self, key: &Key, calls: Vec<RuntimeCall>) {
        self.wait_for_room();
        let signing = self.signing(key);
        let extrinsics: Vec<_> = (signing.nonce..)
            .zip(calls)
            .map(|(nonce, call)| {
                let signing = signing.clone();
                signed(key, call, crate::Signing { nonce, ..signing })
            })
            .collect();
        let expected = vec![Ok(Ok(())); extrinsics.len()];
        assert_eq!(self.block(extrinsics), expected, "{} sends", key.name());
    }

    /// Submits a call in a block of its own, which must fail with this error and do nothing else
    /// than cost its fee.
    pub fn refused(
        &mut self,
        key: &Key,
        call: impl Into<RuntimeCall>,
        error: impl Into<DispatchError>,
    ) {
        let (call, error) = (call.into(), error.into());
        self.wait_for_room();
        let extrinsic = self.sign(key, call.clone());
        let results = self.block(vec![extrinsic]);
        assert_eq!(results, [Ok(Err(error))], "{} sends {call:?}", key.name());
        for event in self.events_of_extrinsic(0) {
            let only_the_fee = matches!(
                event,
                RuntimeEvent::System(frame_system::Event::ExtrinsicFailed { .. })
                    | RuntimeEvent::TransactionPayment(_)
                    | RuntimeEvent::Balances(_)
            );
            assert!(only_the_fee, "a refused call did something: {event:?}");
        }
    }

    /// Events of the last block.
    pub fn events(&mut self) -> Vec<RuntimeEvent> {
        self.read(|| {
            System::read_events_no_consensus()
                .map(|record| record.event)
                .collect()
        })
    }

    /// Events of one of the extrinsics that the last block was asked to have, if none before it
    /// was invalid.
    pub fn events_of_extrinsic(&mut self, index: u32) -> Vec<RuntimeEvent> {
        // Behind the inherent that sets the time.
        let phase = Phase::ApplyExtrinsic(index + 1);
        self.read(|| {
            System::read_events_no_consensus()
                .filter(|record| record.phase == phase)
                .map(|record| record.event)
                .collect()
        })
    }

    /// Authors empty blocks up to this number, and gives the events of all of them.
    pub fn run_to(&mut self, number: BlockNumber) -> Vec<RuntimeEvent> {
        assert!(number > self.number(), "block {number} is past");
        let mut events = vec![];
        while self.number() < number {
            self.block(vec![]);
            events.extend(self.events());
        }
        events
    }

    /// Leaves slots empty up to the next session and authors its first block.
    pub fn next_session(&mut self) {
        let session = self.read(quipu_runtime::Session::current_index);
        while !self.begins_session_next() {
            self.slot += 1;
        }
        self.block(vec![]);
        let now = self.read(quipu_runtime::Session::current_index);
        assert_eq!(now, session + 1, "each epoch is a session");
    }

    /// Goes on to the first block of this session.
    pub fn run_to_session(&mut self, session: u32) {
        while self.read(quipu_runtime::Session::current_index) < session {
            self.next_session();
        }
    }

    /// Remembers what everybody has, for [`Chain::assert_moved`].
    pub fn mark(&mut self) {
        let total = self.read(invariants::totals);
        self.marked = Mark {
            total,
            fees: BTreeMap::new(),
            income: BTreeMap::new(),
        };
    }

    /// Since the mark and besides the fees that they paid and what they earned by stakes and audits, these
    /// accounts own so much more (or less), on hold or not, and nobody else owns anything more or less, but for
    /// the pots that emission fills.
    pub fn assert_moved(&mut self, expected: &[(&Key, i128)]) {
        let now = self.read(invariants::totals);
        let mut moved: BTreeMap<AccountId, i128> = BTreeMap::new();
        let signed = |amount: u128| i128::try_from(amount).expect("balances are far smaller");
        for (who, total) in now {
            *moved.entry(who).or_default() += signed(total);
        }
        for (who, total) in &self.marked.total {
            *moved.entry(who.clone()).or_default() -= signed(*total);
        }
        for (who, fee) in &self.marked.fees {
            *moved.entry(who.clone()).or_default() += signed(*fee);
        }
        for (who, income) in &self.marked.income {
            *moved.entry(who.clone()).or_default() -= signed(*income);
        }
        for (key, amount) in expected {
            let amount_moved = moved.remove(&key.account()).unwrap_or_default();
            assert_eq!(
                amount_moved,
                *amount,
                "what {} owns has changed by",
                key.name()
            );
        }
        let pots = self.read(invariants::pots);
        moved.retain(|who, amount| *amount != 0 && !pots.contains(who));
        assert!(moved.is_empty(), "others' balances changed: {moved:?}");
    }

    /// What an account earned by stakes and audits since the mark.
    pub fn income_of(&self, key: &Key) -> u128 {
        let income = &self.marked.income;
        income.get(&key.account()).copied().unwrap_or_default()
    }

    /// What an account paid in fees since the mark.
    pub fn fees_of(&self, key: &Key) -> u128 {
        let fees = &self.marked.fees;
        fees.get(&key.account()).copied().unwrap_or_default()
    }

    /// A second node imports the chain: each block must execute, and to the state that its header
    /// names.
    fn imported_elsewhere(self) {
        let mut ext = TestExternalities::new(self.genesis);
        for block in self.blocks {
            ext.execute_with(|| Executive::execute_block(block.into()));
            ext.commit_all().expect("no transaction is open");
        }
    }
}

/// Who was paid what for a stake or an audit.
fn income_in(event: &RuntimeEvent) -> Option<(AccountId, u128)> {
    use quipu_pallet_emission::Event::AuditorPaid;
    use quipu_pallet_staking::Event::{OwnRewardClaimed, RewardClaimed};
    let (who, amount) = match event {
        RuntimeEvent::Emission(AuditorPaid { to, amount, .. }) => (to, amount),
        RuntimeEvent::Staking(OwnRewardClaimed {
            coldkey, amount, ..
        }) => (coldkey, amount),
        RuntimeEvent::Staking(RewardClaimed {
            delegator, amount, ..
        }) => (delegator, amount),
        _ => return None,
    };
    Some((who.clone(), *amount))
}

/// The header of the block that nobody authored.
fn genesis_header() -> Header {
    let state_root = sp_io::storage::root(sp_runtime::StateVersion::V1);
    let state_root = Hash::from_slice(&state_root);
    let extrinsics_root = BlakeTwo256::ordered_trie_root(vec![], sp_runtime::StateVersion::V1);
    Header::new(
        0,
        extrinsics_root,
        state_root,
        Default::default(),
        Default::default(),
    )
}

/// What BABE puts into the header of a block that the validator at this place authors in `slot`.
fn claim(slot: u64, author: u32) -> Digest {
    let claim = PreDigest::SecondaryPlain(SecondaryPlainPreDigest {
        authority_index: author,
        slot: slot.into(),
    });
    Digest {
        logs: vec![DigestItem::PreRuntime(BABE_ENGINE_ID, claim.encode())],
    }
}

/// Builds a block on the state of `parent`, in the current externalities.
fn build(
    number: BlockNumber,
    parent: Hash,
    slot: u64,
    author: u32,
    extrinsics: Vec<UncheckedExtrinsic>,
) -> (Block, Vec<ApplyExtrinsicResult>) {
    let header = Header::new(
        number,
        Default::default(),
        Default::default(),
        parent,
        claim(slot, author),
    );
    Executive::initialize_block(&header);
    let mut data = InherentData::new();
    let millis = quipu_runtime::Clock::schedule().slot_millis * slot;
    data.put_data(sp_timestamp::INHERENT_IDENTIFIER, &millis)
        .expect("encodes");
    let mut body = <Runtime as BlockBuilder<Block>>::inherent_extrinsics(data);
    assert_eq!(body.len(), 1, "the timestamp is the only inherent");
    for inherent in &body {
        Executive::apply_extrinsic(inherent.clone())
            .expect("is valid")
            .expect("dispatches");
    }
    let mut results = vec![];
    for extrinsic in extrinsics {
        let result =
            frame_support::storage::with_transaction_unchecked(
                || match Executive::apply_extrinsic(extrinsic.clone()) {
                    Err(invalid) => TransactionOutcome::Rollback(Err(invalid)),
                    applied => TransactionOutcome::Commit(applied),
                },
            );
        if result.is_ok() {
            body.push(extrinsic);
        }
        results.push(result);
    }
    (Block::new(Executive::finalize_block(), body), results)
}

fn fee_in(event: &RuntimeEvent) -> Option<(AccountId, u128)> {
    use pallet_transaction_payment::Event::TransactionFeePaid;
    match event {
        RuntimeEvent::TransactionPayment(TransactionFeePaid {
            who, actual_fee, ..
        }) => Some((who.clone(), *actual_fee)),
        _ => None,
    }
}
