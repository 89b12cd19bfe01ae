//! Where money comes from and goes to: emission, stake, quotas.

use crate::{consumer, long_sessions, WINDOW};
use quipu_pallet_access as access;
use quipu_pallet_emission as emission;
use quipu_pallet_inference::{self as inference, Event, Sessions};
use quipu_pallet_slashing as slashing;
use quipu_pallet_staking as staking;
use quipu_primitives::{
    economy::Bucket,
    traits::{Slashable, StakeRewards},
    Balance,
};
use quipu_runtime::{
    clock::Schedule,
    configs::{dynamic_params, RuntimeParameters},
    genesis, Access, Balances, Emission, Runtime, RuntimeCall, Staking, QPU,
};
use quipu_stories::{actors::*, event, story_at, Chain, Key};
use sp_runtime::Perbill;

/// Blocks of a day in these stories.
const DAY: u32 = 40;
/// Blocks between two emissions.
const INTERVAL: u32 = 10;

fn with_short_days(tell: impl FnOnce(&mut Chain)) {
    let clock = |schedule: &mut Schedule| {
        long_sessions(schedule);
        schedule.day_blocks = DAY;
        schedule.emission_blocks = INTERVAL;
    };
    story_at(genesis::LOCAL_FAST, clock, tell);
}

fn bucket(chain: &mut Chain, bucket: Bucket) -> Balance {
    chain.read(|| Balances::free_balance(Emission::account(bucket)))
}

/// Has `//Alice` do it as root.
fn as_root(chain: &mut Chain, call: impl Into<RuntimeCall>) {
    let call = Box::new(call.into());
    chain.send(&Key::new("Alice"), pallet_sudo::Call::sudo { call });
}

#[test]
fn emission_follows_the_height_of_the_chain_and_stake_earns_its_part() {
    with_short_days(|chain| {
        chain.run_to(DAY);
        let supply = chain.read(Emission::supply);
        assert_eq!(supply.issued, 14_400 * QPU);
        assert_eq!(supply.today, 14_400 * QPU - 2_468_994_700_932);
        let total = supply.genesis + supply.issued;
        assert_eq!(supply.total, total, "nobody has burned anything yet");
        for (of, _, balance) in supply.buckets {
            let share = if of == Bucket::Protection { 4 } else { 24 };
            assert_eq!(balance, 144 * QPU * share, "{of:?}");
        }
        // Three validators with the same bond.
        for node in 0..3 {
            let earned = chain.read(|| Emission::earned(node));
            assert_eq!(earned, 48 * 24 * QPU);
            let income = chain.read(|| Emission::stake_income(node));
            assert_eq!(income.stake, genesis::VALIDATOR_BOND);
            assert_eq!(income.total_stake, 3 * genesis::VALIDATOR_BOND);
        }
        assert_eq!(chain.read(|| Emission::earned(77)), 0);
    });
}

#[test]
fn the_shares_are_changed_by_who_manages_the_chain_and_by_nobody_else() {
    with_short_days(|chain| {
        let all_for_builders = || {
            use dynamic_params::emission::{Builders, Parameters};
            let parameter = Parameters::Builders(Builders, Some(Perbill::from_percent(52)));
            let key_value = RuntimeParameters::Emission(parameter);
            pallet_parameters::Call::set_parameter { key_value }
        };
        let error = sp_runtime::DispatchError::BadOrigin;
        chain.refused(&consumer(), all_for_builders(), error);
        as_root(chain, all_for_builders());
        chain.run_to(INTERVAL);
        // A quarter of the first day's, of which the later shares are cut.
        assert_eq!(bucket(chain, Bucket::Builders), 36 * QPU * 52);
        assert_eq!(bucket(chain, Bucket::Community), 0);
        assert_eq!(bucket(chain, Bucket::Protection), 0);

        let spend = |amount| emission::Call::spend {
            bucket: Bucket::Builders,
            to: consumer().account(),
            amount,
        };
        chain.refused(&consumer(), spend(QPU), error);
        chain.mark();
        as_root(chain, spend(100 * QPU));
        chain.assert_moved(&[(&consumer(), 100 * QPU as i128)]);
    });
}

