//! The admin API: how a server is looked at and repaired. Each port speaks for its own server.

use std::collections::BTreeMap;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use crate::error::{ApiError, Body};
use crate::fleet::Change;
use crate::listen::Port;

type Answer = Result<Json<Value>, ApiError>;

pub(crate) fn routes(port: &Port) -> Router<Port> {
    Router::new()
        .route("/admin/config", get(config).patch(configure).put(configure))
        .route("/admin/status", get(status))
        .route("/admin/restart", post(restart))
        .route("/admin/scale", post(scale))
        .route("/admin/cleanup", post(clean_up))
        .route("/admin/jobs/{name}/stop", post(stop_job))
        .route("/admin/jobs/{name}/start", post(start_job))
        .layer(middleware::from_fn_with_state(port.clone(), authorize))
}

/// Lets reading pass, and changes only with the admin token where one is set.
async fn authorize(
    State(port): State<Port>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let (Some(token), true) = (&port.admin_token, request.method() != "GET") {
        let given = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        if !given.is_some_and(|given| is_same(given.as_bytes(), token.reveal().as_bytes())) {
            return Err(ApiError::Unauthorized);
        }
    }
    Ok(next.run(request).await)
}

/// Compares in a time that tells nothing about where the two differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

async fn config(State(port): State<Port>) -> Json<Value> {
    let fleet = port.fleet();
    let settings = &fleet.host(port.server).settings;
    Json(json!({
        "server": port.server.name(),
        "config": settings.saved(),
        "effective": settings.effective(),
        "pending": settings.pending(),
    }))
}

async fn configure(State(port): State<Port>, Body(body): Body) -> Answer {
    let mut wanted = BTreeMap::new();
    for (key, value) in object(&body)? {
        let number = whole_number(&key, &value)?;
        wanted.insert(key, number);
    }
    let mut fleet = port.fleet();
    let Change { before, after } = fleet.configure(port.server, &wanted)?;
    let pending = fleet.host(port.server).settings.pending();
    let restart_required = after.keys().any(|key| pending.contains_key(key));
    Ok(Json(json!({
        "server": port.server.name(),
        "before": before,
        "after": after,
        "restart_required": restart_required,
    })))
}

async fn status(State(port): State<Port>) -> Json<Value> {
    let status = port.fleet().status(port.server);
    Json(json!({
        "server": port.server.name(),
        "service": port.server.service(),
        "state": if status.is_running { "running" } else { "restarting" },
        "generation": status.generation,
        "uptime_seconds": status.uptime.as_secs_f64(),
        "replicas": { "desired": status.replicas_desired, "ready": status.replicas_ready },
        "pending_config": status.pending_config,
        "jobs": status.jobs,
    }))
}

async fn restart(State(port): State<Port>) -> (StatusCode, Json<Value>) {
    let generation = port.fleet().restart(port.server);
    let server = port.server.name();
    let body = json!({ "server": server, "generation": generation, "state": "restarting" });
    (StatusCode::ACCEPTED, Json(body))
}

async fn scale(State(port): State<Port>, Body(body): Body) -> Answer {
    let fields = object(&body)?;
    if let Some(other) = fields.keys().find(|key| *key != "replicas") {
        return Err(ApiError::field(other, format!("unknown field {other:?}; known: replicas")));
    }
    let value =
        fields.get("replicas").ok_or_else(|| ApiError::field("replicas", "replicas is missing"))?;
    let replicas = whole_number("replicas", value)?;
    let change = port.fleet().scale(port.server, replicas)?;
    Ok(Json(json!({
        "server": port.server.name(),
        "before": { "replicas": change.before },
        "after": { "replicas": change.after },
    })))
}

async fn clean_up(State(port): State<Port>) -> Json<Value> {
    let cleaned = port.fleet().clean_up(port.server);
    Json(json!({
        "server": port.server.name(),
        "deleted_files": cleaned.deleted_files,
        "freed_bytes": cleaned.freed_bytes,
        "before": { "avail_bytes": cleaned.avail_bytes.before },
        "after": { "avail_bytes": cleaned.avail_bytes.after },
    }))
}

async fn stop_job(State(port): State<Port>, Path(name): Path<String>) -> Answer {
    set_job(&port, &name, false)
}

async fn start_job(State(port): State<Port>, Path(name): Path<String>) -> Answer {
    set_job(&port, &name, true)
}

fn set_job(port: &Port, name: &str, is_running: bool) -> Answer {
    let change = port.fleet().set_job(port.server, name, is_running)?;
    Ok(Json(json!({
        "server": port.server.name(),
        "job": name,
        "before": { "running": change.before },
        "after": { "running": change.after },
    })))
}

fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(ApiError::body("the body must be a JSON object")),
        Err(error) => Err(ApiError::body(format!("the body is not JSON: {error}"))),
    }
}

fn whole_number(field: &str, value: &Value) -> Result<u64, ApiError> {
    value.as_u64().ok_or_else(|| {
        ApiError::field(field, format!("{field} must be a whole number of at least 0, not {value}"))
    })
}
