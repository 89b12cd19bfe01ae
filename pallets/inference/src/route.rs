//! Finding a chain of servers: pure, without storage.
//!
//! A server of a session is used for its whole span. So a chain covers a model of `blocks` blocks
//! exactly when the first span starts at 0, each next one starts where the one before ends, and
//! the last ends at `blocks`.

use alloc::{vec, vec::Vec};
use quipu_primitives::{Balance, NodeId, Span};

/// A server as the search sees it: what it serves, and what the positions asked about cost there
/// (`None` where that overflows).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The server.
    pub node: NodeId,
    /// Its blocks.
    pub span: Span,
    /// What the positions cost.
    pub cost: Option<Balance>,
}

/// The cheapest chain over a model of `blocks` blocks and what it costs. Of equally cheap ones
/// every caller finds the same, whatever the order of `hops`. `None` where there is no chain, or
/// none whose cost is a number.
///
/// Takes time in the order of n log n for n hops, and memory in the order of n + blocks.
pub fn cheapest(blocks: u16, hops: &[Hop]) -> Option<(Balance, Vec<Hop>)> {
    let mut sorted: Vec<&Hop> = hops
        .iter()
        .filter(|hop| hop.span.check(blocks).is_ok())
        .collect();
    sorted.sort_by_key(|hop| (hop.span.start, hop.span.end, hop.node));

    // For each boundary between blocks: the least cost of reaching it, and the last hop there.
    let mut best: Vec<Option<(Balance, Option<&Hop>)>> =
        vec![None; usize::from(blocks).saturating_add(1)];
    *best.first_mut()? = Some((0, None));
    // Spans are never empty, so that everything which ends at a boundary sorts before what starts
    // there.
    for hop in sorted {
        let reached = best.get(usize::from(hop.span.start)).copied().flatten();
        let Some((before, _)) = reached else { continue };
        let Some(total) = hop.cost.and_then(|cost| before.checked_add(cost)) else {
            continue;
        };
        let Some(end) = best.get_mut(usize::from(hop.span.end)) else {
            continue;
        };
        if end.is_none_or(|(least, _)| total < least) {
            *end = Some((total, Some(hop)));
        }
    }

    let (total, mut last) = best.get(usize::from(blocks)).copied().flatten()?;
    let mut chain = Vec::new();
    while let Some(hop) = last {
        chain.push(*hop);
        last = best
            .get(usize::from(hop.span.start))
            .copied()
            .flatten()
            .and_then(|(_, hop)| hop);
    }
    chain.reverse();
    Some((total, chain))
}

/// Is there any chain of these spans over a model of `blocks` blocks?
pub fn exists(blocks: u16, spans: impl Iterator<Item = Span>) -> bool {
    let hops: Vec<Hop> = spans
        .map(|span| Hop {
            node: 0,
            span,
            cost: Some(0),
        })
        .collect();
    cheapest(blocks, &hops).is_some_and(|(_, chain)| !chain.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hop(node: NodeId, start: u16, end: u16, cost: Balance) -> Hop {
        Hop {
            node,
            span: Span { start, end },
            cost: Some(cost),
        }
    }

    fn nodes(chain: &[Hop]) -> Vec<NodeId> {
        chain.iter().map(|hop| hop.node).collect()
    }

    #[test]
    fn the_cheapest_chain_wins_however_it_is_cut() {
        let hops = [
            hop(1, 0, 10, 5),
            hop(2, 10, 20, 5),
            hop(3, 20, 30, 5),
            hop(4, 0, 15, 6),
            hop(5, 15, 30, 8),
        ];
        let (total, chain) = cheapest(30, &hops).unwrap();
        assert_eq!((total, nodes(&chain)), (14, vec![4, 5]));

        let (total, chain) = cheapest(30, &hops[..3]).unwrap();
        assert_eq!((total, nodes(&chain)), (15, vec![1, 2, 3]));
    }

    #[test]
    fn overlaps_and_gaps_are_no_chain() {
        assert_eq!(cheapest(30, &[hop(1, 0, 16, 1), hop(2, 15, 30, 1)]), None);
        assert_eq!(cheapest(30, &[hop(1, 0, 14, 1), hop(2, 15, 30, 1)]), None);
        assert_eq!(cheapest(30, &[hop(1, 1, 30, 1)]), None);
        assert_eq!(cheapest(30, &[hop(1, 0, 29, 1)]), None);
        assert_eq!(cheapest(30, &[hop(1, 0, 31, 1)]), None);
        assert_eq!(cheapest(30, &[]), None);
        assert!(!exists(0, core::iter::empty()));
    }

    #[test]
    fn empty_and_reversed_spans_are_ignored() {
        let hops = [hop(1, 0, 0, 0), hop(2, 5, 3, 0), hop(3, 0, 4, 2)];
        assert_eq!(nodes(&cheapest(4, &hops).unwrap().1), vec![3]);
    }

    #[test]
    fn of_equally_cheap_chains_everyone_finds_the_same() {
        let mut hops = [
            hop(9, 0, 4, 2),
            hop(3, 0, 4, 2),
            hop(7, 4, 8, 1),
            hop(8, 4, 8, 1),
        ];
        assert_eq!(nodes(&cheapest(8, &hops).unwrap().1), vec![3, 7]);
        hops.reverse();
        assert_eq!(nodes(&cheapest(8, &hops).unwrap().1), vec![3, 7]);
    }

    #[test]
    fn a_cost_that_overflows_is_avoided_where_possible() {
        let over = Hop {
            node: 1,
            span: Span { start: 0, end: 4 },
            cost: None,
        };
        assert_eq!(cheapest(4, &[over]), None);
        assert_eq!(
            nodes(&cheapest(4, &[over, hop(2, 0, 4, Balance::MAX)]).unwrap().1),
            vec![2]
        );
        assert_eq!(
            cheapest(8, &[hop(1, 0, 4, Balance::MAX), hop(2, 4, 8, 1)]),
            None
        );
        assert!(exists(4, [over.span].into_iter()));
    }

    /// Every chain from `at` on, by trying them all.
    fn cheapest_by_force(at: u16, blocks: u16, hops: &[Hop]) -> Option<Balance> {
        if at == blocks {
            return Some(0);
        }
        hops.iter()
            .filter(|hop| hop.span.start == at && hop.span.check(blocks).is_ok())
            .filter_map(|hop| cheapest_by_force(hop.span.end, blocks, hops)?.checked_add(hop.cost?))
            .min()
    }

    proptest! {
        #[test]
        fn agrees_with_trying_every_chain(
            blocks in 1u16..8,
            raw in proptest::collection::vec((0u16..8, 0u16..9, 0u128..20), 0..12),
        ) {
            let hops: Vec<Hop> = raw
                .iter()
                .enumerate()
                .map(|(node, (start, end, cost))| hop(node as NodeId, *start, *end, *cost))
                .collect();
            let found = cheapest(blocks, &hops);
            prop_assert_eq!(
                found.as_ref().map(|(total, _)| *total),
                cheapest_by_force(0, blocks, &hops)
            );
            if let Some((total, chain)) = found {
                prop_assert_eq!(chain.iter().filter_map(|hop| hop.cost).sum::<Balance>(), total);
                let mut at = 0;
                for hop in chain {
                    prop_assert_eq!(hop.span.start, at);
                    at = hop.span.end;
                }
                prop_assert_eq!(at, blocks);
            }
        }
    }
}
