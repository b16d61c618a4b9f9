//! Triggering, ending and listing faults. The same on every port, for the whole fleet.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::error::{ApiError, Body};
use crate::fleet::{Fault, Fleet};
use crate::listen::Port;

const DEFAULT_SECONDS: f64 = 60.0;
const MAX_SECONDS: f64 = 86_400.0;

pub(crate) fn routes() -> Router<Port> {
    Router::new().route("/trigger/{fault}", post(trigger).delete(heal)).route("/faults", get(list))
}

async fn trigger(
    State(port): State<Port>,
    Path(name): Path<String>,
    Body(body): Body,
) -> Result<Json<Value>, ApiError> {
    let fault = known(&name)?;
    let seconds = duration_seconds(&body)?;
    let mut fleet = port.fleet();
    fleet.trigger(fault, Duration::from_secs_f64(seconds))?;
    tracing::info!(fault = fault.name(), seconds, "fault triggered");
    let ends_at = fleet.now() + Duration::from_secs_f64(seconds);
    Ok(Json(json!({
        "fault": fault.name(),
        "server": fault.server().name(),
        "duration_seconds": seconds,
        "ends_at": format!("{ends_at:.3}"),
    })))
}

async fn heal(State(port): State<Port>, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let fault = known(&name)?;
    port.fleet().heal(fault)?;
    Ok(Json(json!({ "fault": fault.name(), "ended": "deleted" })))
}

async fn list(State(port): State<Port>) -> Json<Value> {
    let known: Vec<Value> = Fault::ALL.into_iter().map(describe).collect();
    let fleet = port.fleet();
    Json(json!({ "known": known, "active": active(&fleet), "ended": ended(&fleet) }))
}

fn describe(fault: Fault) -> Value {
    json!({
        "name": fault.name(),
        "server": fault.server().name(),
        "summary": fault.summary(),
        "repair": fault.repair(),
    })
}

fn active(fleet: &Fleet) -> Vec<Value> {
    let describe = |active: &crate::fleet::ActiveFault| {
        json!({
            "name": active.fault.name(),
            "server": active.fault.server().name(),
            "since": format!("{:.3}", fleet.at(active.since)),
            "duration_seconds": (active.until - active.since) as f64 / 1000.0,
            "remaining_seconds": fleet.remaining(active).as_secs_f64(),
        })
    };
    fleet.active_faults().iter().map(describe).collect()
}

fn ended(fleet: &Fleet) -> Vec<Value> {
    let describe = |ended: &crate::fleet::EndedFault| {
        let at = format!("{:.3}", fleet.at(ended.at));
        json!({ "name": ended.fault.name(), "how": ended.how.name(), "at": at })
    };
    fleet.ended_faults().iter().map(describe).collect()
}

fn known(name: &str) -> Result<Fault, ApiError> {
    Fault::by_name(name).ok_or_else(|| {
        let names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        ApiError::NotFound(format!("unknown fault {name:?}; known: {}", names.join(", ")))
    })
}

/// Reads `{"duration": seconds}`; an empty body means the default.
fn duration_seconds(body: &[u8]) -> Result<f64, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(DEFAULT_SECONDS);
    }
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::body(format!("the body is not JSON: {error}")))?;
    let Value::Object(fields) = body else {
        return Err(ApiError::body("the body must be an object such as {\"duration\": 60}"));
    };
    if let Some(other) = fields.keys().find(|key| *key != "duration") {
        return Err(ApiError::field(other, format!("unknown field {other:?}; known: duration")));
    }
    let Some(value) = fields.get("duration") else { return Ok(DEFAULT_SECONDS) };
    let seconds = value.as_f64().unwrap_or(f64::NAN);
    if seconds > 0.0 && seconds <= MAX_SECONDS {
        return Ok(seconds);
    }
    let wanted = format!("a number of seconds above 0 and at most {MAX_SECONDS}");
    Err(ApiError::field("duration", format!("duration must be {wanted}, not {value}")))
}
