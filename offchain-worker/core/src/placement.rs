//! Which blocks a server takes that was not told, and when it should rather take others.
//!
//! A session's servers must follow each other exactly, so a span is worth something only where
//! others begin and end. Gaps are filled first, from their first block on; when there is none, the
//! server stands by for the spans that the slowest serve.
//!
//! [`rebalance`] says whether a server that serves would do better elsewhere, after others have
//! left; [`Resolve`] makes it think twice.

mod rebalance;

pub use rebalance::{rebalance, Move, Resolve, Seated};

use quipu_primitives::Span;

/// What a server has and needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that it may use.
    pub total: u64,
    /// Bytes for everything but blocks and caches.
    pub reserve: u64,
    /// Bytes of one loaded block.
    pub block: u64,
    /// Bytes of one block's cache, for all positions that it is to hold.
    pub cache: u64,
}

impl Memory {
    /// Blocks that fit: `(total − reserve) / (block + cache)`, rounded down.
    pub fn blocks(&self) -> u16 {
        let free = self.total.saturating_sub(self.reserve);
        let each = self.block.saturating_add(self.cache).max(1);
        u16::try_from(free / each).unwrap_or(u16::MAX)
    }
}

/// A server's rate where nothing was measured: all that matters then is how many there are.
pub const UNMEASURED: u64 = 1;

/// A server as placement sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its blocks.
    pub span: Span,
    /// Positions per hour that it decodes through its span. 0 for one that does not answer: it is
    /// as good as away.
    pub rate: u64,
}

impl Server {
    /// A server of which only the seat is known.
    pub fn unmeasured(span: Span) -> Self {
        let rate = UNMEASURED;
        Server { span, rate }
    }
}

/// For each block of a model of `blocks`, the rates of those who serve it, all together.
pub fn throughput(blocks: u16, servers: &[Server]) -> Vec<u64> {
    let mut rates = vec![0u64; usize::from(blocks)];
    for server in servers {
        let (start, end) = (usize::from(server.span.start), usize::from(server.span.end));
        for rate in rates.iter_mut().take(end).skip(start) {
            *rate = rate.saturating_add(server.rate);
        }
    }
    rates
}

/// A span of at most `most` of a model's `blocks`, given those who serve already. `None` if nothing
/// fits.
pub fn choose(blocks: u16, servers: &[Server], most: u16) -> Option<Span> {
    if most == 0 || blocks == 0 {
        return None;
    }
    let throughput = throughput(blocks, servers);
    let bare = |block: u16| throughput.get(usize::from(block)) == Some(&0);
    if let Some(start) = (0..blocks).find(|block| bare(*block)) {
        let end = (start..blocks)
            .find(|block| !bare(*block))
            .unwrap_or(blocks);
        let end = end.min(start.saturating_add(most));
        return Some(Span { start, end });
    }
    // Sorted, so that the weakest block counts first; among equals the first span.
    let weakest = |span: &Span| {
        let mut rates: Vec<u64> = span
            .blocks()
            .filter_map(|block| throughput.get(usize::from(block)).copied())
            .collect();
        rates.sort_unstable();
        (rates, span.start)
    };
    let aligned = servers
        .iter()
        .filter(|server| server.rate > 0 && server.span.len() <= most)
        .map(|server| server.span)
        .min_by_key(weakest);
    let length = most.min(blocks);
    let anywhere = || {
        let windows = (0..=blocks - length).map(|start| Span {
            start,
            end: start + length,
        });
        windows.min_by_key(weakest)
    };
    aligned.or_else(anywhere)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(start: u16, end: u16) -> Span {
        Span { start, end }
    }

    /// A newcomer among servers that are all alike.
    fn choose(blocks: u16, seats: &[Span], most: u16) -> Option<Span> {
        let servers: Vec<Server> = seats.iter().map(|span| Server::unmeasured(*span)).collect();
        super::choose(blocks, &servers, most)
    }

    #[test]
    fn what_fits_is_counted_after_the_reserve() {
        let memory = Memory {
            total: 1000,
            reserve: 100,
            block: 80,
            cache: 10,
        };
        assert_eq!(memory.blocks(), 10);
        assert_eq!(
            Memory {
                total: 99,
                ..memory
            }
            .blocks(),
            0
        );
        assert_eq!(
            Memory {
                total: u64::MAX,
                block: 0,
                cache: 0,
                ..memory
            }
            .blocks(),
            u16::MAX
        );
    }

    #[test]
    fn gaps_are_filled_in_order() {
        assert_eq!(choose(30, &[], 10), Some(span(0, 10)));
        assert_eq!(choose(30, &[span(0, 10)], 10), Some(span(10, 20)));
        assert_eq!(
            choose(30, &[span(0, 10), span(20, 30)], 20),
            Some(span(10, 20))
        );
        assert_eq!(choose(30, &[span(10, 30)], 40), Some(span(0, 10)));
    }

    #[test]
    fn without_gaps_the_weakest_span_gets_a_stand_by() {
        let seats = [
            span(0, 10),
            span(10, 20),
            span(20, 30),
            span(0, 10),
            span(20, 30),
        ];
        assert_eq!(choose(30, &seats, 10), Some(span(10, 20)));
        assert_eq!(choose(30, &seats, 15), Some(span(10, 20)));
        // Nothing aligned fits: somewhere, rather than nowhere.
        assert_eq!(choose(30, &seats, 5), Some(span(10, 15)));
        assert_eq!(choose(30, &seats, 0), None);
    }

    #[test]
    fn the_slowest_span_gets_a_stand_by_and_the_dead_do_not_count() {
        let server = |start, end, rate| Server {
            span: span(start, end),
            rate,
        };
        // Two slow servers are less than a fast one.
        let servers = [
            server(0, 10, 500),
            server(10, 20, 200),
            server(10, 20, 200),
            server(20, 30, 600),
        ];
        assert_eq!(super::choose(30, &servers, 10), Some(span(10, 20)));
        let dead = [server(0, 10, 500), server(10, 20, 0), server(20, 30, 600)];
        assert_eq!(super::choose(30, &dead, 10), Some(span(10, 20)));
        assert_eq!(super::choose(30, &dead, 4), Some(span(10, 14)));
        assert_eq!(
            throughput(4, &[server(0, 2, 3), server(1, 9, u64::MAX)]),
            [3, u64::MAX, u64::MAX, u64::MAX]
        );
    }

    proptest! {
        /// Servers that come one after the other cover the model, and a chain leads through it.
        #[test]
        fn newcomers_complete_a_chain(blocks in 1u16..40, sizes in prop::collection::vec(1u16..12, 40)) {
            let mut seats: Vec<Span> = Vec::new();
            for most in sizes {
                let chosen = choose(blocks, &seats, most).unwrap();
                prop_assert!(chosen.check(blocks).is_ok() && chosen.len() <= most);
                let servers: Vec<Server> = seats.iter().map(|span| Server::unmeasured(*span)).collect();
                if throughput(blocks, &servers).iter().all(|rate| *rate > 0) {
                    let mut reached = 0;
                    while let Some(next) = seats.iter().find(|seat| seat.start == reached) {
                        reached = next.end;
                    }
                    prop_assert_eq!(reached, blocks);
                    break;
                }
                seats.push(chosen);
            }
        }
    }
}
