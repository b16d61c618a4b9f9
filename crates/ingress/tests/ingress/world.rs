//! Ingress with its agents, a client of its API, and waiting without sleeping: the console's event
//! stream says when to look again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use a2a_types::TaskStore;
use incident::OutcomeResult;
use ingress::{Config, Format, SourceConfig};
use rpc::a2a::MemoryTaskStore;
use serde_json::Value;
use service::{Clock, Ids, ManualClock, Process, own_loopback_address};
use store::Store;

use super::agents::{Place, Play};

/// What Alertmanager shows, as long as no test says otherwise.
pub(crate) const WEBHOOK_TOKEN: &str = "only-alertmanager-knows-this";

/// No test waits longer for anything. It only ends what hangs: nothing is proven by it, and a machine
/// with much to do may take its time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) diagnostic: Arc<Place>,
    pub(crate) resolution: Arc<Place>,
    pub(crate) ticketing: Arc<Place>,
    pub(crate) config: Config,
    process: Process,
    http: reqwest::Client,
    /// With the database and the webhook's token.
    directory: Arc<tempfile::TempDir>,
}

impl World {
    /// Ingress with agents that prove every fix.
    pub(crate) async fn new() -> Self {
        let world = Self::alone(|_| {}).await;
        world.bring_agents().await;
        world
    }

    /// Ingress without any agent.
    pub(crate) async fn alone(change: impl FnOnce(&mut Config)) -> Self {
        Self::of(Process::new("ingress"), change).await
    }

    /// Ingress whose time passes when the test says so: nothing falls due because a machine is slow.
    pub(crate) async fn by(clock: &ManualClock, change: impl FnOnce(&mut Config)) -> Self {
        let clock = Clock::Manual(clock.clone());
        Self::of(Process::with("ingress", clock, Ids::default()), change).await
    }

    async fn of(process: Process, change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let proves = Play::Resolve { result: OutcomeResult::Proven, asks: false };
        let diagnostic = Arc::new(Place::away(Play::Diagnose { cause: Some("db.pool") }));
        let resolution = Arc::new(Place::away(proves));
        let ticketing = Arc::new(Place::away(Play::Ticket));
        let token = directory.path().join("webhook-token");
        std::fs::write(&token, WEBHOOK_TOKEN).unwrap();
        let alertmanager = SourceConfig::bearer(Format::Alertmanager, &token);
        let mut config = Config {
            sources: [("alertmanager".to_owned(), alertmanager)].into(),
            listen: own_loopback_address(),
            console_listen: own_loopback_address(),
            database: directory.path().join("ingress.db").display().to_string(),
            ..Config::default()
        };
        config.agents.diagnostic = diagnostic.url().into();
        config.agents.resolution = resolution.url().into();
        config.agents.ticketing = ticketing.url().into();
        change(&mut config);
        ingress::start(config.clone(), process.clone()).await.unwrap();
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Self {
            diagnostic,
            resolution,
            ticketing,
            config,
            process,
            http,
            directory: Arc::new(directory),
        }
    }

    /// Another ingress beside this one, with the same settings and the same agents, on a database of
    /// its own.
    pub(crate) async fn replica(&self, store: Arc<dyn Store>) -> Self {
        self.replica_with(store, Arc::new(MemoryTaskStore::default())).await
    }

    pub(crate) async fn replica_with(
        &self,
        store: Arc<dyn Store>,
        tasks: Arc<dyn TaskStore>,
    ) -> Self {
        self.replica_as(Process::new("ingress"), store, tasks).await
    }

    pub(crate) async fn replica_as(
        &self,
        process: Process,
        store: Arc<dyn Store>,
        tasks: Arc<dyn TaskStore>,
    ) -> Self {
        let config = Config {
            listen: own_loopback_address(),
            console_listen: own_loopback_address(),
            ..self.config.clone()
        };
        let started = ingress::start_with(config.clone(), process.clone(), store, tasks);
        Box::pin(started).await.unwrap();
        Self {
            diagnostic: self.diagnostic.clone(),
            resolution: self.resolution.clone(),
            ticketing: self.ticketing.clone(),
            config,
            process,
            http: self.http.clone(),
            directory: self.directory.clone(),
        }
    }

