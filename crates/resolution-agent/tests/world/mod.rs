//! A small world behind both tools: one database whose pool is too small. Time is a manual clock
//! that moves a little whenever the test looks at its task, so nothing here sleeps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_types::mcp::deployment::{
    self, Change, ChangeRequest, ChangeState, Difference, Inverse, StatusInput, StatusOutput,
    TargetStatus, canonical_arguments,
};
use a2a_types::mcp::metrics::{
    self, Point, QueryInput, QueryOutput, QueryRangeInput, QueryRangeOutput, Sample, Series,
};
use a2a_types::mcp::{TimeRange, ToolDefinition};
use a2a_types::{Message, Part, Role, Task, TaskStore};
use incident::{Outcome, Payload, Plan, TimelineEntry};
use jiff::Timestamp;
use resolution_agent::Config;
use rpc::a2a::{Client, ClientOptions, MemoryTaskDatabase, Send};
use rpc::mcp::server::{Access, Tool, ToolError, ToolServer, router};
use serde_json::{Value, json};
use service::{Clock, Ids, ManualClock, Process};
use sha2::{Digest, Sha256};
use store::{MemoryDatabase, OpenOptions, Replica, Store};
use tempfile::TempDir;
use tokio::sync::Notify;

pub(crate) const TARGET: &str = "db-server-01";

/// How the world answers, and what was done to it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) pool: i64,
    /// A larger pool ends the timeouts.
    pub(crate) fix_works: bool,
    /// A larger pool makes requests fail.
    pub(crate) fix_hurts: bool,
    pub(crate) undo_fails: bool,
    pub(crate) step_fails: bool,
    /// Metrics of the app are not there.
    pub(crate) app_vanished: bool,
    /// Before the act the share of good answers went down to this now and then; it does so again
    /// after the undo.
    pub(crate) lowest_share: Option<f64>,
    /// The symptom heals without anybody's doing.
    pub(crate) healed: bool,
    /// A file made when a step is carried out.
    pub(crate) touch: Option<PathBuf>,
    /// Metrics of a raised pool are answered for this time, whatever was asked for.
    pub(crate) answers_of: Option<Timestamp>,
    /// Steps are turned away, as while another change runs.
    pub(crate) is_busy: bool,
    pub(crate) turned_away: u32,
    /// Calls of this action are held until `World::answer`: before or after their effect.
    pub(crate) hold: Option<(&'static str, When)>,
    /// Calls that changed something, by action.
    pub(crate) acts: Vec<String>,
    /// Calls that are or were held.
    pub(crate) held: u32,
    /// The next call is cut off: its change has no end, and its executor has ended for certain.
    pub(crate) cut_off: Option<CutOff>,
    /// And every other step too; an undo never is.
    pub(crate) cut_off_always: bool,
    /// The greatest fencing token seen, and how many calls had a smaller one.
    pub(crate) fence: i64,
    pub(crate) fenced_out: u32,
    changes: Vec<(String, Change)>,
}

