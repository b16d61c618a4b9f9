//! The agent on a real socket, between a client and two tools that answer what a test says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_types::mcp::TimeRange;
use a2a_types::mcp::logs::{self, LogLine, SearchInput, SearchOutput};
use a2a_types::mcp::metrics::{
    self, Point, QueryInput, QueryOutput, QueryRangeInput, QueryRangeOutput, Sample, Series,
};
use a2a_types::{Message, Part, Role, Task, TaskStore};
use diagnostic_agent::{Config, KnownTarget};
use incident::{
    Alert, AlertStatus, Brief, Diagnosis, IncidentId, IncidentSummary, Payload, Severity,
};
use jiff::{SignedDuration, Timestamp};
use rpc::a2a::{Client, ClientOptions, MemoryTaskStore, Send};
use rpc::mcp::server::{Access, CallContext, Tool, ToolError, ToolServer};
use service::{Process, Running};
use tokio::sync::Barrier;
use url::Url;

/// What the tools answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// By a word of the query.
    pub(crate) metrics: BTreeMap<&'static str, Vec<Reading>>,
    /// Lines of every log.
    pub(crate) lines: Vec<&'static str>,
    /// Age of the newest sample.
    pub(crate) age: SignedDuration,
    /// Queries with this word are never answered.
    pub(crate) silent: Option<&'static str>,
    /// No query is answered before so many are there.
    pub(crate) together: Option<Arc<Barrier>>,
    /// Every query that came.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) label: (&'static str, &'static str),
    pub(crate) value: Option<f64>,
}

impl Facts {
    pub(crate) fn metric(mut self, word: &'static str, value: f64) -> Self {
        self.metrics.insert(word, vec![Reading { label: ("server", "a"), value: Some(value) }]);
        self
    }

    pub(crate) fn without(mut self, word: &'static str) -> Self {
        self.metrics.remove(word);
        self
    }

    pub(crate) fn lines(mut self, line: &'static str, count: usize) -> Self {
        self.lines.extend(std::iter::repeat_n(line, count));
        self
    }

    /// A pool of two under load.
    pub(crate) fn of_database_timeout() -> Self {
        Self::default()
            .metric("db_connection_timeout_total", 12.5)
            .metric("db_connections_active", 2.0)
            .metric("db_connection_pool_size", 2.0)
            .metric("db_connection_pool_pending", 9.0)
            .lines("pool connection acquire timed out after 250 ms (active=2 size=2 waiting=9)", 40)
    }

    fn readings(&self, query: &str) -> &[Reading] {
        let found = self.metrics.iter().find(|(word, _)| query.contains(**word));
        found.map_or(&[], |(_, readings)| readings)
    }

    async fn arrive(&self, query: &str) {
        self.asked.lock().unwrap().push(query.to_owned());
        if self.silent.is_some_and(|word| query.contains(word)) {
            std::future::pending::<()>().await;
        }
        if let Some(together) = &self.together {
            together.wait().await;
        }
    }

    async fn query(self, input: QueryInput, _: CallContext) -> Result<QueryOutput, ToolError> {
        self.arrive(&input.query).await;
        let time = input.time.unwrap();
        let sample = |reading: &Reading| Sample {
            labels: [(reading.label.0.to_owned(), reading.label.1.to_owned())].into(),
            time,
            value: reading.value,
        };
        let samples: Vec<Sample> = self.readings(&input.query).iter().map(sample).collect();
        let newest = (!samples.is_empty()).then(|| time - self.age);
        let range = TimeRange { start: time, end: time };
        Ok(QueryOutput { query: input.query, range, samples, newest, warnings: Vec::new() })
    }

    async fn range(
        self,
        input: QueryRangeInput,
        _: CallContext,
    ) -> Result<QueryRangeOutput, ToolError> {
        self.arrive(&input.query).await;
        let series = |reading: &Reading| Series {
            labels: BTreeMap::new(),
            points: vec![
                Point { time: input.start, value: Some(10.0) },
                Point { time: input.end, value: reading.value },
            ],
        };
        let series: Vec<Series> = self.readings(&input.query).iter().map(series).collect();
        let newest = (!series.is_empty()).then(|| input.end - self.age);
        Ok(QueryRangeOutput {
            query: input.query,
            range: TimeRange { start: input.start, end: input.end },
            step_seconds: input.step_seconds,
            series,
            newest,
            warnings: Vec::new(),
        })
    }

    async fn search(self, input: SearchInput, _: CallContext) -> Result<SearchOutput, ToolError> {
        let pattern = regex::Regex::new(&input.pattern.unwrap()).unwrap();
        self.arrive(pattern.as_str()).await;
        let (start, end) = (input.start.unwrap(), input.end.unwrap());
        let line = |text: &&str| LogLine {
            time: Some(end),
            source: input.source.clone().unwrap(),
            level: input.min_level,
            labels: BTreeMap::new(),
            message: (*text).to_owned(),
        };
        let lines = self.lines.iter().filter(|text| pattern.is_match(text)).map(line).collect();
        Ok(SearchOutput {
            query: pattern.as_str().to_owned(),
            range: TimeRange { start, end },
            lines,
            truncated: false,
            truncated_reason: None,
            sources: vec![input.source.unwrap()],
            scanned_bytes: 0,
            newest: Some(end),
        })
    }
}

