//! What chains start with: the presets that `quipu-node --chain` and chain-spec tools offer.
//!
//! | preset | validators | clock |
//! |---|---|---|
//! | `development` | Alice | public |
//! | `development-fast` | Alice | fast |
//! | `local` | Alice, Bob, Charlie | public |
//! | `local-fast` | Alice, Bob, Charlie | fast |
//!
//! All of them are for development: their keys are known to everybody (derived from the
//! development phrase of Substrate), and Alice has `sudo`.

use crate::{
    clock::Schedule, AccountId, AuditsConfig, BabeConfig, Balance, BalancesConfig, ClockConfig,
    RuntimeGenesisConfig, SessionConfig, SessionKeys, StakingConfig, SubnetsConfig, SudoConfig,
    BABE_GENESIS_EPOCH_CONFIG, QPU,
};
use alloc::{format, string::ToString, vec::Vec};
use frame_support::build_struct_json_patch;
use quipu_pallet_subnets::PeerId;
use quipu_primitives::{node_account, NodeId};
use sp_core::{ed25519, sr25519, Pair};
use sp_genesis_builder::{PresetId, DEV_RUNTIME_PRESET, LOCAL_TESTNET_RUNTIME_PRESET};
use sp_runtime::Perbill;

/// Preset of one validator, at the public chain's speed.
pub const DEVELOPMENT: &str = DEV_RUNTIME_PRESET;
/// Preset of one validator with short slots and eras.
pub const DEVELOPMENT_FAST: &str = "development-fast";
/// Preset of three validators, at the public chain's speed.
pub const LOCAL: &str = "local";
/// Preset of three validators with short slots and eras.
pub const LOCAL_FAST: &str = "local-fast";

/// Every preset.
pub const PRESETS: [&str; 4] = [DEVELOPMENT, DEVELOPMENT_FAST, LOCAL, LOCAL_FAST];

/// What each well-known account starts with.
pub const ENDOWMENT: Balance = 1_000_000 * QPU;

/// What each validator has at stake, out of its endowment.
pub const VALIDATOR_BOND: Balance = 100_000 * QPU;

/// Accounts that start with funds; each is the hard derivation of its name from the development
/// phrase, such as `//Alice`.
pub const ENDOWED: [&str; 14] = [
    "Alice", "Bob", "Charlie", "Dave", "Eve", "Ferdie", "Creator", "Server1", "Server2", "Server3",
    "Server4", "Server5", "Server6", "Consumer",
];

/// The key that the development phrase derives for `//name`.
fn derived<P: Pair>(name: &str) -> Option<P::Public> {
    P::from_string(&format!("//{name}"), None)
        .ok()
        .map(|pair| pair.public())
}

/// The account of a well-known name.
fn account(name: &str) -> Option<AccountId> {
    derived::<sr25519::Pair>(name).map(AccountId::from)
}

/// The session keys of a well-known name.
fn session_keys(name: &str) -> Option<SessionKeys> {
    Some(SessionKeys {
        grandpa: derived::<ed25519::Pair>(name)?.into(),
        babe: derived::<sr25519::Pair>(name)?.into(),
    })
}

/// The libp2p peer id of the ed25519 key `//name//peer`. Only the swarm of workers uses the peer ids
/// of nodes, and validators are not in it; but every node must have one.
fn peer_id(name: &str) -> Option<PeerId> {
    // The identity multihash of the protobuf of the public key.
    const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    let key = derived::<ed25519::Pair>(&format!("{name}//peer"))?;
    PeerId::try_from([PREFIX.as_slice(), &key.0].concat()).ok()
}

/// The JSON of a preset, as a patch of the default genesis config; `None` for a name that is not
/// one of [`PRESETS`] (nor Substrate's own name for [`LOCAL`]).
pub fn preset(id: &PresetId) -> Option<Vec<u8>> {
    let (validators, schedule): (&[&str], Schedule) = match id.as_str() {
        DEVELOPMENT => (&["Alice"], Schedule::PUBLIC),
        DEVELOPMENT_FAST => (&["Alice"], Schedule::FAST),
        LOCAL | LOCAL_TESTNET_RUNTIME_PRESET => (&["Alice", "Bob", "Charlie"], Schedule::PUBLIC),
        LOCAL_FAST => (&["Alice", "Bob", "Charlie"], Schedule::FAST),
        _ => return None,
    };
    Some(patch(validators, schedule)?.to_string().into_bytes())
}

/// A genesis with these validators: each owns the root node of its place in the list, its coldkey
/// is `//Name`, its hotkey `//Name//hotkey`, and its session keys are those of `//Name`, which
/// `quipu-node --name` (such as `--alice`) puts into the keystore.
fn patch(validators: &[&str], schedule: Schedule) -> Option<serde_json::Value> {
    let balances: Vec<(AccountId, Balance)> = ENDOWED
        .iter()
        .map(|name| Some((account(name)?, ENDOWMENT)))
        .collect::<Option<_>>()?;
    let root_nodes: Vec<(AccountId, AccountId, PeerId)> = validators
        .iter()
        .map(|name| {
            Some((
                account(name)?,
                account(&format!("{name}//hotkey"))?,
                peer_id(name)?,
            ))
        })
        .collect::<Option<_>>()?;
    let ids = || (0..).zip(validators);
    let bonds: Vec<(NodeId, Balance)> = ids().map(|(node, _)| (node, VALIDATOR_BOND)).collect();
    let keys: Vec<(AccountId, AccountId, SessionKeys)> = ids()
        .map(|(node, name)| {
            Some((
                account(name)?,
                node_account(node).into(),
                session_keys(name)?,
            ))
        })
        .collect::<Option<_>>()?;
    Some(build_struct_json_patch!(RuntimeGenesisConfig {
        clock: ClockConfig { schedule },
        babe: BabeConfig {
            epoch_config: BABE_GENESIS_EPOCH_CONFIG
        },
        balances: BalancesConfig { balances },
        subnets: SubnetsConfig { root_nodes },
        staking: StakingConfig { bonds },
        session: SessionConfig { keys },
        // Where every node is a party to every session, nobody could be drawn, and payouts would wait two
        // epochs for nothing: whoever has more nodes turns it on.
        audits: AuditsConfig {
            rate: Some(Perbill::zero())
        },
        sudo: SudoConfig {
            key: Some(account("Alice")?)
        },
    }))
}
