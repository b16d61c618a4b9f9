//! An agent for tests, a place for its tasks that outlives its server, and raw requests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_types::{
    Adopted, AgentCapabilities, AgentCard, AgentInterface, Artifact, Delivery, Expiry, Inserted,
    Message, NewTask, Part, Role, StoreFuture, TaskEvent, TaskPage, TaskPushNotificationConfig,
    TaskQuery, TaskRecord, TaskStore, TaskStoreError,
};
use futures::future::BoxFuture;
use jiff::Timestamp;
use rpc::Host;
use rpc::a2a::{Agent, AgentError, Job, MemoryTaskStore, Server, ServerOptions};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// No test waits longer for anything. It only ends what hangs: nothing is proven by it, and a machine
/// with much to do may take its time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Does what the first word of its message says.
#[derive(Debug)]
pub(crate) struct Script {
    /// Text and `is_resumed` of every run.
    runs: watch::Sender<Vec<(String, bool)>>,
    /// Lets `gate` and `stubborn` go on.
    pub(crate) gate: Semaphore,
}

impl Default for Script {
    fn default() -> Self {
        Self { runs: watch::Sender::default(), gate: Semaphore::new(0) }
    }
}

impl Script {
    pub(crate) fn runs(&self) -> Vec<(String, bool)> {
        self.runs.borrow().clone()
    }

    /// Waits until the agent was started `count` times.
    pub(crate) async fn started(&self, count: usize) {
        let mut runs = self.runs.subscribe();
        let started = runs.wait_for(|runs| runs.len() >= count);
        tokio::time::timeout(PATIENCE, started).await.unwrap().unwrap();
    }

    async fn act(&self, job: Job) -> Result<(), AgentError> {
        let text = job.message.text();
        let run = (text.clone(), job.is_resumed);
        self.runs.send_modify(|runs| runs.push(run));
        let (verb, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match verb {
            "echo" => {
                let artifact = Artifact::new("echo", vec![Part::text(rest)]);
                job.updates.put_artifact(artifact).await?;
                Ok(job.updates.complete(rest).await?)
            }
            "ask" => Ok(job.updates.ask(vec![Part::text("which one?")]).await?),
            "login" => Ok(job.updates.ask_authentication(vec![Part::text("who are you?")]).await?),
            "hold" => {
                job.updates.working("holding").await?;
                job.cancelled.cancelled().await;
                Ok(())
            }
            "gate" => {
                job.updates.working("at the gate").await?;
                let opened = job.cancelled.run_until_cancelled(self.gate.acquire()).await;
                let Some(opened) = opened else { return Ok(()) };
                opened.unwrap().forget();
                Ok(job.updates.complete("through the gate").await?)
            }
            "reject" => Err(AgentError::Rejected(rest.to_owned())),
            "fail" => Err(AgentError::failed(rest)),
            "away" => Err(AgentError::transient(rest)),
            "panic" => panic!("as told"),
            _ => Ok(()),
        }
    }
}

impl Agent for Script {
    fn run(self: Arc<Self>, job: Job) -> BoxFuture<'static, Result<(), AgentError>> {
        Box::pin(async move { self.act(job).await })
    }

    fn reply<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Option<Message>> {
        let text = message.text();
        let said = text.strip_prefix("say ").map(Part::text);
        let reply = said.map(|part| Message::new("r-1", Role::Agent, vec![part]));
        Box::pin(std::future::ready(reply))
    }
}

/// Keeps tasks as a database would; can be told to fail its next writes.
#[derive(Debug, Default)]
pub(crate) struct DurableTasks {
    kept: MemoryTaskStore,
    ids: Mutex<Vec<String>>,
    pub(crate) failing_saves: AtomicU64,
    /// The next so many writes are committed, and look as if they were not.
    pub(crate) doubtful_saves: AtomicU64,
    /// The same for tasks that are inserted.
    pub(crate) doubtful_inserts: AtomicU64,
    /// The next so many looks for deliveries fail.
    pub(crate) failing_looks: AtomicU64,
    /// The next so many ends of deliveries fail.
    pub(crate) failing_finishes: AtomicU64,
}

impl DurableTasks {
    /// Every task that was ever inserted, oldest first.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.ids.lock().unwrap().clone()
    }
}