/// What an interrupted change has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutOff {
    Nothing,
    Everything,
    /// Everything, and nobody saw it.
    Unseen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    BeforeEffect,
    AfterEffect,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) answer: Arc<Notify>,
    pub(crate) directory: Arc<TempDir>,
    /// Outlives the agents that use it.
    pub(crate) database: MemoryDatabase,
    pub(crate) tasks: MemoryTaskDatabase,
    process: Process,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::starting_at("2026-01-01T12:00:00Z".parse().unwrap());
        let state = State {
            pool: 2,
            fix_works: true,
            fix_hurts: false,
            undo_fails: false,
            step_fails: false,
            app_vanished: false,
            lowest_share: None,
            healed: false,
            touch: None,
            answers_of: None,
            is_busy: false,
            turned_away: 0,
            hold: None,
            held: 0,
            cut_off: None,
            cut_off_always: false,
            fence: 0,
            fenced_out: 0,
            acts: Vec::new(),
            changes: Vec::new(),
        };
        let process = Process::with("fake-tools", Clock::Manual(clock.clone()), Ids::seeded(1));
        Self {
            clock,
            state: Arc::new(Mutex::new(state)),
            answer: Arc::default(),
            directory: Arc::new(tempfile::tempdir().unwrap()),
            database: MemoryDatabase::new(),
            tasks: MemoryTaskDatabase::default(),
            process,
        }
    }

    pub(crate) fn with(change: impl FnOnce(&mut State)) -> Self {
        let world = Self::new();
        change(&mut world.state.lock().unwrap());
        world
    }

    pub(crate) fn kill_switch(&self) -> PathBuf {
        self.directory.path().join("kill-switch")
    }

    pub(crate) fn acts(&self) -> Vec<String> {
        self.state.lock().unwrap().acts.clone()
    }

    pub(crate) fn is_holding(&self) -> bool {
        self.state.lock().unwrap().held > 0
    }

    pub(crate) fn pool(&self) -> i64 {
        self.state.lock().unwrap().pool
    }

    /// A configuration of the agent in this world, under the shipped policy with texts replaced.
    pub(crate) async fn config(&self, policy: &[(&str, &str)]) -> Config {
        let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config");
        let mut text = std::fs::read_to_string(deployed.join("policy.yaml")).unwrap();
        let switch = self.kill_switch().display().to_string();
        for (from, to) in policy.iter().copied().chain([("data/kill-switch", switch.as_str())]) {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let policy = self.directory.path().join("policy.yaml");
        std::fs::write(&policy, text).unwrap();
        Config {
            listen: service::own_loopback_address(),
            database: self.directory.path().join("agent.db").display().to_string(),
            runbooks: deployed.join("runbooks"),
            policy,
            system_monitor_url: self.serve(metrics::SERVER, self.monitor_tools()).await,
            deployment_system_url: self.serve(deployment::SERVER, self.deployment_tools()).await,
            scrape_interval_seconds: 1.0,
            step_seconds: 60,
            query_seconds: 60,
            ..Config::default()
        }
    }

    /// The database, as a replica of the agent sees it.
    pub(crate) fn store(&self, replica: &str) -> Arc<dyn Store> {
        let clock = self.clock.clone();
        let options = OpenOptions {
            replica: Replica { id: replica.to_owned(), host: String::new(), pid: 0, start_time: 0 },
            lease: Duration::from_secs(86_400),
            is_dead: Arc::new(|_| false),
            time: Arc::new(move || clock.now()),
        };
        self.database.open(resolution_agent::NAME, options)
    }

    fn tasks(&self, replica: &str) -> Arc<dyn TaskStore> {
        let clock = self.clock.clone();
        let lease = Duration::from_secs(86_400);
        Arc::new(self.tasks.open(replica, lease, Arc::new(move || clock.now())))
    }

    async fn serve(&self, name: &'static str, tools: Vec<Tool>) -> url::Url {
        let server =
            ToolServer { name, version: "0", instructions: "fake", tools, concurrent_calls: 64 };
        let routes = router(server, Access::default()).unwrap();
        let address =
            service::serve(&self.process, "127.0.0.1:0", "the test", routes).await.unwrap();
        format!("http://{address}").parse().unwrap()
    }

    fn monitor_tools(&self) -> Vec<Tool> {
        let world = self.clone();
        let query = definition(&metrics::TOOLS, metrics::QUERY);
        let range = definition(&metrics::TOOLS, metrics::QUERY_RANGE);
        let past = self.clone();
        vec![
            Tool::new(query, move |input: QueryInput, _| {
                let world = world.clone();
                async move { Ok(world.query(input)) }
            }),
            Tool::new(range, move |input: QueryRangeInput, _| {
                let world = past.clone();
                async move { Ok(world.query_range(input)) }
            }),
        ]
    }

    fn query_range(&self, input: QueryRangeInput) -> QueryRangeOutput {
        let state = self.state.lock().unwrap();
        let is_share = input.query.contains("http_requests_total");
        let lowest = state.lowest_share.filter(|_| is_share);
        let values = [lowest, state.read(&input.query)].into_iter().flatten();
        let point = |value| Point { time: input.end, value: Some(value) };
        let series = Series { labels: BTreeMap::new(), points: values.map(point).collect() };
        QueryRangeOutput {
            range: TimeRange { start: input.start, end: input.end },
            query: input.query,
            step_seconds: input.step_seconds,
            series: vec![series],
            newest: Some(input.end),
            warnings: Vec::new(),
        }
    }

    fn query(&self, input: QueryInput) -> QueryOutput {
        let time = input.time.unwrap();
        let scraped = Timestamp::from_second(time.as_second()).unwrap();
        let state = self.state.lock().unwrap();
        let value = state.read(&input.query);
        let end = state.answers_of.filter(|_| state.is_raised()).unwrap_or(time);
        drop(state);
        let sample = |value| Sample { labels: BTreeMap::new(), time, value: Some(value) };
        QueryOutput {
            query: input.query,
            range: TimeRange { start: end, end },
            samples: value.map(sample).into_iter().collect(),
            newest: value.map(|_| scraped),
            warnings: Vec::new(),
        }
    }

    fn deployment_tools(&self) -> Vec<Tool> {
        let names = [
            deployment::RUN_PLAYBOOK,
            deployment::RESTART_SERVICE,
            deployment::SCALE,
            deployment::UPDATE_CONFIG,
            deployment::ROLLBACK,
        ];
        let mut tools: Vec<Tool> = names.into_iter().map(|name| self.change_tool(name)).collect();
        let world = self.clone();
        let status = definition(&deployment::TOOLS, deployment::STATUS);
        tools.push(Tool::new(status, move |input: StatusInput, _| {
            let world = world.clone();
            async move {
                world.wait(deployment::STATUS, When::BeforeEffect).await;
                world.status(input)
            }
        }));
        tools
    }

    fn change_tool(&self, action: &'static str) -> Tool {
        let world = self.clone();
        let definition = definition(&deployment::TOOLS, action);
        Tool::new(definition, move |request: ChangeRequest, _| {
            let world = world.clone();
            async move {
                world.wait(action, When::BeforeEffect).await;
                let change = world.change(action, request)?;
                world.wait(action, When::AfterEffect).await;
                Ok(change)
            }
        })
    }

    async fn wait(&self, action: &str, when: When) {
        let is_held = {
            let mut state = self.state.lock().unwrap();
            let is_held = state.hold == Some((action, when));
            state.held += u32::from(is_held);
            is_held
        };
        if is_held {
            self.answer.notified().await;
        }
    }

    fn status(&self, input: StatusInput) -> Result<StatusOutput, ToolError> {
        let mut state = self.state.lock().unwrap();
        state.check_fence(input.fencing_token)?;
        let key = input.idempotency_key.unwrap_or_default();
        let changes = state.changes.iter().filter(|(known, _)| *known == key);
        Ok(StatusOutput {
            time: self.clock.now(),
            target: input.target.map(|target| TargetStatus {
                service: target.clone(),
                target,
                healthy: true,
                state: Value::Null,
                actions: Vec::new(),
                closed: None,
            }),
            changes: changes.map(|(_, change)| change.clone()).collect(),
        })
    }

    /// Carries a change out as the real tool does: grant checked, one effect per key, recorded.
    fn change(&self, action: &str, request: ChangeRequest) -> Result<Change, ToolError> {
        let now = self.clock.now();
        check_grant(action, &request, now)?;
        let mut state = self.state.lock().unwrap();
        state.check_fence(request.fencing_token)?;
        if let Some((_, known)) =
            state.changes.iter().find(|(key, _)| *key == request.idempotency_key)
        {
            return Ok(Change { state: ChangeState::AlreadyDone, ..known.clone() });
        }
        if let Some(path) = &state.touch {
            std::fs::write(path, "").unwrap();
        }
        if state.is_busy {
            state.turned_away += 1;
            return Err(ToolError::Unavailable("another change is in progress".into()));
        }
        state.acts.push(action.to_owned());
        let before = state.pool;
        let is_undo = action == deployment::ROLLBACK;
        let cut_off = match (is_undo, state.cut_off_always) {
            (true, _) => None,
            (false, true) => state.cut_off,
            (false, false) => state.cut_off.take(),
        };
        let failed = if is_undo { state.undo_fails } else { state.step_fails };
        if !failed && cut_off != Some(CutOff::Nothing) {
            state.pool = match is_undo {
                true => 2,
                false => request
                    .parameters
                    .get("variables")
                    .and_then(|variables| variables["connection_pool_size"].as_i64())
                    .unwrap_or(before),
            };
        }
        let pool = |size: i64| json!({"connection_pool_size": size});
        let diff = (before != state.pool).then(|| Difference {
            path: "connection_pool_size".into(),
            before: before.into(),
            after: state.pool.into(),
        });
        let change = Change {
            change_id: Some(format!("chg_{}", state.changes.len())),
            target: request.target.clone(),
            action: action.into(),
            state: match (failed, cut_off) {
                (_, Some(_)) => ChangeState::Unknown,
                (true, None) => ChangeState::Failed,
                (false, None) => ChangeState::Done,
            },
            diff: diff.into_iter().collect(),
            before: pool(before),
            after: match cut_off {
                Some(CutOff::Unseen) => Value::Null,
                _ => pool(state.pool),
            },
            inverse: (!is_undo).then(|| Inverse {
                action: deployment::UPDATE_CONFIG.into(),
                target: request.target.clone(),
                parameters: serde_json::Map::new(),
            }),
            no_inverse: None,
            started_at: now,
            finished_at: Some(now),
            output: String::new(),
            error: failed.then(|| "the executor said no".into()),
        };
        state.changes.push((request.idempotency_key, change.clone()));
        Ok(change)
    }
}

