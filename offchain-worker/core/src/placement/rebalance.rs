//! When a server should rather serve other blocks than it does.
//!
//! What a swarm is worth: first how many blocks somebody serves, then the rate at the slowest block,
//! where only those count who are part of a whole chain. A server moves if that becomes *much*
//! better by it: another block is served, or the slowest block gains a third. Each move raises the
//! worth by such a step, so that servers that move one after the other come to an end.
//!
//! Servers that look at the same swarm would all run for the same gap. They are ranked for it in
//! the same way by everybody; whoever is ranked second waits for longer, and finds the gap filled.

use super::{choose, throughput, Server};
use quipu_primitives::{NodeId, Span};

/// A server with its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seated {
    /// The node.
    pub node: NodeId,
    /// What it serves.
    pub server: Server,
}

/// A better place for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The blocks to serve.
    pub to: Span,
    /// How many others would do as well there, and go first.
    pub rank: u32,
}

/// What a swarm can do. More is better, the first field first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    /// Blocks that somebody serves.
    served: usize,
    /// Rate of the slowest block, of servers on whole chains; 0 if there is no chain.
    slowest: u64,
}

impl Worth {
    fn of(blocks: u16, servers: &[Server]) -> Self {
        let served = throughput(blocks, servers)
            .iter()
            .filter(|rate| **rate > 0)
            .count();
        let useful = on_chains(blocks, servers);
        let slowest = throughput(blocks, &useful).into_iter().min().unwrap_or(0);
        Worth { served, slowest }
    }

    /// By so much that it is worth a move: a move costs everybody's caches in the server.
    fn is_much_better_than(self, now: Worth) -> bool {
        let gained = u128::from(self.slowest) * 3 > u128::from(now.slowest) * 4;
        self.served > now.served || (self.served == now.served && gained)
    }
}

/// The servers that are part of a chain of exact spans from the first block to the last.
fn on_chains(blocks: u16, servers: &[Server]) -> Vec<Server> {
    let sound = |server: &&Server| server.rate > 0 && server.span.check(blocks).is_ok();
    let servers: Vec<Server> = servers.iter().filter(sound).copied().collect();
    let size = usize::from(blocks) + 1;
    // Which boundaries between blocks are reached from the front, and reach the back.
    let (mut from_front, mut to_back) = (vec![false; size], vec![false; size]);
    from_front[0] = true;
    to_back[size - 1] = true;
    for boundary in 0..size {
        let ends_here = |server: &&Server| usize::from(server.span.end) == boundary;
        let reached = |server: &Server| from_front[usize::from(server.span.start)];
        from_front[boundary] |= servers.iter().filter(ends_here).any(reached);
    }
    for boundary in (0..size).rev() {
        let starts_here = |server: &&Server| usize::from(server.span.start) == boundary;
        let reaches = |server: &Server| to_back[usize::from(server.span.end)];
        to_back[boundary] |= servers.iter().filter(starts_here).any(reaches);
    }
    let useful = |server: &Server| {
        from_front[usize::from(server.span.start)] && to_back[usize::from(server.span.end)]
    };
    servers.into_iter().filter(useful).collect()
}

/// The server on other blocks: it takes the longer the more they are.
fn moved(server: Server, to: Span) -> Server {
    let work = u128::from(server.rate) * u128::from(server.span.len());
    let rate = work / u128::from(to.len().max(1));
    Server {
        span: to,
        rate: u64::try_from(rate)
            .unwrap_or(u64::MAX)
            .max(u64::from(server.rate > 0)),
    }
}

/// The place at which `me`, who can hold `most` blocks, would serve the swarm much better than
/// where it is, given all `others`. `None` if it should stay.
pub fn rebalance(blocks: u16, me: Seated, others: &[Seated], most: u16) -> Option<Move> {
    let mut swarm: Vec<Server> = others.iter().map(|other| other.server).collect();
    let to = choose(blocks, &swarm, most)?;
    swarm.push(me.server);
    let now = Worth::of(blocks, &swarm);
    // What the swarm is worth once the server at `index` has moved.
    let mut once_moved = |index: usize| {
        let stays = swarm[index];
        swarm[index] = moved(stays, to);
        let worth = Worth::of(blocks, &swarm);
        swarm[index] = stays;
        worth
    };
    let then = once_moved(others.len());
    if !then.is_much_better_than(now) {
        return None;
    }
    // Of another server only the span shows how much it can hold.
    let goes_first = |(index, other): (usize, &Seated)| {
        let can = other.server.rate > 0 && other.server.span.len() >= to.len();
        if !can || other.server.span == to {
            return false;
        }
        let worth = once_moved(index);
        worth.is_much_better_than(now) && (worth > then || (worth == then && other.node < me.node))
    };
    let rank = others
        .iter()
        .enumerate()
        .map(goes_first)
        .filter(|first| *first)
        .count();
    Some(Move {
        to,
        rank: u32::try_from(rank).unwrap_or(u32::MAX),
    })
}

