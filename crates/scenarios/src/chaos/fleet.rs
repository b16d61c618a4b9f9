//! The targets: they fall ill when the load says so, get well when an effect on them is complete,
//! show both to Prometheus, and log every effect. They run in the driver, which no fault touches.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::effects::EffectLog;
use super::now;

/// What an effect takes, in milliseconds: some end at once, some outlive a lease.
const EFFECT_MILLIS: [u64; 6] = [40, 120, 250, 600, 1_200, 2_600];

#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) log: EffectLog,
    /// Receives a log file for each target.
    logs: PathBuf,
    targets: Mutex<BTreeMap<String, Target>>,
}

#[derive(Clone, Debug, Default)]
struct Target {
    is_ill: bool,
    effects: u64,
}

impl Fleet {
    pub(crate) fn new(names: &[String], log: EffectLog, logs: PathBuf) -> Arc<Self> {
        let targets = names.iter().map(|name| (name.clone(), Target::default())).collect();
        Arc::new(Self { log, logs, targets: Mutex::new(targets) })
    }

    pub(crate) fn set_ill(&self, name: &str, is_ill: bool) {
        if let Some(target) = self.targets.lock().expect("no panic while held").get_mut(name) {
            target.is_ill = is_ill;
        }
        if is_ill {
            self.complain(name);
        }
    }

    pub(crate) fn is_ill(&self, name: &str) -> bool {
        let targets = self.targets.lock().expect("no panic while held");
        targets.get(name).is_some_and(|target| target.is_ill)
    }

    /// A few lines of error in the target's own log; a log that cannot be written is missing
    /// evidence, as it would be anywhere.
    fn complain(&self, name: &str) {
        let path = self.logs.join(format!("{name}.log"));
        let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) else { return };
        for _ in 0..3 {
            let _ = writeln!(file, "{} ERROR worker stuck", now());
        }
    }

    fn metrics(&self) -> String {
        let targets = self.targets.lock().expect("no panic while held");
        let mut text = String::from("# TYPE chaos_ill gauge\n# TYPE chaos_waiting gauge\n");
        for (name, target) in targets.iter() {
            let ill = u8::from(target.is_ill);
            let _ = writeln!(text, "chaos_ill{{server=\"{name}\"}} {ill}");
            let _ = writeln!(text, "chaos_waiting{{server=\"{name}\"}} {}", ill * 40);
        }
        text
    }

    fn status(&self, name: &str) -> Option<Value> {
        let targets = self.targets.lock().expect("no panic while held");
        let target = targets.get(name)?;
        Some(json!({"state": "running", "generation": target.effects, "jobs": {}, "replicas": {}}))
    }

    /// Repairs a target. Whoever asks keeps the connection open: the effect is cut short where it
    /// closes.
    async fn repair(&self, name: &str, change: Option<&str>) -> Option<Value> {
        let duration = {
            let mut targets = self.targets.lock().expect("no panic while held");
            let target = targets.get_mut(name)?;
            target.effects += 1;
            let turn = usize::try_from(target.effects).unwrap_or(0) + name.len();
            Duration::from_millis(EFFECT_MILLIS[(turn * 7 + hash(name)) % EFFECT_MILLIS.len()])
        };
        let running = self.log.begin(name, change);
        tokio::time::sleep(duration).await;
        self.set_ill(name, false);
        running.done();
        self.status(name)
    }

    /// The HTTP side: what Prometheus scrapes, and what executors call.
    pub(crate) fn routes(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/metrics", get(async |State(fleet): State<Arc<Self>>| fleet.metrics()))
            .route("/{target}/admin/status", get(status))
            .route("/{target}/admin/config", get(async || axum::Json(json!({"config": {}}))))
            .route("/{target}/repair/{change}", post(repair))
            .with_state(self.clone())
    }
}

fn hash(name: &str) -> usize {
    name.bytes().fold(0, |hash, byte| hash * 31 % 1_009 + usize::from(byte))
}

type Answer = Result<axum::Json<Value>, StatusCode>;

async fn status(State(fleet): State<Arc<Fleet>>, Path(target): Path<String>) -> Answer {
    fleet.status(&target).map(axum::Json).ok_or(StatusCode::NOT_FOUND)
}

async fn repair(
    State(fleet): State<Arc<Fleet>>,
    Path((target, change)): Path<(String, String)>,
) -> Answer {
    let repaired = fleet.repair(&target, Some(&change)).await;
    repaired.map(axum::Json).ok_or(StatusCode::NOT_FOUND)
}
