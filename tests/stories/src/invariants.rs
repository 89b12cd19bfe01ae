//! What holds after every block of every story, computed from public storage alone: each pallet
//! checks itself in its own tests, here they are checked against each other and against the money.

use codec::Encode;
use quipu_pallet_access::{self as access, Locks};
use quipu_pallet_audits::{self as audits, Audits, Bound, Draw, Draws, Forfeits, Holds};
use quipu_pallet_emission::{
    self as emission, Capitals, CurrentPeriod, GenesisSupply, Issued, Stakes,
};
use quipu_pallet_inference::{
    self as inference, Cursor, Deadlines, Due, Duties, Fee, Jobs, OpenSessions, Sessions,
};
use quipu_pallet_slashing::{
    self as slashing, CaseByCause, Cases, FirstKept, FirstPending, NextCase, Standing, Standings,
    State,
};
use quipu_pallet_staking::{self as staking, Ledgers, TotalBonded};
use quipu_pallet_subnets::{
    self as subnets, CoverageOf, FormerHotkeys, Manifests, Members, NextNodeId, NextSubnetId,
    NodeOfHotkey, NodeOfPeer, Nodes, RootNodeOf, Status, Subnets,
};
use quipu_primitives::{
    audit::{Place, Stage, Subject},
    economy::{Bucket, BurnSource},
    node_of_account,
    traits::{Bonds, Cause, Slashable},
    NodeId, ROOT_SUBNET,
};
use quipu_runtime::{
    AccountId, Babe, Balance, Balances, BlockNumber, Emission, Runtime, RuntimeEvent,
    RuntimeFreezeReason, RuntimeHoldReason, Session, Staking, System,
};
use std::collections::{BTreeMap, BTreeSet};

/// What there was at genesis, and what events say was emitted and burned since.
#[derive(Clone, Debug)]
pub struct Supply {
    genesis: Balance,
    emitted: Balance,
    burned: BTreeMap<BurnSource, Balance>,
}

impl Supply {
    /// Nothing yet, of this total issuance.
    pub fn of(genesis: Balance) -> Self {
        Supply {
            genesis,
            emitted: 0,
            burned: BTreeMap::new(),
        }
    }

    /// Counts what the event says was emitted or burned.
    pub fn note(&mut self, event: &RuntimeEvent) {
        use pallet_transaction_payment::Event::TransactionFeePaid;
        let (source, burned) = match event {
            RuntimeEvent::Emission(emission::Event::Emitted {
                compute,
                capital,
                builders,
                community,
                protection,
            }) => {
                self.emitted += compute + capital + builders + community + protection;
                return;
            }
            RuntimeEvent::TransactionPayment(TransactionFeePaid { actual_fee, .. }) => {
                (BurnSource::Fee, *actual_fee)
            }
            RuntimeEvent::Slashing(slashing::Event::CaseApplied { burned, .. }) => {
                (BurnSource::Slash, *burned)
            }
            RuntimeEvent::Balances(pallet_balances::Event::DustLost { amount, .. }) => {
                (BurnSource::Dust, *amount)
            }
            _ => return,
        };
        *self.burned.entry(source).or_default() += burned;
    }
}

/// The total issuance.
pub fn issuance() -> Balance {
    Balances::total_issuance()
}

/// The accounts that emission fills, whatever happens: the buckets, and where what stake earned waits to be
/// claimed.
pub fn pots() -> BTreeSet<AccountId> {
    let buckets = Bucket::ALL.into_iter().map(Emission::account);
    buckets.chain([Staking::pot()]).collect()
}

/// What each account owns, on hold or not.
pub fn totals() -> BTreeMap<AccountId, Balance> {
    frame_system::Account::<Runtime>::iter()
        .map(|(who, account)| (who, account.data.free + account.data.reserved))
        .collect()
}