impl State {
    fn check_fence(&mut self, token: Option<i64>) -> Result<(), ToolError> {
        match token {
            Some(token) if token < self.fence => {
                self.fenced_out += 1;
                let why = format!("{token} is smaller than {}", self.fence);
                return Err(ToolError::refused("fencing_token", why));
            }
            Some(token) => self.fence = token,
            None => {}
        }
        Ok(())
    }

    fn is_raised(&self) -> bool {
        self.pool >= 6
    }

    fn read(&self, query: &str) -> Option<f64> {
        let is_fixed = self.healed || (self.is_raised() && self.fix_works);
        if query.contains("db_connection_timeout_total") {
            return Some(if is_fixed { 0.0 } else { 9.0 });
        }
        if query.contains("db_connection_pool_size") {
            return Some(self.pool as f64);
        }
        assert!(query.contains("http_requests_total"), "{query}");
        if self.app_vanished && query.contains("app-server-01") && self.is_raised() {
            return None;
        }
        Some(match (self.fix_hurts && self.is_raised(), is_fixed) {
            (true, _) => 0.3,
            (false, true) => 1.0,
            (false, false) if !self.acts.is_empty() => self.lowest_share.unwrap_or(0.7),
            (false, false) => 0.7,
        })
    }
}

fn check_grant(action: &str, request: &ChangeRequest, now: Timestamp) -> Result<(), ToolError> {
    let grant = request.grant.as_ref().ok_or_else(|| ToolError::refused("grant", "missing"))?;
    let arguments = canonical_arguments(action, &request.target, &request.parameters);
    let is_good = grant.arguments_sha256 == hex::encode(Sha256::digest(arguments))
        && grant.target == request.target
        && grant.principal == "resolution-agent"
        && grant.expires_at > now
        && request.deadline > now;
    if is_good { Ok(()) } else { Err(ToolError::refused("grant", "does not fit")) }
}

