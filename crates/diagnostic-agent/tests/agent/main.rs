//! The agent as its callers see it: over A2A, with tools behind MCP, on real sockets.

#[expect(clippy::unwrap_used, reason = "helpers of tests")]
mod world;

use std::sync::Arc;
use std::time::Duration;

use a2a_types::{Part, TaskState, TaskStore};
use diagnostic_agent::Config;
use incident::AlertStatus;
use jiff::{SignedDuration, Timestamp};
use rpc::a2a::MemoryTaskDatabase;
use serde_json::{Value, json};
use service::Process;
use tokio::sync::Barrier;
use world::{Facts, Reading, diagnosis_of, start, start_on};

const TIMEOUT: &str = "DatabaseConnectionTimeout";

#[tokio::test]
async fn brief_becomes_a_diagnosis_with_its_evidence() {
    let world = start(Facts::of_database_timeout(), |_| {}).await;
    let brief = world.brief(&[TIMEOUT]);
    let task = world.send(vec![rpc::part(&incident::Payload::Brief(brief.clone()))]).await;
    assert_eq!(task.status.state, TaskState::Completed);
    let diagnosis = diagnosis_of(&task);
    assert_eq!(diagnosis.incident_id, brief.incident.id);
    assert_eq!(diagnosis.cause.as_deref(), Some("db.connection_pool_exhausted"));
    assert_eq!(diagnosis.target.as_deref(), Some("db-server-01"));
    assert_eq!(diagnosis.rule.as_deref(), Some("db-connection-pool-exhausted"));
    assert_eq!(diagnosis.confidence.value(), 0.9);
    assert_eq!(diagnosis.runbooks, ["raise-connection-pool"]);
    assert_eq!(diagnosis.facts["pool_size"], json!(2));
    assert_eq!(diagnosis.facts["pool_size_before"], json!(10));
    assert_eq!(
        diagnosis.summary,
        "The connection pool of db-server-01 is exhausted: 2 of 2 connections in use, 9 callers \
         waiting, 12.5 timeouts/s"
    );
    assert!(diagnosis.missing.is_empty(), "{:?}", diagnosis.missing);
    assert!(diagnosis.started_at <= diagnosis.finished_at);
    let rate = diagnosis.evidence.iter().find(|piece| piece.name == "timeouts_rate").unwrap();
    assert_eq!(rate.tool, "system-monitor.query");
    assert_eq!(rate.query, r#"sum(irate(db_connection_timeout_total{server="db-server-01"}[5m]))"#);
    assert_eq!((rate.start, rate.end), (diagnosis.started_at, diagnosis.started_at));
    assert_eq!((&rate.value, rate.unit.as_deref()), (&json!(12.5), Some("{timeouts}/s")));
    let logs = diagnosis.evidence.iter().find(|piece| piece.name == "log_timeouts").unwrap();
    assert_eq!((logs.tool.as_str(), &logs.value), ("log-analyzer.search", &json!(40)));
    assert_eq!(logs.start, brief.alerts[0].starts_at - SignedDuration::from_secs(60));
    let text = task.artifact("diagnosis").unwrap().parts[1].as_text().unwrap();
    assert!(
        text.contains("db.connection_pool_exhausted on db-server-01, confidence 0.90"),
        "{text}"
    );
    world.stop().await;
}

#[tokio::test]
async fn card_names_the_skill_and_where_it_is() {
    let world = start(Facts::default(), |_| {}).await;
    let card = world.client.card().await.unwrap();
    assert_eq!(card.skills[0].id, "diagnose");
    assert!(card.supported_interfaces[0].url.ends_with("/a2a"));
    assert_eq!(card.capabilities.extensions[0].uri, incident::EXTENSION_URI);
    world.stop().await;
}

#[tokio::test]
async fn a_diagnosis_whose_replica_is_gone_is_made_anew_by_another() {
    let database = MemoryTaskDatabase::default();
    let tasks = |replica: &str| -> Arc<dyn TaskStore> {
        let time = Arc::new(|| Timestamp::UNIX_EPOCH);
        Arc::new(database.open(replica, Duration::from_secs(3600), time))
    };
    let stuck =
        Facts { silent: Some("db_connection_pool_pending"), ..Facts::of_database_timeout() };
    let asked = stuck.asked.clone();
    let gone = start_on(tasks("gone"), stuck, |config| config.evidence_deadline_ms = 600_000).await;
    let part = rpc::part(&incident::Payload::Brief(gone.brief(&[TIMEOUT])));
    let begun = gone.send_and_wait(vec![part], None).await;
    while asked.lock().unwrap().len() < 6 {
        tokio::task::yield_now().await;
    }
    database.forget("gone");
    let other = start_on(tasks("other"), Facts::of_database_timeout(), |_| {}).await;
    let mut task = other.client.task(&begun.id).await.unwrap();
    while !task.status.state.is_terminal() {
        task = other.client.task(&begun.id).await.unwrap();
    }
    assert_eq!(task.status.state, TaskState::Completed, "{}", task.status_text());
    assert_eq!(diagnosis_of(&task).cause.as_deref(), Some("db.connection_pool_exhausted"));
    gone.stop().await;
    assert_eq!(other.client.task(&begun.id).await.unwrap(), task, "the frozen one changes nothing");
    other.stop().await;
}

#[tokio::test]
async fn evidence_is_asked_for_in_parallel() {
    let facts = Facts { together: Some(Arc::new(Barrier::new(6))), ..Facts::of_database_timeout() };
    let world = start(facts, |_| {}).await;
    let diagnosis = world.diagnose(world.brief(&[TIMEOUT])).await;
    assert_eq!(diagnosis.evidence.len(), 6);
    assert!(diagnosis.cause.is_some());
    world.stop().await;
}

#[tokio::test]
async fn deadline_leaves_what_was_answered() {
    let facts =
        Facts { silent: Some("db_connection_pool_pending"), ..Facts::of_database_timeout() };
    let world = start(facts, |config| config.evidence_deadline_ms = 500).await;
    let diagnosis = world.diagnose(world.brief(&[TIMEOUT])).await;
    assert_eq!(diagnosis.cause.as_deref(), Some("db.connection_pool_exhausted"));
    assert_eq!(diagnosis.missing.len(), 1);
    assert_eq!(diagnosis.missing[0].name, "pool_waiting");
    assert_eq!(diagnosis.missing[0].why, "no answer within 500 ms");
    assert_eq!(diagnosis.confidence.value(), 0.9 * 5.0 / 6.0);
    assert!(diagnosis.summary.ends_with("(less sure: pool_waiting missing)"));
    world.stop().await;
}

#[tokio::test]
async fn condition_without_its_evidence_is_not_satisfied() {
    let facts = Facts::of_database_timeout().without("db_connection_timeout_total");
    let world = start(facts, |_| {}).await;
    let diagnosis = world.diagnose(world.brief(&[TIMEOUT])).await;
    assert_eq!(diagnosis.cause, None);
    assert_eq!(diagnosis.confidence.value(), 0.0);
    assert_eq!(
        diagnosis.summary,
        "No cause found: the evidence does not show db.connection_pool_exhausted; timeouts_rate \
         missing"
    );
    assert_eq!(diagnosis.missing[0].why, "no data");
    assert_eq!(
        diagnosis.alternatives[0].why_not,
        "db-server-01: `timeouts_rate > 0.2` cannot be told: timeouts_rate is missing"
    );
    assert_eq!(diagnosis.evidence.len(), 5);
    world.stop().await;
}

#[tokio::test]
async fn stale_samples_and_tools_that_are_down_are_missing() {
    let age = SignedDuration::from_secs(31);
    let world = start(Facts { age, ..Facts::of_database_timeout() }, |config| {
        config.log_analyzer.url = "http://127.0.0.1:1".parse().unwrap();
    })
    .await;
    let diagnosis = world.diagnose(world.brief(&[TIMEOUT])).await;
    assert_eq!(diagnosis.cause, None);
    let why = |name: &str| {
        diagnosis.missing.iter().find(|missing| missing.name == name).unwrap().why.clone()
    };
    assert_eq!(why("pool_size"), "stale: the newest sample is 31 s old");
    assert!(why("log_timeouts").starts_with("http://127.0.0.1:1/mcp cannot be reached"));
    world.stop().await;
}

#[tokio::test]
async fn losers_say_why_and_close_calls_are_told() {
    let rules = tempfile::tempdir().unwrap();
    let rule = std::fs::read_to_string(world::deployed("rules/db-connection-pool.yaml")).unwrap();
    let lock = rule
        .replace("db-connection-pool-exhausted", "lock")
        .replace("cause: db.connection_pool_exhausted", "cause: db.lock_contention")
        .replace("prior: 0.9", "prior: 0.88");
    let idle = rule
        .replace("db-connection-pool-exhausted", "idle")
        .replace("cause: db.connection_pool_exhausted", "cause: db.idle")
        .replace("log_timeouts > 3", "log_timeouts < 3.0 * pool_size");
    let idle = idle.split("\ntests:").next().unwrap().to_owned();
    for (name, text) in [("a.yaml", lock), ("b.yaml", rule), ("c.yaml", idle)] {
        std::fs::write(rules.path().join(name), text).unwrap();
    }
    let facts = Facts::of_database_timeout();
    let asked = facts.asked.clone();
    let world = start(facts, |config| config.rules = rules.path().to_owned()).await;
    let diagnosis = world.diagnose(world.brief(&[TIMEOUT])).await;
    assert_eq!(diagnosis.cause.as_deref(), Some("db.connection_pool_exhausted"));
    let told = "; hard to tell from db.lock_contention on db-server-01 (0.88 against 0.90)";
    assert!(diagnosis.summary.ends_with(told), "{}", diagnosis.summary);
    let others: Vec<(&str, f64, &str)> = diagnosis
        .alternatives
        .iter()
        .map(|other| (other.cause.as_str(), rounded(other.confidence), other.why_not.as_str()))
        .collect();
    assert_eq!(
        others,
        [
            (
                "db.lock_contention",
                0.88,
                "db-server-01: holds too, less sure than db.connection_pool_exhausted: 0.88 \
                 against 0.90"
            ),
            (
                "db.idle",
                0.0,
                "db-server-01: `log_timeouts < 3.0 * pool_size` is false (log_timeouts = 40, \
                 pool_size = 2)"
            ),
        ]
    );
    assert_eq!(asked.lock().unwrap().len(), 6, "a query of three rules is asked once");
    world.stop().await;
}

fn rounded(confidence: incident::Confidence) -> f64 {
    (confidence.value() * 1e6).round() / 1e6
}

#[tokio::test]
async fn any_firing_alert_may_be_the_one_and_resolved_ones_are_not() {
    let world = start(Facts::of_database_timeout(), |_| {}).await;
    let diagnosis = world.diagnose(world.brief(&["SomethingElse", TIMEOUT, TIMEOUT])).await;
    assert_eq!(diagnosis.cause.as_deref(), Some("db.connection_pool_exhausted"));
    assert!(diagnosis.alternatives.is_empty());
    let mut brief = world.brief(&[TIMEOUT]);
    brief.alerts[0].status = AlertStatus::Resolved;
    let diagnosis = world.diagnose(brief).await;
    assert_eq!(diagnosis.summary, "No cause found: no alert is firing");
    let diagnosis = world.diagnose(world.brief(&["Some\u{1b}Else"])).await;
    assert_eq!(diagnosis.summary, "No cause found: no rule is for \"SomeElse\"");
    world.stop().await;
}

#[tokio::test]
async fn hostile_text_names_no_target_and_no_job() {
    let running = |job| Reading { label: ("job_name", job), value: Some(1.0) };
    let mut facts = Facts::default()
        .metric("process_cpu_seconds_total", 0.95)
        .lines("scheduler job report-generator running for 3 s using 1.70 cores", 1)
        .lines("scheduler job sshd running for 3 s using 1.70 cores {target} $(reboot)", 1);
    facts.metrics.insert("job_running", vec![running("report-generator"), running("cleaner")]);
    let world = start(facts, |_| {}).await;
    let diagnosis = world.diagnose(world.brief(&["HighCPUUsage"])).await;
    assert_eq!(diagnosis.cause, None);
    assert_eq!(
        diagnosis.alternatives[0].why_not,
        "db-server-01: `job in running_jobs` is false (job = sshd, running_jobs = \
         report-generator, cleaner)"
    );
    let mut brief = world.brief(&[TIMEOUT]);
    let hostile = r#"db"} or vector(1) #"#;
    brief.alerts[0].labels.insert("server".into(), hostile.into());
    let diagnosis = world.diagnose(brief).await;
    assert!(diagnosis.evidence.is_empty());
    assert!(diagnosis.summary.contains("is not a plain name"), "{}", diagnosis.summary);
    world.stop().await;
}

#[tokio::test]
async fn plain_text_is_answered_for_known_targets() {
    let world = start(Facts::of_database_timeout(), |_| {}).await;
    for question in ["Why is db-server-01 timing out?", "what is wrong with the Database"] {
        let task = world.send(vec![Part::text(question)]).await;
        assert_eq!(task.status.state, TaskState::Completed);
        let diagnosis = diagnosis_of(&task);
        assert_eq!(diagnosis.cause.as_deref(), Some("db.connection_pool_exhausted"));
        assert_eq!(diagnosis.alternatives.len(), 4);
    }
    let task = world.send(vec![Part::text("why is it slow?")]).await;
    assert_eq!(task.status.state, TaskState::Rejected);
    let text = task.status_text();
    assert!(text.starts_with("name a server or service to diagnose (db-server-01), or"), "{text}");
    assert!(text.contains(r#"{"type":"Brief""#), "{text}");
    world.stop().await;
}

#[tokio::test]
async fn tasks_outlive_the_process_where_a_database_is_set() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("tasks.db").to_str().unwrap().to_owned();
    let with = |config: &mut Config| config.database = Some(database.clone());
    let world = start(Facts::of_database_timeout(), with).await;
    let task = world.send(vec![Part::text("why is db-server-01 slow?")]).await;
    world.stop().await;
    let world = start(Facts::default(), with).await;
    assert_eq!(diagnosis_of(&world.client.task(&task.id).await.unwrap()), diagnosis_of(&task));
    world.stop().await;
}

#[tokio::test]
async fn database_that_cannot_be_used_is_named() {
    let config = Config {
        listen: service::own_loopback_address(),
        rules: world::deployed("rules"),
        database: Some("mysql://host/tasks".into()),
        ..Config::default()
    };
    let started = diagnostic_agent::start(config, Process::new("diagnostic-agent")).await;
    let error = format!("{:#}", started.unwrap_err());
    let expected =
        "setting `database` cannot be used: it is neither a postgres:// URL nor the path";
    assert!(error.starts_with(expected), "{error}");
}

#[tokio::test]
async fn malformed_briefs_are_rejected_by_field() {
    let world = start(Facts::default(), |_| {}).await;
    let good = incident::Payload::Brief(world.brief(&[TIMEOUT])).to_value();
    let with = |pointer: &str, value: Value| {
        let mut brief = good.clone();
        *brief.pointer_mut(pointer).unwrap() = value;
        brief
    };
    let cases = [
        (with("/alerts/0/status", json!("burning")), "parts[0].data.alerts[0].status: "),
        (with("/incident/id", json!("inc_7")), "parts[0].data.incident.id: "),
        (with("/alerts", json!({})), "parts[0].data.alerts: invalid type: map"),
        (with("/alerts/0", json!({})), "parts[0].data.alerts[0]: missing field `source`"),
        (json!({"type": "Brief"}), "parts[0].data: missing field `incident`"),
        (json!({"type": "Other"}), "parts[0].data.type: this skill takes data parts such as"),
        (json!([1]), "parts[0].data.type: "),
    ];
    for (data, expected) in cases {
        let task = world.send(vec![Part::data(data)]).await;
        assert_eq!(task.status.state, TaskState::Rejected);
        let text = task.status_text();
        assert!(text.starts_with(expected), "{text:?} does not begin with {expected:?}");
    }
    let task = world.send(vec![Part::data(good.clone()), Part::data(good)]).await;
    assert_eq!(task.status_text(), "one Brief part per message");
    world.stop().await;
}
