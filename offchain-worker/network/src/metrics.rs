//! What operators see of the network.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

type Label = [(&'static str, &'static str); 1];

/// Counters and gauges of the network. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct NetworkMetrics {
    /// Open connections.
    pub connections: Gauge,
    /// Open serving streams, of both directions.
    pub streams: Gauge,
    /// Bytes of frames received.
    pub bytes_in: Counter,
    /// Bytes of frames sent.
    pub bytes_out: Counter,
    /// Peers banned.
    pub bans: Counter,
    /// Dials that failed.
    pub dial_failures: Counter,
    streams_refused: Family<Label, Counter>,
    frames_refused: Family<Label, Counter>,
    records_dropped: Family<Label, Counter>,
    /// Records of others that were stored.
    pub records_stored: Counter,
}

impl NetworkMetrics {
    /// Metrics that `registry` knows, with the prefix `network`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = NetworkMetrics::default();
        let registry = registry.sub_registry_with_prefix("network");
        registry.register(
            "connections",
            "Open connections",
            metrics.connections.clone(),
        );
        registry.register("streams", "Open serving streams", metrics.streams.clone());
        registry.register(
            "bytes_in",
            "Bytes of frames received",
            metrics.bytes_in.clone(),
        );
        registry.register(
            "bytes_out",
            "Bytes of frames sent",
            metrics.bytes_out.clone(),
        );
        registry.register("bans", "Peers banned", metrics.bans.clone());
        registry.register(
            "dial_failures",
            "Dials that failed",
            metrics.dial_failures.clone(),
        );
        registry.register(
            "streams_refused",
            "Streams of peers that were not taken, by reason",
            metrics.streams_refused.clone(),
        );
        registry.register(
            "frames_refused",
            "Frames of peers after which their stream was closed, by reason",
            metrics.frames_refused.clone(),
        );
        registry.register(
            "records_dropped",
            "Records of peers that were not stored, by reason",
            metrics.records_dropped.clone(),
        );
        registry.register(
            "records_stored",
            "Records of peers that were stored",
            metrics.records_stored.clone(),
        );
        metrics
    }

    /// Streams that were not taken, for `reason`: `busy`, `banned` or `too_many`.
    pub fn streams_refused(&self, reason: &'static str) -> Counter {
        self.streams_refused
            .get_or_create(&[("reason", reason)])
            .clone()
    }

    /// Frames that ended their stream, for `reason`: `malformed` or `flood`.
    pub fn frames_refused(&self, reason: &'static str) -> Counter {
        self.frames_refused
            .get_or_create(&[("reason", reason)])
            .clone()
    }

    /// Records that were not stored, for `reason`: see [`RecordError::label`](crate::RecordError::label),
    /// `older`, `flood`, `provider` or `full`.
    pub fn records_dropped(&self, reason: &'static str) -> Counter {
        self.records_dropped
            .get_or_create(&[("reason", reason)])
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_what_the_registry_shows() {
        let mut registry = Registry::default();
        let metrics = NetworkMetrics::register(&mut registry);
        metrics.bans.inc();
        metrics.streams_refused("busy").inc();
        metrics.streams_refused("busy").inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("network_bans_total 1\n"), "{text}");
        assert!(
            text.contains("network_streams_refused_total{reason=\"busy\"} 2\n"),
            "{text}"
        );
    }
}