fn definition<'a>(tools: &'a [ToolDefinition], name: &str) -> &'a ToolDefinition {
    tools.iter().find(|tool| tool.name == name).unwrap()
}

/// The agent in the world, and its caller.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) client: Client,
    pub(crate) process: Process,
    clock: ManualClock,
    pub(crate) address: String,
}

impl Agent {
    pub(crate) async fn start(world: &World, config: Config) -> Self {
        Self::start_as(world, config, "first").await
    }

    /// One of several replicas, which share database and tasks.
    pub(crate) async fn start_as(world: &World, config: Config, replica: &str) -> Self {
        let process =
            Process::with("resolution-agent", Clock::Manual(world.clock.clone()), Ids::default());
        let address = format!("http://{}", config.listen);
        let base = address.parse().unwrap();
        let (store, tasks) = (world.store(replica), world.tasks(replica));
        resolution_agent::start_with(config, process.clone(), store, tasks).await.unwrap();
        // It only ends what hangs: time is the test's, and not the caller's.
        let options = ClientOptions { deadline: Duration::from_secs(120), ..Default::default() };
        let client = Client::new(base, options).unwrap();
        Self { client, process, clock: world.clock.clone(), address }
    }

    pub(crate) async fn send(&self, parts: Vec<Part>) -> Task {
        self.turn(Message::new("m1", Role::User, parts)).await
    }