#[test]
fn a_holder_uses_inference_without_paying_and_its_servers_are_paid_as_by_anybody() {
    with_short_days(|chain| {
        let (subnet, servers) = chain.active_subnet();
        let holder = consumer();
        let locked = 700_000 * QPU;
        chain.send(&holder, access::Call::lock { amount: locked });
        let caps = servers.clone().map(|server| (server.node, third(40)));
        let open = || open_by_quota(subnet, &session_key(), &caps, 30);
        let error = access::Error::<Runtime>::QuotaExceeded;
        chain.refused(&holder, open(), error);

        let next_day = (chain.number() / DAY + 1) * DAY;
        chain.run_to(next_day);
        let quota = chain.read(|| Access::quota_info(&holder.account()));
        assert_eq!((quota.counts, quota.left), (locked, quota.quota));
        // Its share of all that exists, of one per cent of the bucket.
        let supply = chain.read(Emission::supply);
        let share = bucket(chain, Bucket::Compute) / 100 * 700_000 / (supply.total / QPU);
        assert!(quota.quota.abs_diff(share) < QPU / 100, "{quota:?}");

        let before = bucket(chain, Bucket::Compute);
        chain.mark();
        let events = chain.send(&holder, open());
        let session = event!(events, Inference(Event::SessionOpened { session, .. }) => *session);
        let deposit = 3 * third(40);
        assert_eq!(bucket(chain, Bucket::Compute), before - deposit);
        let left = chain.read(|| Access::quota_info(&holder.account()).left);
        assert_eq!(left, quota.left - deposit);

        let positions = servers.clone().map(|server| (server.node, 25));
        let call = settle(chain, session, &session_key(), &positions, [7; 32]);
        chain.send(&holder, call);
        let closes_at = chain.number() + WINDOW;
        let events = chain.run_to(closes_at);
        let (paid, refunded) = event!(
            events,
            Inference(Event::SessionClosed { paid, refunded, .. }) => (*paid, *refunded)
        );
        assert_eq!((paid, refunded), (3 * third(25), 3 * third(15)));
        let left = chain.read(|| Access::quota_info(&holder.account()).left);
        assert_eq!(left, quota.left - paid);
        // The holder paid fees of transactions and nothing else.
        let [first, second, last] = &servers;
        let gains = [first, second, last].map(|server| (&server.cold, gain(25)));
        chain.assert_moved(&gains);
        assert!(chain.read(|| Sessions::<Runtime>::get(session).expect("is kept").closed));
    });
}

#[test]
fn a_quota_pays_no_more_than_the_highest_price() {
    with_short_days(|chain| {
        let (subnet, servers) = chain.active_subnet();
        let holder = consumer();
        chain.send(
            &holder,
            access::Call::lock {
                amount: 700_000 * QPU,
            },
        );
        let next_day = (chain.number() / DAY + 1) * DAY;
        chain.run_to(next_day);
        let caps = servers.clone().map(|server| (server.node, third(10)));
        let price = Some(PRICE / 100);
        use dynamic_params::access::{HighestUnitPrice, Parameters};
        let parameter = Parameters::HighestUnitPrice(HighestUnitPrice, price);
        let key_value = RuntimeParameters::Access(parameter);
        as_root(chain, pallet_parameters::Call::set_parameter { key_value });
        let error = inference::Error::<Runtime>::PriceAboveQuota;
        let by_quota = open_by_quota(subnet, &session_key(), &caps, 30);
        chain.refused(&holder, by_quota, error);
        chain.send(&holder, open_session(subnet, &session_key(), &caps, 30));
    });
}