impl TaskStore for DurableTasks {
    fn insert(&self, new: NewTask) -> StoreFuture<'_, Inserted> {
        Box::pin(async move {
            let id = new.record.task.id.clone();
            let inserted = self.kept.insert(new).await?;
            if matches!(inserted, Inserted::New) {
                self.ids.lock().unwrap().push(id);
            }
            match fails(&self.doubtful_inserts) {
                true => failure().await,
                false => Ok(inserted),
            }
        })
    }

    fn save(&self, record: TaskRecord, events: Vec<TaskEvent>) -> StoreFuture<'_, ()> {
        if fails(&self.failing_saves) {
            return failure();
        }
        Box::pin(async move {
            self.kept.save(record, events).await?;
            match fails(&self.doubtful_saves) {
                true => failure().await,
                false => Ok(()),
            }
        })
    }

    fn load(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>> {
        self.kept.load(id)
    }

    fn lease(&self) -> Option<Duration> {
        self.kept.lease()
    }

    fn heartbeat(&self) -> StoreFuture<'_, ()> {
        self.kept.heartbeat()
    }

    fn adopt(&self, limit: u32) -> StoreFuture<'_, Adopted> {
        self.kept.adopt(limit)
    }

    fn claim(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>> {
        self.kept.claim(id)
    }

    fn release(&self, id: String) -> StoreFuture<'_, ()> {
        self.kept.release(id)
    }

    fn held(&self, ids: Vec<String>) -> StoreFuture<'_, Vec<String>> {
        self.kept.held(ids)
    }

    fn mine(&self) -> StoreFuture<'_, Vec<String>> {
        self.kept.mine()
    }

    fn progress(&self, seen: Vec<(String, u64)>) -> StoreFuture<'_, Vec<TaskRecord>> {
        self.kept.progress(seen)
    }

    fn ask_cancel(&self, id: String) -> StoreFuture<'_, ()> {
        self.kept.ask_cancel(id)
    }

    fn cancel_asked(&self) -> StoreFuture<'_, Vec<String>> {
        self.kept.cancel_asked()
    }

    fn list(&self, query: TaskQuery) -> StoreFuture<'_, TaskPage> {
        self.kept.list(query)
    }

    fn events(&self, id: String, sequence: u64, limit: u32) -> StoreFuture<'_, Vec<TaskEvent>> {
        self.kept.events(id, sequence, limit)
    }

    fn put_push(&self, config: TaskPushNotificationConfig) -> StoreFuture<'_, ()> {
        self.kept.put_push(config)
    }

    fn pushes(&self, task_id: String) -> StoreFuture<'_, Vec<TaskPushNotificationConfig>> {
        self.kept.pushes(task_id)
    }

    fn delete_push(&self, task_id: String, id: String) -> StoreFuture<'_, ()> {
        self.kept.delete_push(task_id, id)
    }

    fn due_deliveries(
        &self,
        now: Timestamp,
        after: i64,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Delivery>> {
        match fails(&self.failing_looks) {
            true => failure(),
            false => self.kept.due_deliveries(now, after, limit),
        }
    }

    fn next_delivery(&self) -> StoreFuture<'_, Option<Timestamp>> {
        self.kept.next_delivery()
    }

    fn finish_delivery(&self, id: i64) -> StoreFuture<'_, ()> {
        match fails(&self.failing_finishes) {
            true => failure(),
            false => self.kept.finish_delivery(id),
        }
    }

    fn delay_delivery(&self, id: i64, not_before: Timestamp) -> StoreFuture<'_, ()> {
        self.kept.delay_delivery(id, not_before)
    }

    fn expire(&self, expiry: Expiry, limit: u32) -> StoreFuture<'_, u64> {
        self.kept.expire(expiry, limit)
    }
}

fn fails(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn failure<T: Send + 'static>() -> StoreFuture<'static, T> {
    Box::pin(async { Err(TaskStoreError::Unavailable("as told".into())) })
}

/// A served agent.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) script: Arc<Script>,
    pub(crate) server: Server,
    shutdown: CancellationToken,
    tracker: TaskTracker,
    http: reqwest::Client,
}

impl Served {
    pub(crate) async fn new() -> Self {
        Self::with(memory()).await
    }

    /// A server that has not taken up its unfinished tasks yet.
    pub(crate) async fn with(tasks: Arc<dyn TaskStore>) -> Self {
        Self::configured(tasks, |_, _| ()).await
    }

    /// The same with another card, or other bounds.
    pub(crate) async fn configured(
        tasks: Arc<dyn TaskStore>,
        configure: impl FnOnce(&mut AgentCard, &mut ServerOptions),
    ) -> Self {
        let time = || "2026-01-01T00:00:00Z".parse().unwrap();
        Self::timed(tasks, Arc::new(time), configure).await
    }

