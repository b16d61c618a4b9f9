//! What the system under measurement watches and repairs: targets with one flag each, behind an admin
//! API, and a Prometheus that tells of them. A repair is one small write, so that nothing but our own
//! work is measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Seconds between two scrapes: the least that the agents take.
pub(super) const SCRAPE_SECONDS: f64 = 0.1;

#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) address: SocketAddr,
    targets: Arc<Targets>,
    /// Ends with the fleet.
    _serving: JoinSet<std::io::Result<()>>,
}

#[derive(Debug)]
struct Targets(Vec<Target>);

#[derive(Debug, Default)]
struct Target {
    is_repaired: AtomicBool,
    /// When the first write of the repair came.
    acted: watch::Sender<Option<Instant>>,
}

impl Fleet {
    pub(super) async fn start(targets: usize) -> anyhow::Result<Self> {
        let targets = Arc::new(Targets((0..targets).map(|_| Target::default()).collect()));
        let routes = Router::new()
            .route("/api/v1/query", post(query))
            .route("/api/v1/query_range", post(query_range))
            .route("/targets/{name}/admin/config", get(config).patch(repair))
            .route("/targets/{name}/admin/status", get(|| async { json_state() }))
            .with_state(targets.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            drop(stream.set_nodelay(true));
        });
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { address, targets, _serving: serving })
    }

    /// Waits until the repair of a target has begun.
    pub(super) async fn acted(&self, target: usize) -> anyhow::Result<Instant> {
        let mut acted = self.targets.0[target].acted.subscribe();
        let at = *acted.wait_for(Option::is_some).await?;
        at.context("it was waited for")
    }
}

pub(super) fn name_of(target: usize) -> String {
    format!("t{target:05}")
}

impl Targets {
    fn find(&self, name: &str) -> Option<&Target> {
        self.0.get(name.strip_prefix('t')?.parse::<usize>().ok()?)
    }

    /// What a query asks of: the target in `server="…"`, its flag or its symptom.
    fn value(&self, query: &str) -> Option<f64> {
        let (_, rest) = query.split_once("server=\"")?;
        let target = self.find(rest.split('"').next()?)?;
        let is_repaired = target.is_repaired.load(Ordering::SeqCst);
        Some(f64::from(is_repaired == query.contains("bench_flag")))
    }
}

fn json_state() -> Json<Value> {
    Json(json!({"state": "running", "generation": 1}))
}

async fn config(State(targets): State<Arc<Targets>>, Path(name): Path<String>) -> Json<Value> {
    let is_repaired =
        targets.find(&name).is_some_and(|target| target.is_repaired.load(Ordering::SeqCst));
    let flag = u8::from(is_repaired);
    Json(json!({"config": {"flag": flag}, "effective": {"flag": flag}}))
}

async fn repair(State(targets): State<Arc<Targets>>, Path(name): Path<String>) -> Json<Value> {
    if let Some(target) = targets.find(&name) {
        target.acted.send_if_modified(|acted| acted.replace(Instant::now()).is_none());
        target.is_repaired.store(true, Ordering::SeqCst);
    }
    Json(json!({"config": {"flag": 1}}))
}

async fn query(State(targets): State<Arc<Targets>>, form: String) -> Json<Value> {
    let field = |name: &str| decoded(&form, name);
    let (query, time) = (field("query"), field("time").parse().unwrap_or_else(|_| now()));
    let value = match query.contains("timestamp(") {
        true => Some(last_scrape(time)),
        false => targets.value(&query),
    };
    let vector = value.map(|value| json!({"metric": {}, "value": [time, value.to_string()]}));
    let result: Vec<Value> = vector.into_iter().collect();
    Json(json!({"status": "success", "data": {"resultType": "vector", "result": result}}))
}

async fn query_range(State(targets): State<Arc<Targets>>, form: String) -> Json<Value> {
    let end = decoded(&form, "end").parse().unwrap_or_else(|_| now());
    let value = targets.value(&decoded(&form, "query"));
    let matrix = value.map(|value| json!({"metric": {}, "values": [[end, value.to_string()]]}));
    let result: Vec<Value> = matrix.into_iter().collect();
    Json(json!({"status": "success", "data": {"resultType": "matrix", "result": result}}))
}

fn last_scrape(time: f64) -> f64 {
    (time.min(now()) / SCRAPE_SECONDS).floor() * SCRAPE_SECONDS
}

#[expect(clippy::disallowed_methods, reason = "the fleet's clock is the machine's")]
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// One field of a form; empty where it is absent.
fn decoded(form: &str, name: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(form.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}
