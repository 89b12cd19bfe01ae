//! What each kind of proxy may do: every call of every pallet, decided one by one.

use codec::Decode;
use frame_support::traits::{GetCallMetadata, InstanceFilter};
use quipu_runtime::{configs::ProxyKind, RuntimeCall};
use std::collections::{BTreeMap, BTreeSet};
use ProxyKind::*;

const ALL: [ProxyKind; 5] = [Any, NonTransfer, Staking, Subnets, Inference];

/// A pallet, kinds of proxy, and the calls of the pallet that exactly these kinds may make (and
/// `Any`, which may make all). A new call has no line and fails the test, until it has been decided
/// who may make it for others.
const DECIDED: &[(&str, &[ProxyKind], &[&str])] = &[
    // Remarks, and what only the chain itself may do.
    (
        "System",
        &[NonTransfer],
        &[
            "remark",
            "set_heap_pages",
            "set_code",
            "set_code_without_checks",
            "set_storage",
            "kill_storage",
            "kill_prefix",
            "remark_with_event",
            "authorize_upgrade",
            "authorize_upgrade_without_checks",
            "apply_authorized_upgrade",
        ],
    ),
    // Inherents and reports: nobody signs them for another.
    ("Timestamp", &[], &["set"]),
    (
        "Babe",
        &[],
        &[
            "report_equivocation",
            "report_equivocation_unsigned",
            "plan_config_change",
        ],
    ),
    (
        "Grandpa",
        &[],
        &[
            "report_equivocation",
            "report_equivocation_unsigned",
            "note_stalled",
        ],
    ),
    // Money: only whoever may do everything.
    (
        "Balances",
        &[],
        &[
            "transfer_allow_death",
            "force_transfer",
            "transfer_keep_alive",
            "transfer_all",
            "force_unreserve",
            "upgrade_accounts",
            "force_set_balance",
            "force_adjust_total_issuance",
            "burn",
        ],
    ),
    // Deposits stay the account's own; a price only says what is earned.
    (
        "Subnets",
        &[NonTransfer, Subnets],
        &[
            "register_subnet",
            "dissolve_subnet",
            "pause_subnet",
            "resume_subnet",
            "register_node",
            "remove_node",
            "join",
            "update_price",
            "leave",
            "set_hotkey",
            "set_peer_id",
        ],
    ),
    // Gives the node away, and its bond with it.
    ("Subnets", &[], &["set_coldkey"]),
    // Bonds stay the account's own.
    (
        "Staking",
        &[NonTransfer, Staking],
        &[
            "bond",
            "unbond",
            "rebond",
            "withdraw",
            "validate",
            "chill",
            "undelegate",
            "withdraw_delegation",
            "set_commission",
            "claim",
            "claim_own",
            "release_delegator",
            "move_delegation",
            "move_bond",
            "clear_moves",
        ],
    ),
    // Puts the account's own at stake for a node of somebody else's, as bonds are for one of its own.
    ("Staking", &[NonTransfer, Staking], &["delegate"]),
    (
        "Session",
        &[NonTransfer, Staking],
        &["set_keys", "purge_keys"],
    ),
    // Pays servers and, for whoever serves, answers jobs.
    (
        "Inference",
        &[Inference],
        &[
            "open_session",
            "open_session_by_quota",
            "settle",
            "redeem",
            "finalize",
            "request",
            "submit_result",
            "pay_job",
            "refund_job",
        ],
    ),
    // What is locked stays the account's own; what it entitles to goes to servers.
    ("Access", &[NonTransfer, Inference], &["lock", "unlock"]),
    // Only who manages the chain.
    ("Emission", &[], &["reschedule", "spend"]),
    ("Parameters", &[], &["set_parameter"]),
    // Rewards go to whom the proof is sent in for; only the chain itself cancels.
    (
        "Slashing",
        &[NonTransfer],
        &["report_equivocation", "cancel", "apply"],
    ),
    // Of a hotkey that is an account with proxies: its node answers for what they say.
    (
        "Audits",
        &[NonTransfer],
        &["commit", "reveal", "answer", "set_rate"],
    ),
    // What is called within is filtered by the same kind.
    (
        "Utility",
        &[NonTransfer, Staking, Subnets, Inference],
        &[
            "batch",
            "as_derivative",
            "batch_all",
            "dispatch_as",
            "force_batch",
            "with_weight",
            "if_else",
            "dispatch_as_fallible",
        ],
    ),
    // Acts for other accounts; what it does with theirs is between them and the account.
    (
        "Proxy",
        &[NonTransfer],
        &[
            "proxy",
            "add_proxy",
            "remove_proxy",
            "remove_proxies",
            "create_pure",
            "kill_pure",
            "announce",
            "remove_announcement",
            "reject_announcement",
            "proxy_announced",
            "poke_deposit",
        ],
    ),
    (
        "Multisig",
        &[NonTransfer],
        &[
            "as_multi_threshold_1",
            "as_multi",
            "approve_as_multi",
            "cancel_as_multi",
            "poke_deposit",
        ],
    ),
    (
        "Sudo",
        &[],
        &[
            "sudo",
            "sudo_unchecked_weight",
            "set_key",
            "sudo_as",
            "remove_key",
        ],
    ),
];

