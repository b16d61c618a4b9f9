//! `system-monitor` over MCP, against a real Prometheus with samples of known times.
#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use a2a_types::mcp::FaultKind;
use a2a_types::mcp::metrics::{
    QUERY, QUERY_RANGE, QueryInput, QueryOutput, QueryRangeInput, QueryRangeOutput, RANK,
    RankInput, RankOutput, SNAPSHOT, SnapshotInput, SnapshotOutput,
};
use jiff::{SignedDuration, Timestamp};
use mcp_tools::system_monitor::{Config, start};
use support::{Served, deploy_directory, installed, refused_field, serve};

/// A Prometheus that ends with the test.
struct Prometheus {
    child: std::process::Child,
    url: String,
    _directory: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An hour of samples each 10 s up to `end`; in the last five minutes the database's pool times out.
fn samples(end: Timestamp) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, value: &dyn Fn(i64) -> Option<f64>| {
        let metric = name.split('{').next().unwrap().trim_end_matches("_total");
        writeln!(text, "# TYPE {metric} {kind}").unwrap();
        for step in 0..360 {
            if let Some(value) = value(step) {
                let time = end.as_second() - (359 - step) * 10;
                writeln!(text, "{name} {value} {time}").unwrap();
            }
        }
    };
    let timeouts = |step: i64| Some(if step < 330 { 0.0 } else { (step - 330) as f64 * 80.0 });
    family(r#"db_connection_timeout_total{server="db-server-01"}"#, "counter", &timeouts);
    let active = |step: i64| Some(if step % 2 == 0 { 1.0 } else { 2.0 });
    family(r#"db_connections_active{server="db-server-01"}"#, "gauge", &active);
    // Stops being written two minutes before the end.
    let stale = |step: i64| (step < 348).then_some(40.0);
    family(r#"app_replicas{server="app-server-01"}"#, "gauge", &stale);
    family(r#"not_a_number{server="db-server-01"}"#, "gauge", &|_| Some(f64::NAN));
    text.push_str("# EOF\n");
    text
}

fn start_prometheus(end: Timestamp) -> Option<Prometheus> {
    let (prometheus, promtool) = (installed("prometheus")?, installed("promtool")?);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("samples"), samples(end)).unwrap();
    std::fs::write(path("prometheus.yml"), "global: {}\n").unwrap();
    let created = Command::new(promtool)
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([path("samples"), path("data")])
        .output()
        .unwrap();
    assert!(created.status.success(), "{created:?}");
    let address = service::own_loopback_address();
    let child = Command::new(prometheus)
        .arg(format!("--config.file={}", path("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", path("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("http://{address}");
    Some(Prometheus { child, url, _directory: directory })
}

async fn served(url: &str) -> Served {
    let config = Config {
        listen: "127.0.0.1:0".to_owned(),
        prometheus_url: url.parse().unwrap(),
        catalogue: deploy_directory().join("config/signals.yaml"),
        ..Config::default()
    };
    serve(config, start).await
}

/// A monitor of a Prometheus that answers.
async fn ready(prometheus: &Prometheus) -> Served {
    let served = served(&prometheus.url).await;
    let input = QueryInput { query: "vector(1)".to_owned(), time: None };
    let is_up = async {
        while served.call::<QueryOutput>(QUERY, &input).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_up).await.expect("Prometheus starts");
    served
}

#[expect(clippy::disallowed_methods, reason = "Prometheus keeps only samples of the recent past")]
fn recently() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second() - 600).unwrap()
}

fn before(end: Timestamp, seconds: i64) -> Timestamp {
    end - SignedDuration::from_secs(seconds)
}

#[tokio::test]
async fn queries_snapshots_and_ranking_over_a_real_prometheus() {
    let end = recently();
    let Some(prometheus) = start_prometheus(end) else { return };
    let served = ready(&prometheus).await;
    instant_queries_tell_how_fresh_they_are(&served, end).await;
    what_prometheus_says_is_passed_on(&served, end).await;
    range_queries_give_every_point(&served, end).await;
    a_snapshot_answers_every_signal(&served, end).await;
    the_server_whose_signals_moved_is_the_first_suspect(&served, end).await;
    served.stop().await;
}

async fn query(served: &Served, query: &str, time: Timestamp) -> QueryOutput {
    let input = QueryInput { query: query.to_owned(), time: Some(time) };
    served.call(QUERY, &input).await.unwrap()
}

async fn instant_queries_tell_how_fresh_they_are(served: &Served, end: Timestamp) {
    let rate = "sum(rate(db_connection_timeout_total[1m]))";
    let answer = query(served, rate, end).await;
    assert!((answer.samples[0].value.unwrap() - 8.0).abs() < 0.5, "{answer:?}");
    assert_eq!((answer.samples[0].time, answer.newest), (end, Some(end)));
    // Evaluated a minute later, the time in the answer is later and the samples are not.
    let later = end + SignedDuration::from_secs(60);
    let answer = query(served, "db_connections_active", later).await;
    assert_eq!((answer.samples[0].time, answer.newest), (later, Some(end)));
    // Of two metrics, the staler one counts.
    let answer = query(served, "db_connections_active > bool 0 and on() app_replicas", end).await;
    assert_eq!((answer.samples.len(), answer.newest), (1, Some(before(end, 120))));

    let nothing = query(served, "no_such_metric", end).await;
    assert_eq!((nothing.samples.len(), nothing.newest), (0, None));
    let nan = query(served, "not_a_number", end).await;
    assert_eq!((nan.samples.len(), nan.samples[0].value), (1, None));
    let scalar = query(served, "scalar(vector(7))", end).await;
    assert_eq!((scalar.samples[0].value, scalar.newest), (Some(7.0), None));
}

async fn what_prometheus_says_is_passed_on(served: &Served, end: Timestamp) {
    for (query, said) in [("sum(", "parse error"), ("up[5m]", "matrix")] {
        let input = QueryInput { query: query.to_owned(), time: Some(end) };
        let error = served.call::<QueryOutput>(QUERY, &input).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(error.fault().unwrap().field.as_deref(), Some("query"));
    }
}

async fn range_queries_give_every_point(served: &Served, end: Timestamp) {
    let mut input = QueryRangeInput {
        query: "db_connections_active".to_owned(),
        start: before(end, 100),
        end,
        step_seconds: 10.0,
    };
    let answer: QueryRangeOutput = served.call(QUERY_RANGE, &input).await.unwrap();
    assert_eq!((answer.series[0].points.len(), answer.newest), (11, Some(end)));
    input.step_seconds = 0.001;
    let refused = served.call::<QueryRangeOutput>(QUERY_RANGE, &input).await;
    assert_eq!(refused_field(refused), "step_seconds");
    (input.step_seconds, input.start) = (1.0, end + SignedDuration::from_secs(1));
    let refused = served.call::<QueryRangeOutput>(QUERY_RANGE, &input).await;
    assert_eq!(refused_field(refused), "start");
}

async fn a_snapshot_answers_every_signal(served: &Served, end: Timestamp) {
    let mut input =
        SnapshotInput { target: "db-server-01".to_owned(), signals: Vec::new(), time: Some(end) };
    let answer: SnapshotOutput = served.call(SNAPSHOT, &input).await.unwrap();
    let signal = |name: &str| answer.signals.iter().find(|signal| signal.name == name).unwrap();
    assert!(signal("connection_timeouts").samples[0].value.unwrap() > 5.0);
    assert_eq!(signal("connection_timeouts").unit, "{timeouts}/s");
    assert!(signal("memory_ratio").samples.is_empty() && signal("memory_ratio").error.is_none());
    assert!(answer.signals.iter().all(|signal| !signal.query.contains("$server")));
    assert_eq!(answer.newest, Some(end));

    input.signals = vec!["no-such".to_owned()];
    assert_eq!(refused_field(served.call::<SnapshotOutput>(SNAPSHOT, &input).await), "signals");
    input.target = "db-server-02".to_owned();
    assert_eq!(refused_field(served.call::<SnapshotOutput>(SNAPSHOT, &input).await), "target");
    input.target = "x\"} or up #".to_owned();
    assert_eq!(refused_field(served.call::<SnapshotOutput>(SNAPSHOT, &input).await), "target");
}

async fn the_server_whose_signals_moved_is_the_first_suspect(served: &Served, end: Timestamp) {
    let input = RankInput { end: Some(end), ..RankInput::default() };
    let answer: RankOutput = served.call(RANK, &input).await.unwrap();
    assert_eq!((answer.range.start, answer.range.end), (before(end, 300), end));
    let suspects: Vec<_> = answer.suspects.iter().map(|suspect| suspect.target.as_str()).collect();
    assert_eq!(suspects, ["db-server-01"], "{answer:?}");
    let worst = &answer.suspects[0].deviations[0];
    assert_eq!((worst.signal.as_str(), worst.baseline_median), ("connection_timeouts", 0.0));
    assert!(worst.score > 10.0 && worst.query.contains("db-server-01"), "{worst:?}");
    assert!(
        answer.missing.iter().any(|line| line == "api-gateway-01 queue_length: too few samples")
    );
}

#[tokio::test]
async fn an_absent_prometheus_is_unavailable_and_other_signals_are_still_answered() {
    let served = served(&format!("http://{}", service::own_loopback_address())).await;
    let input = QueryInput { query: "up".to_owned(), time: None };
    let error = served.call::<QueryOutput>(QUERY, &input).await.unwrap_err();
    assert_eq!(error.fault().unwrap().kind, FaultKind::Unavailable);
    assert!(error.is_transient(), "{error}");
    let input = SnapshotInput { target: "db-server-01".to_owned(), ..SnapshotInput::default() };
    let answer: SnapshotOutput = served.call(SNAPSHOT, &input).await.unwrap();
    assert!(answer.signals.iter().all(|signal| signal.error.is_some()));
    served.stop().await;
}

#[tokio::test]
async fn a_catalogue_that_cannot_be_used_stops_the_start_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let catalogue = directory.path().join("signals.yaml");
    std::fs::write(&catalogue, "targets: [a]\nsignals: {x: {query: up}}\n").unwrap();
    let config = Config { catalogue: catalogue.clone(), ..Config::default() };
    let error = start(config, service::Process::new("under-test")).await.unwrap_err();
    assert!(format!("{error:#}").contains("signals.x"), "{error:#}");
    assert!(format!("{error:#}").contains(&Path::new(&catalogue).display().to_string()));
}