    /// The same with a clock of the test's own.
    pub(crate) async fn timed(
        tasks: Arc<dyn TaskStore>,
        time: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        configure: impl FnOnce(&mut AgentCard, &mut ServerOptions),
    ) -> Self {
        let (script, shutdown, tracker) =
            (Arc::new(Script::default()), CancellationToken::new(), TaskTracker::new());
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let ids = || Uuid::from_u128(u128::from(NEXT.fetch_add(1, Ordering::SeqCst)));
        let host = Host::new(time, Arc::new(ids), tracker.clone(), shutdown.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mut card, mut options) = (card(address), ServerOptions::default());
        configure(&mut card, &mut options);
        let server = Server::new(&card, script.clone(), tasks, &host, options);
        let (routes, stop) = (server.router(), shutdown.clone());
        tracker.spawn(async move {
            let serving = axum::serve(listener, routes);
            serving.with_graceful_shutdown(stop.cancelled_owned()).await.unwrap();
        });
        Self { address, script, server, shutdown, tracker, http: reqwest::Client::new() }
    }

    /// Ends the process: what runs is dropped into its store.
    pub(crate) async fn shut_down(&self) {
        self.shutdown.cancel();
        self.tracker.close();
        tokio::time::timeout(PATIENCE, self.tracker.wait()).await.unwrap();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(self.url(path)).timeout(PATIENCE)
    }

    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path)).timeout(PATIENCE)
    }

    /// A POST to the endpoint with the version header and JSON content type.
    pub(crate) fn post(&self, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.bare_post(body).header("A2A-Version", "1.0")
    }

    pub(crate) fn bare_post(&self, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        let request = self.http.post(self.url("/a2a")).timeout(PATIENCE);
        request.header("content-type", "application/json").body(body)
    }

    /// The answer to one call, whole.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.post(body.to_string()).send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn result(&self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    pub(crate) async fn error(&self, method: &str, params: Value) -> (i64, String) {
        error_of(&self.call(method, params).await)
    }

    /// Sends a text and waits until its task is settled.
    pub(crate) async fn send(&self, text: &str) -> Value {
        self.result("SendMessage", message(text)).await["task"].clone()
    }

    /// Sends a text and returns at once.
    pub(crate) async fn send_only(&self, text: &str) -> Value {
        let mut params = message(text);
        params["configuration"] = json!({"returnImmediately": true});
        self.result("SendMessage", params).await["task"].clone()
    }

    pub(crate) async fn task(&self, task: &Value) -> Value {
        self.result("GetTask", json!({"id": task["id"]})).await
    }
}

pub(crate) fn memory() -> Arc<dyn TaskStore> {
    Arc::new(MemoryTaskStore::default())
}

/// Parameters of SendMessage.
pub(crate) fn message(text: &str) -> Value {
    json!({"message": {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": text}]}})
}

/// The next message of a task.
pub(crate) fn turn(task: &Value, text: &str) -> Value {
    let mut params = message(text);
    params["message"]["taskId"] = task["id"].clone();
    params["message"]["messageId"] = json!("m-2");
    params
}

pub(crate) fn error_of(answer: &Value) -> (i64, String) {
    let error = answer.get("error").unwrap_or_else(|| panic!("no error: {answer}"));
    (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
}

pub(crate) fn state(task: &Value) -> &str {
    task["status"]["state"].as_str().unwrap()
}

fn card(address: SocketAddr) -> AgentCard {
    AgentCard {
        name: "script".into(),
        description: "does what it is told".into(),
        supported_interfaces: [("JSONRPC", "/a2a"), ("HTTP+JSON", "/a2a/v1")]
            .map(|(binding, path)| AgentInterface {
                url: format!("http://{address}{path}"),
                protocol_binding: binding.into(),
                tenant: String::new(),
                protocol_version: "1.0".into(),
                ..AgentInterface::default()
            })
            .to_vec(),
        provider: None,
        version: "1".into(),
        documentation_url: None,
        capabilities: AgentCapabilities { streaming: Some(true), ..AgentCapabilities::default() },
        security_schemes: [].into(),
        security_requirements: Vec::new(),
        default_input_modes: vec!["text/plain".into()],
        default_output_modes: vec!["text/plain".into()],
        skills: Vec::new(),
        icon_url: None,
        signatures: Vec::new(),
        ..Default::default()
    }
}