    pub(crate) async fn bring_agents(&self) {
        for place in [&self.diagnostic, &self.resolution, &self.ticketing] {
            place.come().await;
        }
    }

    pub(crate) async fn stop(&self) {
        self.process.shut_down(PATIENCE).await.unwrap();
    }

    /// Ends the process and starts another on the same database.
    pub(crate) async fn restart(&mut self) {
        self.restart_after(|_| {}).await;
    }

    /// The same, with an edit of the database in between.
    pub(crate) async fn restart_after(&mut self, edit: impl FnOnce(&Path)) {
        self.stop().await;
        edit(self.config.database.as_ref());
        self.process = Process::new("ingress");
        ingress::start(self.config.clone(), self.process.clone()).await.unwrap();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.config.listen)
    }

    pub(crate) fn console(&self, path: &str) -> String {
        format!("http://{}{path}", self.config.console_listen)
    }

    pub(crate) fn get(&self, url: String) -> reqwest::RequestBuilder {
        self.http.get(url)
    }

    /// A request without credentials.
    pub(crate) fn post(
        &self,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::RequestBuilder {
        self.http.post(self.url(path)).header("content-type", "application/json").body(body)
    }

    /// A webhook, as Alertmanager sends it.
    pub(crate) fn webhook(&self, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.post("/webhooks/alertmanager", body).bearer_auth(WEBHOOK_TOKEN)
    }

    /// Delivers a webhook body; returns status and answer.
    pub(crate) async fn try_deliver(&self, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let answer = self.webhook(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    }

    /// Delivers a good body; returns the incidents it belongs to.
    pub(crate) async fn deliver(&self, body: String) -> Vec<String> {
        let (status, answer) = self.try_deliver(body).await;
        assert_eq!(status, 200, "{answer}");
        let ids = answer["incidents"].as_array().unwrap();
        ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    /// Delivers a body of one incident.
    pub(crate) async fn deliver_one(&self, body: String) -> String {
        let mut incidents = self.deliver(body).await;
        assert_eq!(incidents.len(), 1);
        incidents.remove(0)
    }

    pub(crate) async fn read(&self, path: &str) -> Value {
        self.get(self.url(path)).send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn incidents(&self) -> Vec<Value> {
        self.read("/api/v1/incidents").await.as_array().unwrap().clone()
    }

    pub(crate) async fn incident(&self, id: &str) -> Value {
        self.read(&format!("/api/v1/incidents/{id}")).await
    }

    /// The kinds of an incident's timeline, in order.
    pub(crate) async fn kinds(&self, id: &str) -> Vec<String> {
        let entries = self.read(&format!("/api/v1/incidents/{id}/timeline")).await;
        let kind = |entry: &Value| entry["kind"].as_str().unwrap().to_owned();
        entries.as_array().unwrap().iter().map(kind).collect()
    }

    /// Waits until an incident is as asked, looking again at every event of the console.
    pub(crate) async fn until(
        &self,
        id: &str,
        what: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        let waiting = async {
            let mut events = self.get(self.console("/events")).send().await.unwrap();
            loop {
                last = self.incident(id).await;
                if is_so(&last) {
                    return;
                }
                events.chunk().await.unwrap().unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "never {what}: {last}");
        last
    }

    pub(crate) async fn until_phase(&self, id: &str, phase: &str) -> Value {
        self.until(id, phase, |incident| incident["phase"]["name"] == phase).await
    }

    pub(crate) async fn until_ticket(&self, id: &str, status: &str) -> Value {
        self.until(id, status, |incident| incident["ticket"]["status"] == status).await
    }
}