/// Checks the state after a block.
pub fn check(supply: &Supply) {
    money_is_neither_made_nor_lost(supply);
    holds_are_what_the_records_say();
    freezes_are_what_is_locked();
    rosters_agree();
    bonds_agree();
    validators_author();
    duties_and_deadlines_agree();
    cases_agree();
    audits_agree();
}

/// Total issuance = genesis + emitted − burned, each as it is counted by its source, and somebody owns each
/// bit of it. What was emitted is what the schedule allows, and no more.
fn money_is_neither_made_nor_lost(supply: &Supply) {
    let burned: Balance = supply.burned.values().sum();
    assert_eq!(
        issuance(),
        supply.genesis + supply.emitted - burned,
        "issuance"
    );
    assert_eq!(GenesisSupply::<Runtime>::get(), supply.genesis, "genesis");
    assert_eq!(Issued::<Runtime>::get(), supply.emitted, "emitted");
    for source in BurnSource::ALL {
        let burned = supply.burned.get(&source).copied().unwrap_or_default();
        assert_eq!(
            emission::Burned::<Runtime>::get(source),
            burned,
            "{source:?}"
        );
    }
    let period = CurrentPeriod::<Runtime>::get().expect("a period runs");
    let due = period.issued_before + period.emitted(System::block_number());
    assert!(supply.emitted <= due, "more was emitted than is due");
    let capital = Capitals::<Runtime>::get();
    let stakes = Stakes::<Runtime>::iter_values();
    assert_eq!(
        capital.stake,
        stakes.map(|stake| stake.counts()).sum::<Balance>(),
        "stakes"
    );
    assert_eq!(issuance(), totals().values().sum::<Balance>(), "owned");
}

/// For each account and reason, what is on hold is the sum of what the pallets' records name; and
/// what is reserved otherwise is the deposits of proxies and multisigs.
fn holds_are_what_the_records_say() {
    let mut named: BTreeMap<(AccountId, u8), Balance> = BTreeMap::new();
    let mut add = |who: AccountId, reason: RuntimeHoldReason, amount: Balance| {
        *named.entry((who, number_of(reason))).or_default() += amount;
    };
    for subnet in Subnets::<Runtime>::iter_values() {
        let reason = subnets::HoldReason::Registration;
        add(subnet.creator, reason.into(), subnet.deposit);
    }
    for (id, node) in Nodes::<Runtime>::iter() {
        let bond = Ledgers::<Runtime>::get(id).map_or(0, |ledger| ledger.total());
        add(node.coldkey.clone(), staking::HoldReason::Bond.into(), bond);
        add(node.coldkey, subnets::HoldReason::Node.into(), node.deposit);
    }
    for session in Sessions::<Runtime>::iter_values() {
        let reason = inference::HoldReason::Session;
        add(session.payer().clone(), reason.into(), session.held);
    }
    for job in Jobs::<Runtime>::iter_values() {
        add(job.requester, inference::HoldReason::Job.into(), job.held);
    }
    named.retain(|_, amount| *amount > 0);

    let mut held = BTreeMap::new();
    for (who, holds) in pallet_balances::Holds::<Runtime>::iter() {
        for hold in holds {
            held.insert((who.clone(), number_of(hold.id)), hold.amount);
        }
    }
    held.retain(|_, amount| *amount > 0);
    assert_eq!(held, named, "holds by account and reason");

    let mut reserved: BTreeMap<AccountId, Balance> = BTreeMap::new();
    for ((who, _), amount) in held {
        *reserved.entry(who).or_default() += amount;
    }
    for (who, (_, deposit)) in pallet_proxy::Proxies::<Runtime>::iter() {
        *reserved.entry(who).or_default() += deposit;
    }
    for multisig in pallet_multisig::Multisigs::<Runtime>::iter_values() {
        *reserved.entry(multisig.depositor).or_default() += multisig.deposit;
    }
    for (who, account) in frame_system::Account::<Runtime>::iter() {
        let expected = reserved.remove(&who).unwrap_or_default();
        assert_eq!(account.data.reserved, expected, "reserved on {who:?}");
    }
    assert!(reserved.is_empty(), "deposits without an account");
}

