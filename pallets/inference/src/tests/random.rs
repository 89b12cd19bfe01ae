//! Random sequences of everything that can happen. After each step every property of the state is
//! checked, and in the end nothing is left and every unit is where the events say it went.

use crate::{mock::*, pallet::*, Due};
use codec::Encode;
use frame_support::{storage_alias, traits::fungible::Mutate, weights::Weight, Twox64Concat};
use proptest::prelude::*;
use quipu_primitives::{job::FinishReason, Balance, NodeId, SessionId};
use std::collections::{BTreeMap, BTreeSet};

const PEOPLE: [AccountId; 4] = [ALICE, BOB, CAROL, 1_011];
const NODES: [NodeId; 6] = [HEAD, MIDDLE, TAIL, STANDBY, WHOLE, LONER];
/// An account that nothing else uses: dead until a payment revives it.
const GHOST: AccountId = 5_555;
/// Helps stripped accounts up in the end.
const BANK: AccountId = 7_777;

/// Accounts that were left with nothing but what is on hold.
#[storage_alias]
type Stripped = StorageMap<Book, Twox64Concat, AccountId, ()>;

#[derive(Clone, Debug)]
enum Step {
    Open {
        who: usize,
        small: bool,
        caps: Vec<(usize, Balance)>,
        duration: u64,
    },
    Redeem {
        session: u64,
        node: usize,
        positions: u32,
        forged: bool,
    },
    Settle {
        session: u64,
        list: Vec<(usize, u32)>,
        by: Option<usize>,
    },
    Finalize {
        session: u64,
    },
    Request {
        who: usize,
        small: bool,
        fee: Balance,
    },
    Submit {
        job: u64,
        session: u64,
    },
    /// The drawn server does all that an answer needs.
    Answer {
        job: u64,
        positions: u32,
    },
    Pay {
        job: u64,
    },
    Refund {
        job: u64,
    },
    Blocks {
        count: u64,
        weight: u64,
    },
    Strip {
        who: usize,
    },
    Gate {
        session: u64,
        shut: bool,
    },
    Owner {
        node: usize,
        ghost: bool,
    },
    Seat {
        node: usize,
        price: Balance,
    },
}

fn amount() -> impl Strategy<Value = Balance> {
    prop_oneof![
        8 => 0..3_000u128,
        2 => 0..4u128,
        1 => Just(RICH),
        1 => any::<u128>(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let person = 0..PEOPLE.len();
    let node = 0..NODES.len();
    let id = 0..1_000u64;
    prop_oneof![
        4 => (
            person.clone(),
            any::<bool>(),
            proptest::collection::vec((node.clone(), amount()), 0..6),
            0..MAX_DURATION + 2,
        )
            .prop_map(|(who, small, caps, duration)| Step::Open { who, small, caps, duration }),
        4 => (id.clone(), node.clone(), 0..110u32, proptest::bool::weighted(0.1))
            .prop_map(|(session, node, positions, forged)| {
                Step::Redeem { session, node, positions, forged }
            }),
        3 => (
            id.clone(),
            proptest::collection::vec((node.clone(), 0..60u32), 0..4),
            proptest::option::weighted(0.1, person.clone()),
        )
            .prop_map(|(session, list, by)| Step::Settle { session, list, by }),
        2 => id.clone().prop_map(|session| Step::Finalize { session }),
        2 => (person, any::<bool>(), amount())
            .prop_map(|(who, small, fee)| Step::Request { who, small, fee }),
        3 => (id.clone(), id.clone()).prop_map(|(job, session)| Step::Submit { job, session }),
        3 => (id.clone(), 0..30u32).prop_map(|(job, positions)| Step::Answer { job, positions }),
        1 => (0..2usize).prop_map(|who| Step::Strip { who }),
        1 => id.clone().prop_map(|job| Step::Pay { job }),
        1 => id.clone().prop_map(|job| Step::Refund { job }),
        5 => (1..25u64, prop_oneof![Just(0), 0..2_000_000_000u64, Just(u64::MAX)])
            .prop_map(|(count, weight)| Step::Blocks { count, weight }),
        1 => (id, any::<bool>()).prop_map(|(session, shut)| Step::Gate { session, shut }),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, ghost)| Step::Owner { node, ghost }),
        1 => (node, amount()).prop_map(|(node, price)| Step::Seat { node, price }),
    ]
}

/// What the events say about money.
#[derive(Default)]
struct Ledger {
    deposits: BTreeMap<SessionId, Balance>,
    paid: BTreeMap<(SessionId, NodeId), Balance>,
    closed: BTreeSet<SessionId>,
    fees: BTreeMap<u64, Balance>,
    jobs_ended: BTreeSet<u64>,
    received: BTreeMap<AccountId, Balance>,
    spent: BTreeMap<AccountId, Balance>,
    owners: BTreeMap<SessionId, AccountId>,
    requesters: BTreeMap<u64, AccountId>,
    stuck: BTreeMap<Vec<u8>, Balance>,
}

