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
    /// Jobs answered.
    pub jobs: Counter,
    /// Announcements published.
    pub announcements: Counter,
    refused: Family<[(&'static str, String); 1], Counter>,
    decode: Histogram,
    prefill: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 18));
        Metrics {
            sessions: Gauge::default(),
            free_positions: Gauge::default(),
            block: Gauge::default(),
            positions: Counter::default(),
            evicted: Counter::default(),
            receipts: Counter::default(),
            conflicts: Counter::default(),
            vouchers: Counter::default(),
            redeemed: Counter::default(),
            unredeemed: Counter::default(),
            jobs: Counter::default(),
            announcements: Counter::default(),
            refused: Family::default(),
            decode: seconds(),
            prefill: seconds(),
        }
    }
}

impl Metrics {
    /// Metrics that `registry` knows.
    pub fn register(registry: &mut Registry) -> Self {
        let own = Metrics::default();
        registry.register(
            "sessions",
            "Sessions that hold a cache",
            own.sessions.clone(),
        );
        registry.register(
            "free_positions",
            "Positions that can be reserved",
            own.free_positions.clone(),
        );
        registry.register(
            "finalized_block",
            "Last final block seen",
            own.block.clone(),
        );
        registry.register("positions", "Positions computed", own.positions.clone());
        registry.register("evictions", "Caches given up unused", own.evicted.clone());
        registry.register("receipts", "Receipts signed", own.receipts.clone());
        registry.register(
            "upstream_conflicts",
            "Receipts of predecessors that contradict what came in",
            own.conflicts.clone(),
        );
        registry.register("vouchers", "Vouchers taken", own.vouchers.clone());
        registry.register(
            "redeemed",
            "Vouchers redeemed on chain",
            own.redeemed.clone(),
        );
        registry.register(
            "unredeemed",
            "Sessions that closed with less than was promised",
            own.unredeemed.clone(),
        );
        registry.register("jobs", "Jobs answered", own.jobs.clone());
        registry.register(
            "announcements",
            "Announcements published",
            own.announcements.clone(),
        );
        registry.register("refused", "Requests refused, by code", own.refused.clone());
        registry.register(
            "decode_seconds",
            "From request to result of a step of one position, waiting included",
            own.decode.clone(),
        );
        registry.register(
            "prefill_seconds",
            "From request to result of a longer step, waiting included",
            own.prefill.clone(),
        );
        own
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
