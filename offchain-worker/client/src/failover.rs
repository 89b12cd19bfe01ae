//! Who is left alone, and for how long. Pure: time comes in as an argument.

use quipu_primitives::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// The longest ban.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// Servers that failed. The first failure bans for a while, each further one for twice as long;
/// success forgives everything.
#[derive(Debug)]
pub struct Bans {
    first: Duration,
    entries: BTreeMap<NodeId, Entry>,
}

#[derive(Debug)]
struct Entry {
    until: Instant,
    last: Duration,
}

impl Bans {
    /// The first ban lasts `first`.
    pub fn new(first: Duration) -> Self {
        Bans {
            first,
            entries: BTreeMap::new(),
        }
    }

    /// The server failed.
    pub fn failed(&mut self, node: NodeId, now: Instant) {
        let last = self
            .entries
            .get(&node)
            .map_or(self.first, |entry| entry.last * 2);
        self.ban(node, last.min(LONGEST), now);
    }

    /// The server lied: the longest ban at once.
    pub fn lied(&mut self, node: NodeId, now: Instant) {
        self.ban(node, LONGEST, now);
    }

    fn ban(&mut self, node: NodeId, lasts: Duration, now: Instant) {
        self.entries.insert(
            node,
            Entry {
                until: now + lasts,
                last: lasts,
            },
        );
    }

    /// The server served a session to its end.
    pub fn served(&mut self, node: NodeId) {
        self.entries.remove(&node);
    }

    /// May the server be used?
    pub fn allows(&self, node: NodeId, now: Instant) -> bool {
        self.entries
            .get(&node)
            .is_none_or(|entry| entry.until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_double_until_success() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut bans = Bans::new(Duration::from_secs(15));
        assert!(bans.allows(1, start));
        bans.failed(1, start);
        assert!(!bans.allows(1, at(14)) && bans.allows(1, at(15)) && bans.allows(2, start));
        bans.failed(1, at(15));
        assert!(!bans.allows(1, at(44)) && bans.allows(1, at(45)));
        bans.served(1);
        bans.failed(1, at(45));
        assert!(bans.allows(1, at(60)));
    }

    #[test]
    fn liars_and_repeat_offenders_wait_for_the_longest() {
        let start = Instant::now();
        let mut bans = Bans::new(Duration::from_secs(15));
        bans.lied(1, start);
        assert!(!bans.allows(1, start + LONGEST - Duration::from_secs(1)));
        assert!(bans.allows(1, start + LONGEST));
        for _ in 0..40 {
            bans.failed(2, start);
        }
        assert!(bans.allows(2, start + LONGEST));
    }
}