pub(crate) struct World {
    pub(crate) process: Process,
    pub(crate) client: Client,
}

/// Starts tools and agent; `change` may alter the agent's settings.
pub(crate) async fn start(facts: Facts, change: impl FnOnce(&mut Config)) -> World {
    start_on(Arc::new(MemoryTaskStore::default()), facts, change).await
}

/// The same as one of several replicas, which share their tasks.
pub(crate) async fn start_on(
    tasks: Arc<dyn TaskStore>,
    facts: Facts,
    change: impl FnOnce(&mut Config),
) -> World {
    let process = Process::new("diagnostic-agent");
    let mut config = Config {
        listen: service::own_loopback_address(),
        rules: deployed("rules"),
        targets: vec![KnownTarget { name: "db-server-01".into(), service: "database".into() }],
        ..Config::default()
    };
    config.system_monitor.url = serve(&process, monitor(facts.clone())).await;
    config.log_analyzer.url = serve(&process, analyzer(facts)).await;
    change(&mut config);
    let started = match config.database {
        Some(_) => diagnostic_agent::start(config, process.clone()).await,
        None => diagnostic_agent::start_with(config, process.clone(), tasks).await,
    };
    let Running { address } = started.unwrap();
    let base = Url::parse(&format!("http://{address}")).unwrap();
    let client = Client::new(base, ClientOptions::default()).unwrap();
    World { process, client }
}

impl World {
    pub(crate) async fn send(&self, parts: Vec<Part>) -> Task {
        self.send_and_wait(parts, Some(Duration::from_secs(120))).await
    }

    pub(crate) async fn send_and_wait(&self, parts: Vec<Part>, wait: Option<Duration>) -> Task {
        let message = Message::new("message", Role::User, parts);
        self.client
            .send(Send { message, idempotency_key: None, wait })
            .await
            .unwrap()
            .into_task()
            .unwrap()
    }

    pub(crate) async fn diagnose(&self, brief: Brief) -> Diagnosis {
        diagnosis_of(&self.send(vec![rpc::part(&Payload::Brief(brief))]).await)
    }

    pub(crate) fn brief(&self, alerts: &[&str]) -> Brief {
        let now = self.process.now();
        Brief {
            incident: IncidentSummary {
                id: IncidentId::new(self.process.new_id()),
                title: "Requests time out".into(),
                description: String::new(),
                severity: Severity::Critical,
                affected_systems: vec!["db-server-01".into()],
                tags: Vec::new(),
                opened_at: now,
            },
            alerts: alerts.iter().map(|name| alert(name, "db-server-01", now)).collect(),
            timeline: Vec::new(),
        }
    }

    pub(crate) async fn stop(self) {
        self.process.shut_down(Duration::from_secs(5)).await.unwrap();
    }
}

pub(crate) fn alert(name: &str, server: &str, now: Timestamp) -> Alert {
    Alert {
        source: "alertmanager".into(),
        fingerprint: name.into(),
        status: AlertStatus::Firing,
        name: name.into(),
        severity: Severity::Critical,
        labels: [("server".to_owned(), server.to_owned())].into(),
        annotations: BTreeMap::new(),
        starts_at: now - SignedDuration::from_secs(5),
        is_start_known: true,
        ends_at: None,
        generator_url: String::new(),
    }
}

pub(crate) fn diagnosis_of(task: &Task) -> Diagnosis {
    let artifact = task.artifact(diagnostic_agent::ARTIFACT).unwrap_or_else(|| panic!("{task:?}"));
    match rpc::payloads(&artifact.parts).unwrap().remove(0) {
        Payload::Diagnosis(diagnosis) => diagnosis,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config").join(path)
}

async fn serve(process: &Process, server: ToolServer) -> Url {
    let routes = rpc::mcp::server::router(server, Access::default()).unwrap();
    let address = service::serve(process, "127.0.0.1:0", "test", routes).await.unwrap();
    Url::parse(&format!("http://{address}")).unwrap()
}

fn monitor(facts: Facts) -> ToolServer {
    let [query, range, ..] = metrics::TOOLS;
    let other = facts.clone();
    ToolServer {
        name: metrics::SERVER,
        version: "0",
        instructions: "",
        tools: vec![
            Tool::new(&query, move |input, call| facts.clone().query(input, call)),
            Tool::new(&range, move |input, call| other.clone().range(input, call)),
        ],
        concurrent_calls: 64,
    }
}

fn analyzer(facts: Facts) -> ToolServer {
    let [search, _] = logs::TOOLS;
    ToolServer {
        name: logs::SERVER,
        version: "0",
        instructions: "",
        tools: vec![Tool::new(&search, move |input, call| facts.clone().search(input, call))],
        concurrent_calls: 64,
    }
}