impl Ledger {
    fn transferred(&mut self, from: AccountId, to: AccountId, amount: Balance) {
        *self.spent.entry(from).or_default() += amount;
        *self.received.entry(to).or_default() += amount;
    }

    fn read(&mut self) {
        for event in events() {
            match event {
                Event::SessionOpened {
                    session,
                    consumer,
                    deposit,
                    ..
                } => {
                    self.deposits.insert(session, deposit);
                    self.owners.insert(session, consumer);
                }
                Event::ServerPaid {
                    session,
                    node,
                    to,
                    amount,
                    ..
                } => {
                    assert!(
                        self.paid.insert((session, node), amount).is_none(),
                        "paid twice"
                    );
                    *self.received.entry(to).or_default() += amount;
                    *self.spent.entry(self.owners[&session]).or_default() += amount;
                }
                Event::SessionClosed {
                    session,
                    paid,
                    refunded,
                } => {
                    assert!(self.closed.insert(session), "closed twice");
                    let servers: Balance = self
                        .paid
                        .range((session, 0)..=(session, NodeId::MAX))
                        .map(|(_, amount)| amount)
                        .sum();
                    assert_eq!(servers, paid);
                    let stuck = self.stuck.get(&Due::Session(session).encode());
                    let stuck = stuck.copied().unwrap_or_default();
                    assert_eq!(paid + refunded + stuck, self.deposits[&session]);
                }
                Event::JobRequested {
                    job,
                    requester,
                    fee,
                    ..
                } => {
                    self.fees.insert(job, fee);
                    self.requesters.insert(job, requester);
                }
                Event::JobPaid {
                    job, to, amount, ..
                } => {
                    assert!(self.jobs_ended.insert(job), "ended twice");
                    assert_eq!(amount, self.fees[&job]);
                    *self.received.entry(to).or_default() += amount;
                    *self.spent.entry(self.requesters[&job]).or_default() += amount;
                }
                Event::JobRefunded { job, amount, .. } => {
                    assert!(self.jobs_ended.insert(job), "ended twice");
                    assert_eq!(amount, self.fees[&job]);
                }
                Event::RefundPostponed { item, amount, .. } => {
                    self.stuck.insert(item.encode(), amount);
                    if let Due::Job(job) = item {
                        self.jobs_ended.insert(job);
                    }
                }
                Event::LateRefund { item, amount, .. } => {
                    assert_eq!(self.stuck.remove(&item.encode()), Some(amount));
                }
                _ => {}
            }
        }
    }
}

/// One of the sessions that there were, or the next.
fn one_session(index: u64) -> u64 {
    index % (NextSession::<Test>::get() + 1)
}

/// One of the jobs that there were, or the next.
fn one_job(index: u64) -> u64 {
    index % (NextJob::<Test>::get() + 1)
}