    pub(crate) async fn turn(&self, message: Message) -> Task {
        let send = Send { message, idempotency_key: None, wait: None };
        self.client.send(send).await.unwrap().into_task().unwrap()
    }

    /// Lets time pass until `is_so`; each look at the task is a twentieth of a second.
    pub(crate) async fn until(&self, id: &str, is_so: impl Fn(&Task) -> bool) -> Task {
        for _ in 0..20_000 {
            let task = self.client.task(id).await.unwrap();
            if is_so(&task) {
                return task;
            }
            self.clock.advance(Duration::from_millis(50));
        }
        panic!("{:?}", self.client.task(id).await)
    }

    pub(crate) async fn settled(&self, id: &str) -> Task {
        self.until(id, |task| task.status.state.is_settled()).await
    }

    /// Sends the usual request and waits for its outcome.
    pub(crate) async fn resolve(&self) -> (Task, Outcome) {
        let task = self.send(request()).await;
        let task = self.settled(&task.id).await;
        let outcome = outcome(&task);
        (task, outcome)
    }
}

pub(crate) fn outcome(task: &Task) -> Outcome {
    match payload(task, "outcome") {
        Some(Payload::Outcome(outcome)) => outcome,
        other => panic!("{other:?} {:?}", task.status),
    }
}

pub(crate) fn plan(task: &Task) -> Plan {
    match payload(task, "plan") {
        Some(Payload::Plan(plan)) => plan,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn entries(task: &Task) -> Vec<TimelineEntry> {
    match payload(task, "progress") {
        Some(Payload::Progress { entries }) => entries,
        _ => Vec::new(),
    }
}

/// The kinds of the entries, as they are written.
pub(crate) fn kinds(task: &Task) -> Vec<String> {
    let name = |entry: TimelineEntry| serde_json::to_value(entry.kind).unwrap();
    entries(task).into_iter().map(name).map(|kind| kind.as_str().unwrap().to_owned()).collect()
}

fn payload(task: &Task, id: &str) -> Option<Payload> {
    rpc::payloads(&task.artifact(id)?.parts).unwrap().pop()
}

pub(crate) fn brief() -> Value {
    json!({
        "type": "Brief",
        "incident": {
            "id": "inc_00000000000000000000000000000007", "title": "timeouts",
            "severity": "critical", "opened_at": "2026-01-01T11:59:00Z",
        },
        "alerts": [{
            "source": "alertmanager", "fingerprint": "f", "status": "firing",
            "name": "DatabaseConnectionTimeout", "severity": "critical", "labels": {},
            "annotations": {}, "starts_at": "2026-01-01T11:59:00Z",
        }],
    })
}

pub(crate) fn diagnosis() -> Value {
    let evidence = |query: &str| {
        json!({
            "name": query, "tool": "system-monitor.query", "query": query, "value": 1,
            "start": "2026-01-01T11:59:00Z", "end": "2026-01-01T12:00:00Z", "summary": "seen",
        })
    };
    json!({
        "type": "Diagnosis",
        "incident_id": "inc_00000000000000000000000000000007",
        "cause": "db.connection_pool_exhausted",
        "summary": "the pool is exhausted",
        "target": TARGET,
        "confidence": 0.9,
        "evidence": [evidence("timeouts"), evidence("pool size")],
        "runbooks": ["raise-connection-pool"],
        "facts": {"pool_size": 2},
        "started_at": "2026-01-01T11:59:59Z",
        "finished_at": "2026-01-01T12:00:00Z",
    })
}

pub(crate) fn request() -> Vec<Part> {
    vec![Part::data(brief()), Part::data(diagnosis())]
}
