//! A stand-in for a service with an admin API, as the fault-simulator describes it. Time does not
//! pass in it: a restart is over after a number of looks at its status, or when it is let go.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use service::Process;

#[derive(Clone)]
pub(crate) struct Admin {
    state: Arc<Mutex<Inner>>,
    pub(crate) address: SocketAddr,
}

struct Inner {
    saved: Value,
    effective: Value,
    generation: u64,
    looks_until_running: u32,
    is_held: bool,
    replicas: u64,
    jobs: Value,
    changes: Vec<String>,
}

type Shared = State<Arc<Mutex<Inner>>>;

impl Admin {
    pub(crate) async fn start(process: &Process) -> Self {
        let config = json!({"connection_pool_size": 2, "connection_timeout_ms": 250});
        let state = Arc::new(Mutex::new(Inner {
            saved: config.clone(),
            effective: config,
            generation: 1,
            looks_until_running: 0,
            is_held: false,
            replicas: 1,
            jobs: json!({"backup": true, "idle": false}),
            changes: Vec::new(),
        }));
        let routes = Router::new()
            .route("/admin/config", get(config_of).patch(set_config))
            .route("/admin/restart", post(restart))
            .route("/admin/scale", post(scale))
            .route("/admin/cleanup", post(cleanup))
            .route("/admin/jobs/{name}/{what}", post(job))
            .route("/admin/status", get(status))
            .with_state(state.clone());
        let address = service::serve(process, "127.0.0.1:0", "none", routes).await.unwrap();
        Self { state, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn effective_pool(&self) -> u64 {
        self.lock().effective["connection_pool_size"].as_u64().unwrap()
    }

    /// What was changed so far, in order.
    pub(crate) fn changes(&self) -> Vec<String> {
        self.lock().changes.clone()
    }

    /// While held, a restart does not come to its end.
    pub(crate) fn hold(&self, is_held: bool) {
        self.lock().is_held = is_held;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.state.lock().unwrap()
    }
}

type Answer = (StatusCode, Json<Value>);

fn ok(value: Value) -> Answer {
    (StatusCode::OK, Json(value))
}

async fn config_of(State(state): Shared) -> Answer {
    let state = state.lock().unwrap();
    ok(json!({"server": "db", "config": state.saved, "effective": state.effective}))
}

async fn set_config(State(state): Shared, Json(set): Json<Value>) -> Answer {
    let mut state = state.lock().unwrap();
    let (mut before, mut after) = (json!({}), json!({}));
    for (key, value) in set.as_object().unwrap() {
        if !value.as_u64().is_some_and(|value| (1..=50_000).contains(&value)) {
            let error = json!({"error": "out of bounds", "field": key});
            return (StatusCode::BAD_REQUEST, Json(error));
        }
        before[key] = state.saved[key].clone();
        after[key] = value.clone();
        state.saved[key] = value.clone();
        state.changes.push(format!("set {key}={value}"));
    }
    ok(json!({"server": "db", "before": before, "after": after, "restart_required": true}))
}

async fn restart(State(state): Shared) -> Answer {
    let mut state = state.lock().unwrap();
    state.generation += 1;
    state.looks_until_running = 2;
    state.effective = state.saved.clone();
    state.changes.push("restart".to_owned());
    let answer = json!({"generation": state.generation, "state": "restarting"});
    (StatusCode::ACCEPTED, Json(answer))
}

async fn scale(State(state): Shared, Json(body): Json<Value>) -> Answer {
    let mut state = state.lock().unwrap();
    let before = state.replicas;
    state.replicas = body["replicas"].as_u64().unwrap();
    let after = state.replicas;
    state.changes.push(format!("scale {after}"));
    ok(json!({"before": {"replicas": before}, "after": {"replicas": after}}))
}

async fn cleanup(State(state): Shared) -> Answer {
    state.lock().unwrap().changes.push("cleanup".to_owned());
    ok(json!({
        "deleted_files": 3, "before": {"avail_bytes": 1000}, "after": {"avail_bytes": 9000}
    }))
}

async fn job(State(state): Shared, Path((name, what)): Path<(String, String)>) -> Answer {
    let mut state = state.lock().unwrap();
    state.jobs[&name] = json!(what == "start");
    state.changes.push(format!("{what} {name}"));
    ok(json!({"job": name}))
}

async fn status(State(state): Shared) -> Answer {
    let mut state = state.lock().unwrap();
    let is_restarting = state.is_held || state.looks_until_running > 0;
    state.looks_until_running = state.looks_until_running.saturating_sub(1);
    ok(json!({
        "server": "db", "service": "database",
        "state": if is_restarting { "restarting" } else { "running" },
        "generation": state.generation,
        "replicas": {"desired": state.replicas, "ready": state.replicas},
        "jobs": state.jobs
    }))
}