/// Looks in a row at which a move must be wanted before it is made, by whoever goes first.
const LOOKS: u32 = 2;

/// Keeps a server from running at every breath of wind: it moves only once it wanted to for some
/// looks in a row, the more of them the more others would go first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resolve {
    wanted: u32,
}

impl Resolve {
    /// Takes in what [`rebalance`] said now. Gives the blocks to move to when it is time.
    pub fn consider(&mut self, found: Option<Move>) -> Option<Span> {
        let Some(Move { to, rank }) = found else {
            self.wanted = 0;
            return None;
        };
        self.wanted = self.wanted.saturating_add(1);
        let enough = LOOKS.saturating_add(rank);
        (self.wanted >= enough).then_some(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(start: u16, end: u16) -> Span {
        Span { start, end }
    }

    fn seated(node: NodeId, start: u16, end: u16, rate: u64) -> Seated {
        let server = Server {
            span: span(start, end),
            rate,
        };
        Seated { node, server }
    }

    /// What each of a swarm's servers would do, all of which can hold as much as they do.
    fn wishes(blocks: u16, swarm: &[Seated]) -> Vec<(NodeId, Move)> {
        let wish = |(index, me): (usize, &Seated)| {
            let mut others = swarm.to_vec();
            others.remove(index);
            let wish = rebalance(blocks, *me, &others, me.server.span.len());
            wish.map(|wish| (me.node, wish))
        };
        swarm.iter().enumerate().filter_map(wish).collect()
    }

    #[test]
    fn a_swarm_that_is_well_placed_stays() {
        let thirds = [
            seated(1, 0, 10, 100),
            seated(2, 10, 20, 100),
            seated(3, 20, 30, 100),
        ];
        assert!(wishes(30, &thirds).is_empty());
        // Stand-bys on two of three: the third is weaker, but nobody who went would make it better.
        let mut more = thirds.to_vec();
        more.extend([seated(4, 0, 10, 100), seated(5, 10, 20, 100)]);
        assert!(wishes(30, &more).is_empty());
        // Alone, with too little memory: there is nothing better.
        assert!(wishes(30, &[seated(1, 0, 10, 100)]).is_empty());
        assert!(wishes(30, &[]).is_empty());
    }

    #[test]
    fn when_the_last_of_a_span_leaves_one_stand_by_goes_first() {
        let left = [
            seated(1, 0, 10, 100),
            seated(2, 10, 20, 100),
            seated(4, 10, 20, 100),
        ];
        let to = span(20, 30);
        assert_eq!(
            wishes(30, &left),
            [(2, Move { to, rank: 0 }), (4, Move { to, rank: 1 }),]
        );
        // Whichever goes, the slower of the two is the slowest then: the number decides.
        let uneven = [
            seated(1, 0, 10, 300),
            seated(2, 10, 20, 100),
            seated(4, 10, 20, 300),
        ];
        assert_eq!(wishes(30, &uneven)[0], (2, Move { to, rank: 0 }));
        // A server that can't be moved without another gap stays.
        assert!(wishes(30, &left).iter().all(|(node, _)| *node != 1));
    }

    #[test]
    fn a_server_that_does_not_answer_is_replaced_like_one_that_left() {
        let dead = [
            seated(1, 0, 10, 100),
            seated(2, 10, 20, 100),
            seated(3, 20, 30, 0),
            seated(4, 10, 20, 100),
        ];
        let found = wishes(30, &dead);
        assert_eq!(
            found[0],
            (
                2,
                Move {
                    to: span(20, 30),
                    rank: 0
                }
            )
        );
        assert!(found.iter().all(|(node, _)| *node != 1));
    }

    #[test]
    fn a_gap_that_is_too_large_for_one_is_begun() {
        let swarm = [seated(1, 0, 10, 100), seated(2, 0, 10, 100)];
        let found = wishes(30, &swarm);
        assert_eq!(
            found[0].1,
            Move {
                to: span(10, 20),
                rank: 0
            }
        );
        assert_eq!(
            found[1].1,
            Move {
                to: span(10, 20),
                rank: 1
            }
        );
    }

    #[test]
    fn a_move_must_gain_a_third_where_nothing_is_missing() {
        // The back has 300, the front 100; whoever goes to the front makes the slowest faster.
        let swarm = |third| {
            [
                seated(1, 0, 2, 100),
                seated(2, 2, 4, 150),
                seated(3, 2, 4, third),
            ]
        };
        let found = wishes(4, &swarm(150));
        assert_eq!(
            found[0],
            (
                2,
                Move {
                    to: span(0, 2),
                    rank: 0
                }
            )
        );
        // With 133 left at the back the gain is too small: 100 becomes 133.
        let little = [
            seated(1, 0, 2, 100),
            seated(2, 2, 4, 133),
            seated(3, 2, 4, 40),
        ];
        assert!(wishes(4, &little).is_empty());
    }

    #[test]
    fn who_is_on_no_chain_is_of_no_use() {
        // Blocks 2 and 3 are served, but no chain of exact spans leads through 1:4.
        let swarm = [
            Server {
                span: span(0, 2),
                rate: 5,
            },
            Server {
                span: span(2, 4),
                rate: 7,
            },
            Server {
                span: span(1, 4),
                rate: 100,
            },
        ];
        assert_eq!(
            Worth::of(4, &swarm),
            Worth {
                served: 4,
                slowest: 5
            }
        );
        assert_eq!(
            Worth::of(4, &swarm[1..]),
            Worth {
                served: 3,
                slowest: 0
            }
        );
        assert_eq!(
            Worth::of(0, &[]),
            Worth {
                served: 0,
                slowest: 0
            }
        );
        // Out of the model, as no chain would seat it.
        let outside = [Server {
            span: span(3, 9),
            rate: 5,
        }];
        assert_eq!(Worth::of(4, &outside).slowest, 0);
    }

    #[test]
    fn fewer_blocks_go_faster() {
        let server = Server {
            span: span(0, 10),
            rate: 100,
        };
        assert_eq!(moved(server, span(0, 5)).rate, 200);
        assert_eq!(moved(server, span(0, 20)).rate, 50);
        let slow = Server { rate: 1, ..server };
        assert_eq!(moved(slow, span(0, 20)).rate, 1, "slow is not dead");
        let dead = Server { rate: 0, ..server };
        assert_eq!(moved(dead, span(0, 5)).rate, 0);
    }

    #[test]
    fn a_server_thinks_twice_and_the_second_in_rank_for_longer() {
        let found = |rank| {
            Some(Move {
                to: span(0, 2),
                rank,
            })
        };
        let mut first = Resolve::default();
        assert_eq!(first.consider(found(0)), None);
        // One look at which nothing was wrong, and it begins anew.
        assert_eq!(first.consider(None), None);
        assert_eq!(first.consider(found(0)), None);
        assert_eq!(first.consider(found(0)), Some(span(0, 2)));
        let mut second = Resolve::default();
        assert_eq!(second.consider(found(1)), None);
        assert_eq!(second.consider(found(1)), None);
        assert_eq!(second.consider(found(1)), Some(span(0, 2)));
    }

    prop_compose! {
        fn swarm(blocks: u16)(
            servers in prop::collection::vec((0..blocks, 1..=blocks, 1u64..1_000), 1..12)
        ) -> Vec<Seated> {
            let place = |(index, (start, length, rate)): (usize, (u16, u16, u64))| {
                seated(index as NodeId, start, (start + length).min(blocks), rate)
            };
            servers.into_iter().enumerate().map(place).collect()
        }
    }

    proptest! {
        /// However servers lie: if they move one after the other, each move makes the swarm better,
        /// and after a few nobody wants to move any more. So nobody ever moves back and forth.
        #[test]
        fn moves_come_to_an_end(
            mut swarm in swarm(12),
            order in prop::collection::vec(0usize..12, 200),
        ) {
            let servers = |swarm: &[Seated]| swarm.iter().map(|one| one.server).collect::<Vec<_>>();
            // What each can hold does not change with what it holds.
            let most: Vec<u16> = swarm.iter().map(|one| one.server.span.len()).collect();
            let mut moves = 0;
            for turn in order {
                let index = turn % swarm.len();
                let mut others = swarm.clone();
                let me = others.remove(index);
                let Some(found) = rebalance(12, me, &others, most[index]) else { continue };
                prop_assert!(found.to.check(12).is_ok() && found.to.len() <= most[index]);
                let before = Worth::of(12, &servers(&swarm));
                swarm[index].server = moved(me.server, found.to);
                let after = Worth::of(12, &servers(&swarm));
                prop_assert!(after.is_much_better_than(before), "{before:?} {after:?}");
                moves += 1;
            }
            // At most every block gained once, and the slowest from 1 to what all are together.
            prop_assert!(moves <= 60, "{moves}");
        }

        /// Of those who want the same blocks no two go at the same time.
        #[test]
        fn nobody_shares_a_rank(swarm in swarm(8)) {
            let mut ranks = std::collections::BTreeSet::new();
            for (node, wish) in wishes(8, &swarm) {
                let (to, rank) = (wish.to, wish.rank);
                prop_assert!(ranks.insert((to.start, to.end, rank)), "{node} {to} {rank}");
                prop_assert!((rank as usize) < swarm.len());
            }
        }
    }
}
