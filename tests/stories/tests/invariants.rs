//! Whether the invariants that every story checks would notice anything.

use crate::{consumer, long_sessions};
use quipu_pallet_inference::{Cursor, Deadlines, Due, Duties, Jobs, OpenSessions, Sessions};
use quipu_pallet_slashing::{CaseByCause, Cases, FirstPending, Standings};
use quipu_pallet_staking::{Ledgers, TotalBonded};
use quipu_pallet_subnets::{CoverageOf, FormerHotkeys, Nodes, Status, Subnets};
use quipu_runtime::{genesis, Runtime, System, QPU};
use quipu_stories::{actors::*, story_at};

/// What goes wrong, and how.
type Corruption = (&'static str, Box<dyn FnOnce()>);

#[test]
fn whatever_goes_wrong_by_one_is_noticed() {
    story_at(genesis::LOCAL_FAST, long_sessions, |chain| {
        let (subnet, servers) = chain.active_subnet();
        let node = servers[0].node;
        let session = chain.open(&consumer(), subnet, &servers, 10, 100);
        chain.send(&consumer(), request(subnet, "Why?", QPU));
        // One that the subnet can spare is charged.
        let spare = chain.serve(subnet, "Server4", 20, 30);
        let with_spare = [&servers[..], std::slice::from_ref(&spare)].concat();
        let other = chain.open(&consumer(), subnet, &with_spare, 10, 100);
        let signs = |output| (&spare.hot, receipt(other, spare.node, 0, 32, output));
        let report = report_equivocation(chain, signs(1), signs(2));
        chain.send(&consumer(), report);
        let charged = spare.node;
        let server = servers[0].cold.account();
        let payer = consumer().account();
        assert!(!chain.notices(|| {}), "all is well");

        let corruptions: [Corruption; 21] = [
            (
                "issuance",
                Box::new(|| pallet_balances::TotalIssuance::<Runtime>::mutate(|it| *it += 1)),
            ),
            (
                "a balance",
                Box::new({
                    let server = server.clone();
                    move || frame_system::Account::<Runtime>::mutate(server, |it| it.data.free += 1)
                }),
            ),
            (
                "a burn",
                Box::new({
                    let server = server.clone();
                    move || {
                        frame_system::Account::<Runtime>::mutate(server, |it| it.data.free -= 1);
                        pallet_balances::TotalIssuance::<Runtime>::mutate(|it| *it -= 1);
                    }
                }),
            ),
            (
                "a hold",
                Box::new({
                    let server = server.clone();
                    move || {
                        pallet_balances::Holds::<Runtime>::mutate(server, |it| it[0].amount -= 1)
                    }
                }),
            ),
            (
                "reserved",
                Box::new(move || {
                    frame_system::Account::<Runtime>::mutate(server, |it| {
                        it.data.reserved -= 1;
                        it.data.free += 1;
                    })
                }),
            ),
            (
                "a ledger",
                Box::new(move || {
                    Ledgers::<Runtime>::mutate(node, |it| it.as_mut().expect("is there").own -= 1)
                }),
            ),
            (
                "the sum of bonds",
                Box::new(|| TotalBonded::<Runtime>::mutate(|it| *it += 1)),
            ),
            (
                "a seat",
                Box::new(move || {
                    Nodes::<Runtime>::mutate(node, |it| it.as_mut().expect("is there").seat = None)
                }),
            ),
            (
                "coverage",
                Box::new(move || CoverageOf::<Runtime>::remove(subnet)),
            ),
            (
                "a status",
                Box::new(move || {
                    Subnets::<Runtime>::mutate(subnet, |it| {
                        it.as_mut().expect("is there").status = Status::Uncovered
                    })
                }),
            ),
            (
                "a duty",
                Box::new(move || Duties::<Runtime>::mutate(node, |it| *it += 1)),
            ),
            (
                "open sessions",
                Box::new(move || OpenSessions::<Runtime>::mutate(payer, |it| *it += 1)),
            ),
            (
                "a deadline",
                Box::new(move || {
                    let due = Sessions::<Runtime>::get(session).expect("is there").due;
                    Deadlines::<Runtime>::remove(due, Due::Session(session));
                }),
            ),
            (
                "the cursor",
                Box::new(|| Cursor::<Runtime>::put(System::block_number() + 1_000)),
            ),
            (
                "a deposit",
                Box::new(move || {
                    Sessions::<Runtime>::mutate(session, |it| {
                        it.as_mut().expect("is there").held -= 1
                    })
                }),
            ),
            ("a fee", Box::new(|| Jobs::<Runtime>::remove(0))),
            ("a case", Box::new(|| Cases::<Runtime>::remove(0))),
            (
                "a cause",
                Box::new(move || {
                    let _ = CaseByCause::<Runtime>::clear_prefix(charged, 1, None);
                }),
            ),
            (
                "a standing",
                Box::new(move || {
                    Standings::<Runtime>::mutate(charged, |it| {
                        it.amount -= 1;
                    })
                }),
            ),
            (
                "the cursor of cases",
                Box::new(|| FirstPending::<Runtime>::put(1)),
            ),
            (
                "a former hotkey",
                Box::new(move || {
                    let former = (System::parent_hash().0.into(), 1);
                    FormerHotkeys::<Runtime>::mutate(9_999, |it| {
                        it.try_push(former).expect("is the first")
                    })
                }),
            ),
        ];
        for (what, corrupt) in corruptions {
            assert!(chain.notices(corrupt), "{what} goes unnoticed");
        }
    });
}