/// What is frozen is what holders locked for their quota.
fn freezes_are_what_is_locked() {
    let locked: BTreeMap<_, _> = Locks::<Runtime>::iter()
        .map(|(who, lock)| (who, lock.total()))
        .collect();
    let mut frozen = BTreeMap::new();
    for (who, freezes) in pallet_balances::Freezes::<Runtime>::iter() {
        for freeze in freezes {
            let RuntimeFreezeReason::Access(access::FreezeReason::Access) = freeze.id;
            frozen.insert(who.clone(), freeze.amount);
        }
    }
    assert_eq!(frozen, locked, "freezes");
}

/// Hold reasons in the order of their encoding, which is a pallet's index and a variant's.
fn number_of(reason: RuntimeHoldReason) -> u8 {
    match reason {
        RuntimeHoldReason::Subnets(subnets::HoldReason::Registration) => 0,
        RuntimeHoldReason::Subnets(subnets::HoldReason::Node) => 1,
        RuntimeHoldReason::Staking(staking::HoldReason::Bond) => 2,
        RuntimeHoldReason::Inference(inference::HoldReason::Session) => 3,
        RuntimeHoldReason::Inference(inference::HoldReason::Job) => 4,
        RuntimeHoldReason::Session(_) => 5,
    }
}

/// Coverage counts the seats, states follow from it, and the indices name each node once.
fn rosters_agree() {
    let mut listed = BTreeSet::new();
    for (subnet, members) in Members::<Runtime>::iter() {
        assert!(!members.is_empty(), "an empty list was kept");
        for id in members {
            assert!(listed.insert(id), "node {id} is listed twice");
            let node = Nodes::<Runtime>::get(id).expect("members are nodes");
            assert_eq!(node.subnet, subnet, "node {id}");
            assert_eq!(NodeOfHotkey::<Runtime>::get(&node.hotkey), Some(id));
            assert_eq!(NodeOfPeer::<Runtime>::get(&node.peer_id), Some(id));
            if subnet == ROOT_SUBNET {
                assert_eq!(RootNodeOf::<Runtime>::get(&node.coldkey), Some(id));
            }
            assert!(id < NextNodeId::<Runtime>::get());
        }
    }
    let roots = Members::<Runtime>::get(ROOT_SUBNET).len();
    assert_eq!(Nodes::<Runtime>::iter_keys().count(), listed.len());
    assert_eq!(NodeOfHotkey::<Runtime>::iter_keys().count(), listed.len());
    assert_eq!(NodeOfPeer::<Runtime>::iter_keys().count(), listed.len());
    assert_eq!(RootNodeOf::<Runtime>::iter_keys().count(), roots);

    for (id, former) in FormerHotkeys::<Runtime>::iter() {
        assert!(listed.contains(&id) && !former.is_empty(), "node {id}");
    }

    let ids: BTreeSet<_> = Subnets::<Runtime>::iter_keys().collect();
    assert_eq!(ids, Manifests::<Runtime>::iter_keys().collect());
    assert_eq!(ids, CoverageOf::<Runtime>::iter_keys().collect());
    for (id, subnet) in Subnets::<Runtime>::iter() {
        assert!(id != ROOT_SUBNET && id < NextSubnetId::<Runtime>::get());
        let mut seats = vec![0u16; usize::from(subnet.blocks)];
        for member in Members::<Runtime>::get(id) {
            let seat = Nodes::<Runtime>::get(member).and_then(|node| node.seat);
            for block in seat.iter().flat_map(|seat| seat.span.blocks()) {
                seats[usize::from(block)] += 1;
            }
        }
        let coverage = CoverageOf::<Runtime>::get(id).expect("each subnet has one");
        assert_eq!(coverage.counts(), seats, "coverage of subnet {id}");
        let complete = seats.iter().all(|seats| *seats > 0);
        match subnet.status {
            Status::Active => assert!(complete, "subnet {id} is active with a gap"),
            Status::Uncovered => assert!(!complete, "subnet {id} should be active"),
            Status::Paused => {}
        }
    }
}