#[test]
fn whoever_asks_itself_by_quota_is_paid_for_work_and_for_no_more_than_its_share() {
    with_short_days(|chain| {
        let subnet = chain.register_subnet(&Key::new("Creator"), 30);
        // One account serves all of the model, and asks itself.
        let server = chain.serve(subnet, "Server1", 0, 30);
        let lock = access::Call::lock {
            amount: 500_000 * QPU,
        };
        chain.send(&server.cold, lock);
        let next_day = (chain.number() / DAY + 1) * DAY;
        chain.run_to(next_day);
        let quota = chain.read(|| Access::quota_info(&server.cold.account()));
        let a_position = quipu_primitives::cost(PRICE, 30, 1).expect("is small");
        let positions = (quota.left / a_position).min(CONTEXT.into()) as u32;
        assert!(positions > 0);
        let cap = a_position * Balance::from(positions);
        chain.mark();
        let caps = [(server.node, cap)];
        let events = chain.send(
            &server.cold,
            open_by_quota(subnet, &session_key(), &caps, 30),
        );
        let session = event!(events, Inference(Event::SessionOpened { session, .. }) => *session);
        let call = settle(
            chain,
            session,
            &session_key(),
            &[(server.node, positions)],
            [7; 32],
        );
        chain.send(&server.cold, call);
        let closes_at = chain.number() + WINDOW;
        chain.run_to(closes_at);
        // What its quota would have bought it of somebody else: for as many positions, each of which can be
        // audited, at no more than the highest price.
        chain.assert_moved(&[(&server.cold, cap as i128)]);
        let left = chain.read(|| Access::quota_info(&server.cold.account()).left);
        assert_eq!(left, quota.left - cap);
    });
}

#[test]
fn delegators_share_what_a_node_earns_and_what_it_loses() {
    with_short_days(|chain| {
        let (subnet, servers) = chain.active_subnet();
        let [first, ..] = &servers;
        let delegator = consumer();
        let (node, amount) = (first.node, 10_000 * QPU);
        let commission = Perbill::from_percent(5);
        let set = staking::Call::set_commission { node, commission };
        chain.send(&first.cold, set);
        chain.mark();
        chain.send(&delegator, staking::Call::delegate { node, amount });
        let pot = Staking::pot();
        let in_pot = |chain: &mut Chain| chain.read(|| Balances::free_balance(pot.clone()));
        assert!(in_pot(chain) >= amount);

        // As much as the owner's own, from here on.
        let before = chain.read(|| Staking::rewards_of(node));
        chain.run_to(chain.number() + DAY);
        let (own, theirs) = chain.read(|| {
            let delegation = Staking::delegation_of(node, &delegator.account());
            let theirs = delegation.expect("was made").rewards;
            (Staking::rewards_of(node) - before, theirs)
        });
        assert!(theirs > 50 * QPU, "{theirs}");
        // 95 to 105, but for what rounding leaves to the owner.
        assert!(
            (own * 95 / 105).abs_diff(theirs) < 1_000,
            "{own} and {theirs}"
        );
        let events = chain.send(&delegator, staking::Call::claim { node });
        let claimed = event!(
            events,
            Staking(staking::Event::RewardClaimed { amount, .. }) => *amount
        );
        assert!(claimed >= theirs);

        // Two receipts that contradict each other cost all of it, the delegator's too.
        let session = chain.open(&consumer(), subnet, &servers, 10, 100);
        let signs = |output| (&first.hot, receipt(session, node, 0, 32, output));
        let report = report_equivocation(chain, signs(1), signs(2));
        let events = chain.send(&Key::new("Ferdie"), report);
        let (cost, applies_at) = event!(
            events,
            Slashing(slashing::Event::CaseOpened { amount, applies_at, .. }) => (*amount, *applies_at)
        );
        assert_eq!(cost, 2 * amount);
        let error = staking::Error::<Runtime>::SlashPending;
        let undelegate = staking::Call::undelegate { node, amount };
        chain.send(&delegator, undelegate);
        chain.refused(&delegator, staking::Call::claim { node }, error);
        chain.run_to(applies_at + 1);
        let left = chain.read(|| Staking::delegation_of(node, &delegator.account()));
        let waits: Balance = left.map_or(0, |left| {
            left.amount
                + left
                    .chunks
                    .iter()
                    .map(|chunk| chunk.amount)
                    .sum::<Balance>()
        });
        assert_eq!(waits, 0);
        assert_eq!(chain.read(|| Staking::slashable(node)), 0);
    });
}