/// One call of each kind that the runtime knows, with some arguments: those that zeros decode to, or
/// else ones.
fn every_call() -> Vec<RuntimeCall> {
    let indices = (0..=u8::MAX).flat_map(|pallet| (0..=u8::MAX).map(move |call| [pallet, call]));
    let calls: Vec<_> = indices
        .filter_map(|index| {
            [0, 1].into_iter().find_map(|argument| {
                let bytes = [&index[..], &[argument; 4096]].concat();
                RuntimeCall::decode(&mut &bytes[..]).ok()
            })
        })
        .collect();
    let made: BTreeSet<_> = calls.iter().map(name).collect();
    let missing: Vec<_> = RuntimeCall::get_module_names()
        .iter()
        .flat_map(|pallet| {
            let calls = RuntimeCall::get_call_names(pallet).iter();
            calls.map(move |call| (*pallet, *call))
        })
        .filter(|call| !made.contains(call))
        .collect();
    assert!(missing.is_empty(), "no arguments for {missing:?}");
    calls
}

fn name(call: &RuntimeCall) -> (&'static str, &'static str) {
    let names = call.get_call_metadata();
    (names.pallet_name, names.function_name)
}

#[test]
fn each_kind_of_proxy_may_do_what_was_decided_and_no_more() {
    let mut decided = BTreeMap::new();
    for (pallet, kinds, calls) in DECIDED {
        for call in *calls {
            let kinds: Vec<_> = ALL
                .into_iter()
                .filter(|kind| *kind == Any || kinds.contains(kind))
                .collect();
            let before = decided.insert((*pallet, *call), kinds);
            assert_eq!(before, None, "{pallet}.{call} was decided twice");
        }
    }
    for call in every_call() {
        let may: Vec<_> = ALL.into_iter().filter(|kind| kind.filter(&call)).collect();
        let (pallet, call) = name(&call);
        let decided = decided.remove(&(pallet, call));
        assert_eq!(
            Some(may),
            decided,
            "who may call {pallet}.{call} for others?"
        );
    }
    assert_eq!(decided, BTreeMap::new(), "no such calls");
}

#[test]
fn a_proxy_can_make_only_proxies_that_may_do_no_more_than_itself() {
    let calls = every_call();
    for one in ALL {
        for other in ALL {
            let covers = calls
                .iter()
                .all(|call| one.filter(call) || !other.filter(call));
            assert!(
                !one.is_superset(&other) || covers,
                "{other:?} may do what {one:?} may not"
            );
        }
    }
}
