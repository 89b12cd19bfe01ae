//! `/metrics` in Prometheus' text format, and `/health`.

use axum::{
    extract::State,
    http::{header, StatusCode},
    response::IntoResponse,
    routing::get,
    Json, Router,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use quipu_primitives::{NodeId, Span, SubnetId};
use quipu_protocol::ServerState;
use serde_json::json;
use std::{net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

/// What `/health` tells.
#[derive(Clone, Debug)]
pub struct Health {
    /// The subnet.
    pub subnet: SubnetId,
    /// The node.
    pub node: NodeId,
    /// Its blocks; none where it audits only.
    pub span: Option<Span>,
    /// Is it ready?
    pub state: watch::Receiver<ServerState>,
    /// Number of the last final block.
    pub block: watch::Receiver<u32>,
}

/// Serves what was bound until `stop`. An endpoint that fails is told, and missed by nobody else.
pub async fn attend(
    (listener, registry): (TcpListener, Registry),
    health: Health,
    stop: CancellationToken,
) {
    if let Err(error) = serve(listener, Arc::new(registry), health, stop).await {
        tracing::warn!(%error, "metrics are not served any more");
    }
}

#[derive(Clone)]
struct Shared {
    registry: Arc<Registry>,
    health: Health,
}

/// Binds the endpoint's address. Port 0 is any free port.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves the endpoint until `stop`.
pub async fn serve(
    listener: TcpListener,
    registry: Arc<Registry>,
    health: Health,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(tell_health))
        .with_state(Shared { registry, health });
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &shared.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::warn!(%error, "the metrics can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// 200 while it serves, 503 before and after.
async fn tell_health(State(Shared { health, .. }): State<Shared>) -> impl IntoResponse {
    let state = *health.state.borrow();
    let (status, state) = match state {
        ServerState::Joining => (StatusCode::SERVICE_UNAVAILABLE, "joining"),
        ServerState::Online => (StatusCode::OK, "online"),
        ServerState::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    let block = *health.block.borrow();
    let body = json!({
        "state": state,
        "subnet": health.subnet,
        "node": health.node,
        "blocks": health.span.map(|span| span.to_string()),
        "finalized_block": block,
    });
    (status, Json(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn fetch(address: SocketAddr, path: &str) -> String {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_and_health_are_told() {
        let mut registry = Registry::with_prefix("quipu_worker");
        let metrics = Metrics::register(&mut registry);
        metrics.computed(1, Duration::from_millis(3));
        metrics.refused(quipu_protocol::RefusalCode::Unpaid).inc();
        let (state, watched) = watch::channel(ServerState::Joining);
        let (_block, block) = watch::channel(9);
        let span = Span { start: 0, end: 10 };
        let health = Health {
            subnet: 1,
            node: 2,
            span: Some(span),
            state: watched,
            block,
        };
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, Arc::new(registry), health, stop.clone()));

        let text = fetch(address, "/metrics").await;
        assert!(text.contains("quipu_worker_positions_total 1"), "{text}");
        assert!(
            text.contains("quipu_worker_refused_total{code=\"Unpaid\"} 1"),
            "{text}"
        );
        assert!(fetch(address, "/health").await.starts_with("HTTP/1.1 503"));
        state.send_replace(ServerState::Online);
        let text = fetch(address, "/health").await;
        assert!(
            text.starts_with("HTTP/1.1 200") && text.contains("\"blocks\":\"0:10\""),
            "{text}"
        );
        stop.cancel();
        task.await.unwrap().unwrap();
    }
}
