//! What every program answers beside its own routes: `/healthz`, `/readyz` and `/metrics`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use crate::Process;

const HEALTH: &str = "/healthz";
const READINESS: &str = "/readyz";
const METRICS: &str = "/metrics";

pub(super) fn routes(process: Process) -> Router {
    Router::new()
        .route(HEALTH, get(|| async { "ok\n" }))
        .route(READINESS, get(ready))
        .route(METRICS, get(metrics))
        .with_state(process)
}

/// Whether a path is one of these, which are answered however much there is to do.
pub(super) fn is_one(path: &str) -> bool {
    matches!(path, HEALTH | READINESS | METRICS)
}

async fn ready(State(process): State<Process>) -> Response {
    match process.health().ready() {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(failing) => (StatusCode::SERVICE_UNAVAILABLE, Json(failing)).into_response(),
    }
}

async fn metrics(State(process): State<Process>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], process.metrics().encode()).into_response()
}
