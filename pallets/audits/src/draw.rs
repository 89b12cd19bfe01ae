//! Draws: pure functions of a seed, so that anybody can repeat them.

use alloc::vec::Vec;
use codec::Encode;
use quipu_primitives::{
    audit::{Round, Subject},
    hash::hash_of,
    Balance, Digest, NodeId,
};
use sp_runtime::{PerThing, Perbill};

/// The first 128 bits of `H(domain ‖ content)` as a number, little endian.
fn number<Content: Encode>(domain: &[u8], content: &Content) -> u128 {
    let digest = hash_of(domain, content);
    let (first, _) = digest.split_at(16);
    u128::from_le_bytes(first.try_into().unwrap_or_default())
}

fn happens<Content: Encode>(domain: &[u8], content: &Content, rate: Perbill) -> bool {
    let parts = u128::from(Perbill::ACCURACY);
    let drawn = number(domain, content).checked_rem(parts).unwrap_or(parts);
    drawn < u128::from(rate.deconstruct())
}

/// Is the server's work in the session audited?
pub fn is_audited(seed: &Digest, subject: Subject, rate: Perbill) -> bool {
    happens(b"quipu/audit-draw/1", &(seed, subject), rate)
}

/// Is there to be a second look at what an auditor let pass?
pub fn is_checked_again(seed: &Digest, subject: Subject, rate: Perbill) -> bool {
    happens(b"quipu/audit-again/1", &(seed, subject), rate)
}

/// Draws up to `round.size()` members out of `pool`, each by its weight and nobody twice. Fewer where the
/// pool has no more with any weight. `attempt` tells panels apart that are drawn for the same round.
pub fn panel(
    seed: &Digest,
    subject: Subject,
    round: Round,
    attempt: u32,
    mut pool: Vec<(NodeId, Balance)>,
) -> Vec<NodeId> {
    pool.retain(|(_, weight)| *weight > 0);
    pool.sort_unstable();
    let mut total = pool
        .iter()
        .fold(0, |sum: Balance, (_, weight)| sum.saturating_add(*weight));
    let mut drawn = Vec::new();
    for place in 0..round.size() {
        let content = (seed, subject, round, attempt, place);
        let Some(mut ticket) = number(b"quipu/audit-panel/1", &content).checked_rem(total) else {
            break;
        };
        let holder = pool.iter().position(|(_, weight)| {
            let is_here = ticket < *weight;
            ticket = ticket.saturating_sub(*weight);
            is_here
        });
        let Some(holder) = holder else { break };
        let (node, weight) = pool.remove(holder);
        total = total.saturating_sub(weight);
        drawn.push(node);
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    const SUBJECT: Subject = Subject {
        session: 5,
        node: 7,
    };

    fn seed(number: u32) -> Digest {
        hash_of(b"test", &number)
    }

    #[test]
    fn as_many_are_audited_as_the_rate_says() {
        let rate = Perbill::from_percent(2);
        let drawn = (0..50_000).filter(|session| {
            let subject = Subject {
                session: *session,
                ..SUBJECT
            };
            is_audited(&seed(1), subject, rate)
        });
        // 1,000 are expected, with a standard deviation of 31.
        let drawn = drawn.count();
        assert!((850..1_150).contains(&drawn), "{drawn}");
        for seed in (0..100).map(seed) {
            assert!(is_audited(&seed, SUBJECT, Perbill::one()));
            assert!(!is_audited(&seed, SUBJECT, Perbill::zero()));
            assert!(is_checked_again(&seed, SUBJECT, Perbill::one()));
            assert!(!is_checked_again(&seed, SUBJECT, Perbill::zero()));
        }
    }

    #[test]
    fn seats_on_a_panel_go_by_weight_however_it_is_split() {
        // One has half of all, ten share the other half.
        let mut pool = vec![(100, 10_000)];
        pool.extend((0..10).map(|node| (node, 1_000)));
        let mut times = BTreeMap::<NodeId, u32>::new();
        for seed in (0..4_000).map(seed) {
            for node in panel(&seed, SUBJECT, Round::First, 0, pool.clone()) {
                *times.entry(node).or_default() += 1;
            }
        }
        let one = times[&100];
        // 2,000 are expected, with a standard deviation of 32.
        assert!((1_850..2_150).contains(&one), "{one}");
        assert_eq!(times.values().sum::<u32>(), 4_000);
        assert!(times.values().all(|times| *times > 100), "{times:?}");
    }

    #[test]
    fn draws_differ_by_what_they_are_for() {
        let pool: Vec<_> = (0..1_000).map(|node| (node, 10)).collect();
        let of = |number, subject, round, attempt| {
            panel(&seed(number), subject, round, attempt, pool.clone())
        };
        let first = of(1, SUBJECT, Round::Tribunal, 0);
        assert_eq!(first.len(), 15);
        assert_eq!(of(1, SUBJECT, Round::Tribunal, 0), first);
        let other = Subject {
            session: 6,
            ..SUBJECT
        };
        let committee = of(1, SUBJECT, Round::Committee, 0);
        assert_ne!(committee, first[..7]);
        for different in [
            of(2, SUBJECT, Round::Tribunal, 0),
            of(1, other, Round::Tribunal, 0),
            of(1, SUBJECT, Round::Tribunal, 1),
        ] {
            assert_ne!(different, first);
        }
    }

    proptest! {
        #[test]
        fn nobody_is_drawn_twice_and_nobody_without_weight(
            number in any::<u32>(),
            weights in prop::collection::vec(0..5u128, 0..30),
            huge in any::<bool>(),
        ) {
            let factor = if huge { u128::MAX / 200 } else { 1 };
            let pool: Vec<(NodeId, Balance)> = (0..)
                .zip(&weights)
                .map(|(node, weight)| (node, weight * factor))
                .collect();
            let mut reversed = pool.clone();
            reversed.reverse();
            let drawn = panel(&seed(number), SUBJECT, Round::Tribunal, 0, pool.clone());
            let eligible = weights.iter().filter(|weight| **weight > 0).count();
            prop_assert_eq!(drawn.len(), eligible.min(15));
            prop_assert!(drawn.iter().all(|node| weights[*node as usize] > 0));
            prop_assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), drawn.len());
            // The order in which the pool was read does not matter.
            let again = panel(&seed(number), SUBJECT, Round::Tribunal, 0, reversed);
            prop_assert_eq!(again, drawn);
        }
    }
}
