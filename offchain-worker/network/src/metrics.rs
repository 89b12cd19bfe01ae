//! What operators see of the network.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Metric, Registry},
};

/// A new metric, known to `registry` under `name`. `help` says what it counts, without a full stop at
/// the end.
pub fn registered<M: Metric + Clone + Default>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

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
        let known = registry.sub_registry_with_prefix("network");
        NetworkMetrics {
            connections: registered(known, "connections", "Open connections"),
            streams: registered(known, "streams", "Open serving streams"),
            bytes_in: registered(known, "bytes_in", "Bytes of frames received"),
            bytes_out: registered(known, "bytes_out", "Bytes of frames sent"),
            bans: registered(known, "bans", "Peers banned"),
            dial_failures: registered(known, "dial_failures", "Dials that failed"),
            streams_refused: registered(
                known,
                "streams_refused",
                "Streams of peers that were not taken, by reason",
            ),
            frames_refused: registered(
                known,
                "frames_refused",
                "Frames of peers after which their stream was closed, by reason",
            ),
            records_dropped: registered(
                known,
                "records_dropped",
                "Records of peers that were not stored, by reason",
            ),
            records_stored: registered(
                known,
                "records_stored",
                "Records of peers that were stored",
            ),
        }
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

    /// Names and helps of all metrics, in their order. Dashboards and alerts rely on them.
    const KNOWN: &str = "\
# HELP network_connections Open connections.
# TYPE network_connections gauge
network_connections 0
# HELP network_streams Open serving streams.
# TYPE network_streams gauge
network_streams 0
# HELP network_bytes_in Bytes of frames received.
# TYPE network_bytes_in counter
network_bytes_in_total 0
# HELP network_bytes_out Bytes of frames sent.
# TYPE network_bytes_out counter
network_bytes_out_total 0
# HELP network_bans Peers banned.
# TYPE network_bans counter
network_bans_total 0
# HELP network_dial_failures Dials that failed.
# TYPE network_dial_failures counter
network_dial_failures_total 0
# HELP network_records_stored Records of peers that were stored.
# TYPE network_records_stored counter
network_records_stored_total 0
# EOF
";

    #[test]
    fn a_new_registry_shows_every_plain_metric() {
        let mut registry = Registry::default();
        NetworkMetrics::register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        // A family shows nothing before its first label.
        let plain: Vec<_> = text
            .lines()
            .filter(|line| !line.contains("_refused") && !line.contains("_dropped"))
            .collect();
        assert_eq!(plain, KNOWN.lines().collect::<Vec<_>>());
    }

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