/// Ledgers belong to nodes, are not empty, and add up; a seat needs its bond, and what pending slashes
/// take of that does not count.
fn bonds_agree() {
    let mut bonded: Balance = 0;
    for (id, ledger) in Ledgers::<Runtime>::iter() {
        assert!(Nodes::<Runtime>::contains_key(id), "ledger of no node");
        assert!(!ledger.is_empty(), "an empty ledger was kept");
        bonded += ledger.own;
    }
    assert_eq!(TotalBonded::<Runtime>::get(), bonded, "TotalBonded");
    for (id, node) in Nodes::<Runtime>::iter() {
        let Some(subnet) = node.seat.and(Subnets::<Runtime>::get(node.subnet)) else {
            continue;
        };
        let own = Ledgers::<Runtime>::get(id).map_or(0, |ledger| ledger.own);
        let own = own.saturating_sub(Standings::<Runtime>::get(id).amount);
        let needed = Staking::minimum_self_bond().max(subnet.terms.min_self_bond);
        assert!(own >= needed, "node {id} sits with a bond of {own}");
    }
}

/// There are validators, each once and each a node, and they are who may author.
fn validators_author() {
    let validators = Session::validators();
    assert!(!validators.is_empty(), "nobody validates");
    let nodes: BTreeSet<NodeId> = validators
        .iter()
        .map(|id| node_of_account(id.as_ref()).expect("validators are nodes"))
        .collect();
    assert_eq!(nodes.len(), validators.len(), "a validator twice");
    for node in nodes {
        assert!(
            Nodes::<Runtime>::contains_key(node),
            "validator {node} is gone"
        );
    }
    assert_eq!(Babe::authorities().len(), validators.len());
}

/// Each session and job waits under exactly one deadline that is not past, and nodes and consumers
/// count those that are not over.
fn duties_and_deadlines_agree() {
    let mut waiting: BTreeSet<(BlockNumber, bool, u64)> = BTreeSet::new();
    let mut duties: BTreeMap<NodeId, u32> = BTreeMap::new();
    let mut open: BTreeMap<AccountId, u32> = BTreeMap::new();
    for (id, session) in Sessions::<Runtime>::iter() {
        waiting.insert((session.due, false, id));
        let earned: Balance = session.servers.iter().map(|server| server.earned()).sum();
        assert!(earned <= session.deposit(), "session {id} pays too much");
        if session.closed {
            continue;
        }
        assert_eq!(session.held, session.deposit(), "session {id}");
        *open.entry(session.consumer).or_default() += 1;
        for server in session.servers {
            *duties.entry(server.node).or_default() += 1;
        }
    }
    for (id, job) in Jobs::<Runtime>::iter() {
        waiting.insert((job.due, true, id));
        if job.state == Fee::Held {
            *duties.entry(job.node).or_default() += 1;
        }
    }
    let queued = Deadlines::<Runtime>::iter_keys().map(|(at, due)| match due {
        Due::Session(id) => (at, false, id),
        Due::Job(id) => (at, true, id),
    });
    let queued: BTreeSet<_> = queued.collect();
    assert_eq!(queued, waiting, "the queue and what waits");
    if let Some((first, ..)) = queued.first() {
        let cursor = Cursor::<Runtime>::get().expect("something is queued");
        assert!(cursor <= *first, "an entry stands behind the cursor");
    }
    assert_eq!(
        Duties::<Runtime>::iter().collect::<BTreeMap<_, _>>(),
        duties
    );
    let counted: BTreeMap<_, _> = OpenSessions::<Runtime>::iter().collect();
    assert_eq!(counted, open, "open sessions by consumer");
    for node in duties.keys() {
        assert!(
            Nodes::<Runtime>::contains_key(*node),
            "node {node} is still owed to"
        );
    }
}

