//! Counters and gauges of the worker, in Prometheus' units.

use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{exponential_buckets, Histogram},
    },
    registry::Registry,
};
use quipu_network::registered;
use quipu_protocol::RefusalCode;
use std::time::Duration;

/// The worker's metrics. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Sessions that hold a cache.
    pub sessions: Gauge,
    /// Positions that can be reserved.
    pub free_positions: Gauge,
    /// Number of the last final block.
    pub block: Gauge,
    /// Positions that were computed.
    pub positions: Counter,
    /// Caches that were given up because nobody used them.
    pub evicted: Counter,
    /// Receipts signed.
    pub receipts: Counter,
    /// Receipts of predecessors that contradict what came in.
    pub conflicts: Counter,
    /// Vouchers taken.
    pub vouchers: Counter,
    /// Vouchers redeemed on chain.
    pub redeemed: Counter,
    /// Sessions that closed with less than was promised.
    pub unredeemed: Counter,
    /// Findings about others' work revealed.
    pub audits: Counter,
    /// Accusations answered.
    pub answered: Counter,
    /// Jobs answered.
    pub jobs: Counter,
    /// Announcements published.
    pub announcements: Counter,
    refused: Family<[(&'static str, String); 1], Counter>,
    decode: Histogram,
    prefill: Histogram,
}

impl Default for Metrics {
    /// Metrics that nobody is shown.
    fn default() -> Self {
        Metrics::register(&mut Registry::default())
    }
}

/// A new histogram of times from half a millisecond up, known to `registry`.
fn seconds(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let times = Histogram::new(exponential_buckets(0.0005, 2.0, 18));
    registry.register(name, help, times.clone());
    times
}

impl Metrics {
    /// Metrics that `registry` knows.
    pub fn register(registry: &mut Registry) -> Self {
        Metrics {
            sessions: registered(registry, "sessions", "Sessions that hold a cache"),
            free_positions: registered(
                registry,
                "free_positions",
                "Positions that can be reserved",
            ),
            block: registered(registry, "finalized_block", "Last final block seen"),
            positions: registered(registry, "positions", "Positions computed"),
            evicted: registered(registry, "evictions", "Caches given up unused"),
            receipts: registered(registry, "receipts", "Receipts signed"),
            conflicts: registered(
                registry,
                "upstream_conflicts",
                "Receipts of predecessors that contradict what came in",
            ),
            vouchers: registered(registry, "vouchers", "Vouchers taken"),
            redeemed: registered(registry, "redeemed", "Vouchers redeemed on chain"),
            unredeemed: registered(
                registry,
                "unredeemed",
                "Sessions that closed with less than was promised",
            ),
            audits: registered(registry, "audits", "Findings about others' work revealed"),
            answered: registered(
                registry,
                "accusations_answered",
                "Auditors who did not let our work pass",
            ),
            jobs: registered(registry, "jobs", "Jobs answered"),
            announcements: registered(registry, "announcements", "Announcements published"),
            refused: registered(registry, "refused", "Requests refused, by code"),
            decode: seconds(
                registry,
                "decode_seconds",
                "From request to result of a step of one position, waiting included",
            ),
            prefill: seconds(
                registry,
                "prefill_seconds",
                "From request to result of a longer step, waiting included",
            ),
        }
    }

    /// Requests refused with this code.
    pub fn refused(&self, code: RefusalCode) -> Counter {
        self.refused
            .get_or_create(&[("code", format!("{code:?}"))])
            .clone()
    }

    /// A step of `tokens` positions was computed.
    pub fn computed(&self, tokens: u32, took: Duration) {
        self.positions.inc_by(u64::from(tokens));
        match tokens {
            1 => self.decode.observe(took.as_secs_f64()),
            _ => self.prefill.observe(took.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    /// Names and types of all metrics, in their order. Dashboards and alerts rely on them.
    const KNOWN: [&str; 17] = [
        "sessions gauge",
        "free_positions gauge",
        "finalized_block gauge",
        "positions counter",
        "evictions counter",
        "receipts counter",
        "upstream_conflicts counter",
        "vouchers counter",
        "redeemed counter",
        "unredeemed counter",
        "audits counter",
        "accusations_answered counter",
        "jobs counter",
        "announcements counter",
        "refused counter",
        "decode_seconds histogram",
        "prefill_seconds histogram",
    ];

    #[test]
    fn a_registry_shows_every_metric_by_its_name() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.refused(RefusalCode::Busy).inc();
        metrics.computed(1, Duration::from_millis(3));
        metrics.computed(40, Duration::from_millis(3));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let names: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .collect();
        assert_eq!(names, KNOWN);
        for line in [
            "refused_total{code=\"Busy\"} 1",
            "positions_total 41",
            "decode_seconds_count 1",
            "prefill_seconds_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