/// Does the step. Whether the calls succeed is not the question here.
fn take(step: Step) {
    let signed = RuntimeOrigin::signed;
    match step {
        Step::Open {
            who,
            small,
            caps,
            duration,
        } => {
            let subnet = if small { SMALL } else { SUBNET };
            let mut list: Vec<_> = caps
                .into_iter()
                .map(|(node, cap)| (NODES[node], cap))
                .collect();
            // Half of the sessions would otherwise have no route.
            if small {
                list.retain(|(node, _)| *node == LONER);
                list.truncate(1);
            }
            if !Stripped::contains_key(PEOPLE[who]) {
                let _ = try_open(PEOPLE[who], subnet, &list, duration);
            }
        }
        Step::Redeem {
            session,
            node,
            positions,
            forged,
        } => {
            let session = one_session(session);
            let (voucher, mut signature) = voucher(session, NODES[node], positions);
            signature[0] ^= u8::from(forged);
            let result = Inference::redeem(signed(BOB), session, voucher, signature);
            assert!(!forged || result.is_err());
        }
        Step::Settle { session, list, by } => {
            let session = one_session(session);
            let who = by
                .map(|who| PEOPLE[who])
                .or_else(|| Sessions::<Test>::get(session).map(|session| session.consumer));
            let list: Vec<_> = list.into_iter().map(|(node, p)| (NODES[node], p)).collect();
            let _ = settle(who.unwrap_or(ALICE), session, &list);
        }
        Step::Finalize { session } => {
            let session = one_session(session);
            let _ = Inference::finalize(signed(CAROL), session);
        }
        Step::Request { who, small, fee } => {
            let subnet = if small { SMALL } else { SUBNET };
            let prompt = b"p".to_vec().try_into().unwrap();
            if !Stripped::contains_key(PEOPLE[who]) {
                let _ = Inference::request(signed(PEOPLE[who]), subnet, prompt, 3, fee);
            }
        }
        Step::Submit { job, session } => {
            let session = one_session(session);
            let job = one_job(job);
            let Some(stored) = Jobs::<Test>::get(job) else {
                return;
            };
            let server = signed(hotkey(stored.node));
            let answer = b"a".to_vec().try_into().unwrap();
            let _ =
                Inference::submit_result(server, job, answer, FinishReason::Stop, session, ROOT);
        }
        Step::Answer { job, positions } => {
            let job = one_job(job);
            let Some(stored) = Jobs::<Test>::get(job) else {
                return;
            };
            let (server, node) = (hotkey(stored.node), stored.node);
            let caps = if node == LONER {
                vec![(LONER, 400)]
            } else {
                vec![(WHOLE, 400), (HEAD, 400), (MIDDLE, 400), (TAIL, 400)]
            };
            let session = NextSession::<Test>::get();
            let _ = try_open(server, stored.subnet, &caps, 9);
            let _ = settle(server, session, &[(node, positions)]);
            let answer = b"a".to_vec().try_into().unwrap();
            let finish = FinishReason::Stop;
            let _ = Inference::submit_result(signed(server), job, answer, finish, session, ROOT);
        }
        Step::Strip { who } => {
            let who = PEOPLE[who];
            Stripped::insert(who, ());
            strip(who);
        }
        Step::Pay { job } => {
            let job = one_job(job);
            let _ = Inference::pay_job(signed(CAROL), job);
        }
        Step::Refund { job } => {
            let job = one_job(job);
            let _ = Inference::refund_job(signed(CAROL), job);
        }
        Step::Blocks { count, weight } => {
            for _ in 0..count {
                next_block_with(Weight::from_parts(weight, u64::MAX));
            }
        }
        Step::Gate {
            session,
            shut: true,
        } => Withheld::insert(one_session(session), ()),
        Step::Gate {
            session,
            shut: false,
        } => Withheld::remove(one_session(session)),
        Step::Owner { node, ghost } => {
            let node = NODES[node];
            let (subnet, _, hot) = KeysOf::get(node).unwrap();
            KeysOf::insert(
                node,
                (subnet, if ghost { GHOST } else { coldkey(node) }, hot),
            );
        }
        Step::Seat { node, price } => SeatOf::mutate(NODES[node], |seat| {
            seat.as_mut().unwrap().1.price = price;
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_books_balance(
        // Begin with something to work on: sequences of pure chance seldom get far.
        steps in proptest::collection::vec(step(), 1..100),
        opened in 0..3u32,
        requested in 0..3u32,
    ) {
        new_test_ext().execute_with(|| {
            Balances::mint_into(&BANK, RICH).unwrap();
            let issuance = Balances::total_issuance();
            let mut accounts = PEOPLE.to_vec();
            accounts.extend([GHOST, BANK]);
            accounts.extend(NODES.iter().flat_map(|node| [coldkey(*node), hotkey(*node)]));
            accounts.sort();
            accounts.dedup();
            let before: BTreeMap<_, _> = accounts.iter().map(|who| (*who, free(*who))).collect();

            let mut ledger = Ledger::default();
            (0..opened).for_each(|_| { open_usual(); });
            (0..requested).for_each(|_| {
                request(BOB, SMALL, 500);
                let session = open(hotkey(LONER), SMALL, &[(LONER, 400)]);
                settle(hotkey(LONER), session, &[(LONER, 9)]).unwrap();
            });
            ledger.read();
            for step in steps {
                if let Step::Strip { who } = step {
                    if Stripped::contains_key(PEOPLE[who]) {
                        continue;
                    }
                    ledger.transferred(PEOPLE[who], CAROL, free(PEOPLE[who]));
                }
                take(step);
                check();
                ledger.read();
                assert_eq!(Balances::total_issuance(), issuance);
            }

            // Everything ends: the gate opens, and the longest times pass.
            let _ = Withheld::clear(u32::MAX, None);
            for who in Stripped::iter_keys() {
                Balances::transfer_keep_alive(RuntimeOrigin::signed(BANK), who, ED).unwrap();
                ledger.transferred(BANK, who, ED);
            }
            run_to(System::block_number() + MAX_DURATION + 3 * WINDOW + RETENTION + 5);
            ledger.read();
            assert_nothing_left(&accounts);
            assert_eq!(ledger.closed.len(), ledger.deposits.len());
            assert_eq!(ledger.jobs_ended.len(), ledger.fees.len());
            for who in &accounts {
                let received = ledger.received.get(who).copied().unwrap_or_default();
                let spent = ledger.spent.get(who).copied().unwrap_or_default();
                assert_eq!(free(*who) + spent, before[who] + received);
            }
        });
    }

    #[test]
    fn nobody_earns_by_the_order_of_vouchers(
        positions in proptest::collection::vec(0..120u32, 1..12),
        at in 0..12usize,
    ) {
        new_test_ext().execute_with(|| {
            let id = open_usual();
            let mut best = 0;
            for (index, positions) in positions.iter().enumerate() {
                let done = if index == at {
                    settle(ALICE, id, &[(HEAD, *positions)])
                } else {
                    redeem(id, HEAD, *positions)
                };
                let fits = *positions <= 50;
                assert_eq!(done.is_ok(), fits && (*positions > best || index == at && *positions == best));
                if done.is_ok() {
                    best = *positions;
                }
                check();
            }
            run_to(62);
            assert_eq!(free(coldkey(HEAD)), ED + Balance::from(best) * 20);
        });
    }
}