/// What hangs over nodes is what the cases say, and is at stake; the cursors are where they should be.
fn cases_agree() {
    let (first_pending, first_kept) = (FirstPending::<Runtime>::get(), FirstKept::<Runtime>::get());
    let mut standings: BTreeMap<NodeId, Standing> = BTreeMap::new();
    let mut causes = 0;
    for (id, case) in Cases::<Runtime>::iter() {
        assert!(id < NextCase::<Runtime>::get() && id >= first_kept);
        let found = CaseByCause::<Runtime>::get(case.node, case.cause);
        assert_eq!(found, Some(id), "case {id} is not found by its cause");
        causes += 1;
        let standing = standings.entry(case.node).or_default();
        if case.state == State::Pending {
            assert!(id >= first_pending, "case {id} is behind the cursor");
            assert!(Nodes::<Runtime>::contains_key(case.node), "case {id}");
            standing.pending += 1;
            standing.amount += case.amount;
        }
        if matches!(case.cause, Cause::Withheld { .. }) && case.state != State::Canceled {
            standing.withheld += 1;
        }
    }
    assert_eq!(CaseByCause::<Runtime>::iter().count(), causes);
    standings.retain(|_, standing| *standing != Standing::default());
    let stored: BTreeMap<_, _> = Standings::<Runtime>::iter().collect();
    assert_eq!(stored, standings, "standings");
    for (node, standing) in standings {
        let total = Staking::slashable(node);
        assert!(
            standing.amount <= total,
            "node {node} owes more than it has"
        );
    }
}

/// Sessions are held for what is still to be drawn or judged, and not yet paid out; whoever is part of an
/// audit is there; every audit is queued once; and only a server that was convicted forfeits anything.
fn audits_agree() {
    let mut holds: BTreeMap<u64, u32> = BTreeMap::new();
    let mut bound: BTreeSet<(NodeId, Subject)> = BTreeSet::new();
    let (mut waiting, mut timed) = (BTreeSet::new(), BTreeSet::new());
    let mut losers = BTreeSet::new();
    for (session, node, audit) in Audits::<Runtime>::iter() {
        let subject = Subject { session, node };
        match audit.stage.place() {
            Place::Draw(since) => waiting.insert((since, Draw::Panel(subject).encode())),
            Place::Block(at) => timed.insert((at, subject)),
        };
        match audit.stage {
            Stage::Closed { outcome, .. } if outcome.forfeits() => {
                losers.insert((session, node));
            }
            Stage::Closed { .. } => {}
            _ => {
                *holds.entry(session).or_default() += 1;
                bound.extend(audit.bound(subject).map(|node| (node, subject)));
            }
        }
    }
    for (since, draw) in Draws::<Runtime>::iter_keys() {
        if let Draw::Session(session) = draw {
            waiting.insert((since, draw.encode()));
            *holds.entry(session).or_default() += 1;
        }
    }
    let queued = Draws::<Runtime>::iter_keys().map(|(since, draw)| (since, draw.encode()));
    assert_eq!(queued.collect::<BTreeSet<_>>(), waiting, "draws");
    let queued = audits::Deadlines::<Runtime>::iter_keys();
    assert_eq!(queued.collect::<BTreeSet<_>>(), timed, "ends of stages");
    assert_eq!(Holds::<Runtime>::iter().collect::<BTreeMap<_, _>>(), holds);
    for session in holds.keys() {
        let held = Sessions::<Runtime>::get(session).expect("a held session is on record");
        assert!(!held.closed, "session {session} was paid out too early");
    }
    let stored: BTreeSet<_> = Bound::<Runtime>::iter_keys().collect();
    assert_eq!(stored, bound, "who is part of audits");
    for (node, _) in bound {
        assert!(Nodes::<Runtime>::contains_key(node), "node {node} is gone");
    }
    for loser in Forfeits::<Runtime>::iter_keys() {
        assert!(losers.contains(&loser), "{loser:?} forfeits for nothing");
    }
}
