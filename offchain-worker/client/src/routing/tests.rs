use super::*;
use proptest::prelude::*;
use rand::{rngs::StdRng, SeedableRng};

const WISH: Wish = Wish {
    positions: 100,
    price_weight: 0,
};

fn server(node: NodeId, start: u16, end: u16, millis: u64) -> Candidate {
    Candidate {
        node,
        span: Span { start, end },
        price: 0,
        round_trip: Duration::from_millis(millis),
        decode: Duration::ZERO,
        free_positions: 1000,
    }
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn nodes(candidates: &[Candidate], path: &[usize]) -> Vec<NodeId> {
    path.iter().map(|&i| candidates[i].node).collect()
}

#[test]
fn a_way_costs_round_trip_time_cache_and_price() {
    let base = Candidate {
        decode: Duration::from_micros(700),
        ..server(1, 0, 10, 2)
    };
    let wish = |price_weight| Wish {
        positions: 100,
        price_weight,
    };
    let priced = Candidate {
        price: 3_000_000,
        ..base.clone()
    };
    let full = Candidate {
        free_positions: 99,
        ..base.clone()
    };
    let dear = Candidate {
        price: Balance::MAX,
        ..base.clone()
    };
    for (candidate, weight, micros) in [
        (&base, 0, 2_700),
        (&priced, 0, 2_700),
        (&priced, 1, 2_730),
        (&priced, 5, 2_850),
        (&full, 0, 2_700 + CACHE_PENALTY),
        (&dear, 1, u64::MAX),
    ] {
        assert_eq!(cost(candidate, &wish(weight)), micros);
    }
}

#[test]
fn the_shortest_path_wins_however_it_is_cut() {
    let candidates = [
        server(1, 0, 10, 5),
        server(2, 10, 20, 5),
        server(3, 20, 30, 5),
        server(4, 0, 15, 6),
        server(5, 15, 30, 8),
        server(6, 0, 30, 15),
    ];
    let (total, path) = shortest(0, 30, &candidates, &WISH, &mut rng()).unwrap();
    assert_eq!((total, nodes(&candidates, &path)), (14_000, vec![4, 5]));
    let (_, path) = shortest(10, 30, &candidates, &WISH, &mut rng()).unwrap();
    assert_eq!(nodes(&candidates, &path), [2, 3]);
    assert!(shortest(10, 15, &candidates, &WISH, &mut rng()).is_none());
    assert_eq!(
        shortest(7, 7, &candidates, &WISH, &mut rng()),
        Some((0, vec![]))
    );
}

#[test]
fn spans_must_meet_exactly() {
    let overlap = [server(1, 0, 16, 1), server(2, 15, 30, 1)];
    assert!(shortest(0, 30, &overlap, &WISH, &mut rng()).is_none());
    let none = plan(30, &overlap, &WISH, 1, 9, &mut rng()).unwrap_err();
    assert_eq!(
        none,
        NoRoute {
            usable: 2,
            reached: 16,
            blocks: 30
        }
    );
    assert_eq!(
        plan(30, &[], &WISH, 1, 9, &mut rng()).unwrap_err().reached,
        0
    );
}

#[test]
fn chance_chooses_among_equals() {
    let candidates = [server(1, 0, 4, 3), server(2, 0, 4, 3), server(3, 0, 4, 4)];
    let mut counts = [0u32; 3];
    let mut rng = rng();
    for _ in 0..1000 {
        counts[shortest(0, 4, &candidates, &WISH, &mut rng).unwrap().1[0]] += 1;
    }
    assert!(
        counts[0] > 400 && counts[1] > 400 && counts[2] == 0,
        "{counts:?}"
    );
}

#[test]
fn a_full_cache_is_avoided_but_better_than_nothing() {
    let full = Candidate {
        free_positions: 0,
        ..server(1, 0, 4, 1)
    };
    let candidates = [full.clone(), server(2, 0, 4, 900)];
    let (_, path) = shortest(0, 4, &candidates, &WISH, &mut rng()).unwrap();
    assert_eq!(nodes(&candidates, &path), [2]);
    assert!(shortest(0, 4, &[full], &WISH, &mut rng()).is_some());
}

#[test]
fn standbys_cover_every_place() {
    let candidates = [
        server(1, 0, 10, 1),
        server(2, 10, 20, 1),
        server(3, 20, 30, 1),
        server(4, 0, 10, 2),
        server(5, 10, 15, 2),
        server(6, 15, 20, 2),
        server(7, 20, 30, 2),
        server(8, 20, 30, 3),
    ];
    let plan = |standbys, most| {
        plan(30, &candidates, &WISH, standbys, most, &mut rng())
            .unwrap()
            .1
    };
    let one = plan(1, 9);
    assert_eq!(nodes(&candidates, &one.primaries), [1, 2, 3]);
    assert_eq!(nodes(&candidates, &one.standbys), [4, 5, 6, 7]);
    assert_eq!(nodes(&candidates, &plan(2, 9).standbys), [4, 5, 6, 7, 8]);
    assert_eq!(nodes(&candidates, &plan(0, 9).standbys), [] as [NodeId; 0]);
    // No half detours where there is no place for the other half.
    assert_eq!(nodes(&candidates, &plan(1, 5).standbys), [4, 7]);
}

#[test]
fn a_detour_takes_the_shortest_run_of_spans() {
    let spans = |cuts: &[u16]| -> Vec<Span> {
        cuts.windows(2)
            .map(|cut| Span {
                start: cut[0],
                end: cut[1],
            })
            .collect()
    };
    let chain = spans(&[0, 10, 20, 30]);
    let find = |failed, candidates: &[Candidate]| {
        detour(&chain, failed, candidates, &WISH, &mut rng())
            .map(|found| (found.region, nodes(candidates, &found.hops)))
    };
    let exact = [
        server(1, 10, 20, 9),
        server(2, 0, 20, 1),
        server(3, 10, 30, 1),
    ];
    assert_eq!(find(1, &exact), Some((1..=1, vec![1])));
    // The cheaper of two runs of the same width.
    let wide = [
        server(2, 0, 20, 3),
        server(3, 10, 30, 2),
        server(4, 0, 30, 1),
    ];
    assert_eq!(find(1, &wide), Some((1..=2, vec![3])));
    assert_eq!(find(0, &wide), Some((0..=1, vec![2])));
    assert_eq!(find(2, &wide), Some((1..=2, vec![3])));
    let whole = [server(5, 0, 13, 1), server(6, 13, 30, 1)];
    assert_eq!(find(1, &whole), Some((0..=2, vec![5, 6])));
    assert_eq!(find(1, &[server(5, 0, 13, 1)]), None);
}

/// The least cost from `at` on, by trying every way.
fn by_force(at: u16, to: u16, candidates: &[Candidate]) -> Option<u64> {
    if at == to {
        return Some(0);
    }
    candidates
        .iter()
        .filter(|candidate| candidate.span.start == at && candidate.span.end <= to)
        .filter(|candidate| !candidate.span.is_empty())
        .filter_map(|candidate| {
            Some(by_force(candidate.span.end, to, candidates)? + cost(candidate, &WISH))
        })
        .min()
}

proptest! {
    #[test]
    fn agrees_with_trying_every_way(
        blocks in 1u16..8,
        raw in prop::collection::vec((0u16..8, 0u16..9, 0u64..20), 0..12),
        seed: u64,
    ) {
        let candidates: Vec<Candidate> = raw
            .iter()
            .enumerate()
            .map(|(node, (start, end, millis))| server(node as NodeId, *start, *end, *millis))
            .collect();
        let mut rng = StdRng::seed_from_u64(seed);
        let found = shortest(0, blocks, &candidates, &WISH, &mut rng);
        prop_assert_eq!(found.as_ref().map(|(total, _)| *total), by_force(0, blocks, &candidates));
        if let Some((total, path)) = found {
            let sum: u64 = path.iter().map(|&i| cost(&candidates[i], &WISH)).sum();
            prop_assert_eq!(sum, total);
            let mut at = 0;
            for &i in &path {
                prop_assert_eq!(candidates[i].span.start, at);
                at = candidates[i].span.end;
            }
            prop_assert_eq!(at, blocks);
        }
    }

    /// Stand-bys are no primaries, nobody is named twice, and the limit holds.
    #[test]
    fn plans_name_everyone_once(
        raw in prop::collection::vec((0u16..4, 1u16..5, 0u64..20), 4..16),
        standbys in 0usize..4,
        most in 1usize..12,
    ) {
        let candidates: Vec<Candidate> = raw
            .iter()
            .enumerate()
            .map(|(node, (start, len, millis))| {
                server(node as NodeId, *start, (start + len).min(4), *millis)
            })
            .collect();
        if let Ok((_, plan)) = plan(4, &candidates, &WISH, standbys, most, &mut rng()) {
            let all: BTreeSet<usize> =
                plan.primaries.iter().chain(&plan.standbys).copied().collect();
            prop_assert_eq!(all.len(), plan.primaries.len() + plan.standbys.len());
            prop_assert!(plan.standbys.is_empty() || all.len() <= most);
        }
    }
}
