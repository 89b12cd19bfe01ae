//! Which servers: shortest paths over span boundaries. Pure.
//!
//! A server is used for its whole span, so that a path is a run of spans each of which begins
//! where the one before ends. In this version the client relays between servers: a position's way
//! through a server costs a whole round trip to the client.

use quipu_primitives::{Balance, NodeId, Span};
use rand::Rng;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Round trip that is assumed where none was measured.
pub const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(150);
/// Added where the cache has no room for the sequence, in microseconds: more than any honest
/// latency, less than no route at all.
pub const CACHE_PENALTY: u64 = 10_000_000;

/// A server that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The server.
    pub node: NodeId,
    /// Its blocks.
    pub span: Span,
    /// What it asks per position and block.
    pub price: Balance,
    /// Between it and the client.
    pub round_trip: Duration,
    /// For one position through its span.
    pub decode: Duration,
    /// Positions that its cache can take.
    pub free_positions: u32,
}

/// What the path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Most positions of the sequence.
    pub positions: u32,
    /// See [`crate::ClientOptions::price_weight`].
    pub price_weight: u64,
}

/// Why there is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("of {usable} usable servers none goes on from block {reached} (of {blocks}) to the end")]
pub struct NoRoute {
    /// Servers that were considered.
    pub usable: usize,
    /// The farthest boundary that can be reached.
    pub reached: u16,
    /// The model's blocks.
    pub blocks: u16,
}

/// Indices into the candidates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order of their blocks.
    pub primaries: Vec<usize>,
    /// In no particular order; never a primary.
    pub standbys: Vec<usize>,
}

/// Servers that take the place of a run of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detour {
    /// Which places of the chain they take.
    pub region: RangeInclusive<usize>,
    /// Indices into the candidates, in order of their blocks.
    pub hops: Vec<usize>,
}

/// What it costs to lead a position through a server, in microseconds: round trip, time per
/// position, a penalty where the cache does not fit, and the price at its weight. Saturates.
pub fn cost(candidate: &Candidate, wish: &Wish) -> u64 {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let fits = candidate.free_positions >= wish.positions;
    let price = candidate
        .price
        .saturating_mul(candidate.span.len().into())
        .saturating_mul(wish.price_weight.into())
        / 1_000_000;
    micros(candidate.round_trip)
        .saturating_add(micros(candidate.decode))
        .saturating_add(if fits { 0 } else { CACHE_PENALTY })
        .saturating_add(u64::try_from(price).unwrap_or(u64::MAX))
}

/// A cheapest path from boundary `from` to boundary `to`, and its cost; `None` if there is none.
/// Among equals, chance chooses.
pub fn shortest(
    from: u16,
    to: u16,
    candidates: &[Candidate],
    wish: &Wish,
    rng: &mut impl Rng,
) -> Option<(u64, Vec<usize>)> {
    let inside = |span: &Span| !span.is_empty() && span.start >= from && span.end <= to;
    let mut usable: Vec<usize> = (0..candidates.len())
        .filter(|&i| inside(&candidates[i].span))
        .collect();
    // Cost of the rest of the way from each boundary, found from the end backwards.
    usable.sort_by_key(|&i| std::cmp::Reverse(candidates[i].span.start));
    let mut rest: Vec<Option<u64>> = vec![None; usize::from(to.checked_sub(from)?) + 1];
    *rest.last_mut()? = Some(0);
    let at = |boundary: u16| usize::from(boundary - from);
    let through = |rest: &[Option<u64>], i: usize| {
        rest[at(candidates[i].span.end)].map(|r| r.saturating_add(cost(&candidates[i], wish)))
    };
    for &i in &usable {
        if let Some(total) = through(&rest, i) {
            let here = &mut rest[at(candidates[i].span.start)];
            *here = Some(here.map_or(total, |best| best.min(total)));
        }
    }
    let total = rest[0]?;
    let mut path = Vec::new();
    let mut boundary = from;
    while boundary < to {
        let best: Vec<usize> = usable
            .iter()
            .copied()
            .filter(|&i| candidates[i].span.start == boundary)
            .filter(|&i| through(&rest, i).is_some() && through(&rest, i) == rest[at(boundary)])
            .collect();
        let chosen = *best.get(rng.gen_range(0..best.len().max(1)))?;
        path.push(chosen);
        boundary = candidates[chosen].span.end;
    }
    Some((total, path))
}

/// Who can take the place of `chain[failed]`: a path over its span, or, where there is none, over
/// the shortest run of spans around it. `chain` are consecutive spans; `candidates` must not be
/// among them.
pub fn detour(
    chain: &[Span],
    failed: usize,
    candidates: &[Candidate],
    wish: &Wish,
    rng: &mut impl Rng,
) -> Option<Detour> {
    for width in 1..=chain.len() {
        let first = (failed + 1).saturating_sub(width);
        let best = (first..=failed)
            .filter(|start| start + width <= chain.len())
            .filter_map(|start| {
                let region = start..=start + width - 1;
                let (from, to) = (chain[*region.start()].start, chain[*region.end()].end);
                let (cost, hops) = shortest(from, to, candidates, wish, rng)?;
                Some((cost, Detour { region, hops }))
            })
            .min_by_key(|(cost, _)| *cost);
        if let Some((_, detour)) = best {
            return Some(detour);
        }
    }
    None
}

/// The cheapest chain over a model of `blocks` blocks, and for each of its places up to `standbys`
/// detours that share no server with the chain nor with each other, as long as no more than
/// `max_servers` servers are named.
pub fn plan(
    blocks: u16,
    candidates: &[Candidate],
    wish: &Wish,
    standbys: usize,
    max_servers: usize,
    rng: &mut impl Rng,
) -> Result<(u64, Plan), NoRoute> {
    let (total, primaries) = shortest(0, blocks, candidates, wish, rng).ok_or_else(|| {
        let reached = reach(candidates);
        NoRoute {
            usable: candidates.len(),
            reached,
            blocks,
        }
    })?;
    let chain: Vec<Span> = primaries.iter().map(|&i| candidates[i].span).collect();
    let mut named: BTreeSet<usize> = BTreeSet::new();
    let mut used = vec![BTreeSet::from_iter(primaries.iter().copied()); chain.len()];
    for _ in 0..standbys {
        for (place, used) in used.iter_mut().enumerate() {
            let left: Vec<usize> = (0..candidates.len())
                .filter(|i| !used.contains(i))
                .collect();
            let others: Vec<Candidate> = left.iter().map(|&i| candidates[i].clone()).collect();
            let Some(found) = detour(&chain, place, &others, wish, rng) else {
                continue;
            };
            let hops: Vec<usize> = found.hops.iter().map(|&hop| left[hop]).collect();
            let more = hops.iter().filter(|hop| !named.contains(hop)).count();
            if primaries.len() + named.len() + more > max_servers {
                continue;
            }
            used.extend(hops.iter().copied());
            named.extend(hops);
        }
    }
    Ok((
        total,
        Plan {
            primaries,
            standbys: named.into_iter().collect(),
        },
    ))
}

/// The farthest boundary that can be reached from 0.
fn reach(candidates: &[Candidate]) -> u16 {
    let mut spans: Vec<Span> = candidates.iter().map(|candidate| candidate.span).collect();
    spans.sort();
    let mut reached = BTreeSet::from([0]);
    for span in spans {
        if reached.contains(&span.start) {
            reached.insert(span.end);
        }
    }
    reached.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
