//! The HTTP surface over real sockets: metrics in both formats, triggers, the admin API, and what
//! each says to bad input. Time is a manual clock, so nothing sleeps.
#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::time::Duration;

use fault_simulator::{Addresses, Config, start_fleet};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use service::{Clock, Ids, ManualClock, Process};

struct World {
    addresses: Addresses,
    clock: ManualClock,
    process: Process,
    client: reqwest::Client,
    directory: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Config, &std::path::Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config {
            database_address: "127.0.0.1:0".into(),
            app_address: "127.0.0.1:0".into(),
            gateway_address: "127.0.0.1:0".into(),
            log_directory: directory.path().join("logs"),
            ..Config::default()
        };
        change(&mut config, directory.path());
        let clock = ManualClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let process =
            Process::with("fault-simulator", Clock::Manual(clock.clone()), Ids::seeded(1));
        let addresses = start_fleet(config, process.clone()).await.unwrap();
        Self { addresses, clock, process, client: reqwest::Client::new(), directory }
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<String>) -> Response {
        self.send_to(self.addresses.database, method, path, body).await
    }

    async fn send_to(
        &self,
        address: std::net::SocketAddr,
        method: Method,
        path: &str,
        body: impl Into<String>,
    ) -> Response {
        let url = format!("http://{address}{path}");
        self.client.request(method, url).body(body.into()).send().await.unwrap()
    }

    async fn post(&self, path: &str, body: &str) -> (StatusCode, Value) {
        answer(self.send(Method::POST, path, body).await).await
    }

    async fn get(&self, path: &str) -> Value {
        answer(self.send(Method::GET, path, "").await).await.1
    }

    /// Lets the fleet live through `seconds`, and waits until it has.
    async fn pass(&self, seconds: f64) {
        let uptime = |status: Value| status["uptime_seconds"].as_f64().unwrap();
        let until = uptime(self.status_of_gateway().await) + seconds - 0.2;
        self.clock.advance(Duration::from_secs_f64(seconds));
        while uptime(self.status_of_gateway().await) < until {
            self.clock.advance(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
    }

    /// The gateway is never restarted here, so its uptime is the fleet's time.
    async fn status_of_gateway(&self) -> Value {
        let answered = self.send_to(self.addresses.gateway, Method::GET, "/admin/status", "").await;
        answer(answered).await.1
    }

    /// The value of one sample on db-server-01.
    async fn sample(&self, name: &str) -> f64 {
        let page = self.send(Method::GET, "/metrics", "").await.text().await.unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    }

    async fn stop(self) {
        drop(self.client);
        self.process.shut_down(Duration::from_secs(5)).await.unwrap();
    }
}

async fn answer(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
    (status, value)
}

#[tokio::test]
async fn the_database_fault_shows_in_metrics_and_logs_and_ends_by_the_right_repair() {
    let world = World::start().await;
    world.pass(5.0).await;
    assert_eq!(world.sample("db_connection_timeout_total ").await, 0.0);
    let (status, body) = world.post("/trigger/database_timeout", "").await;
    assert_eq!((status, &body["duration_seconds"]), (StatusCode::OK, &json!(60.0)));
    world.pass(5.0).await;
    assert!(world.sample("db_connection_timeout_total ").await > 20.0);
    assert_eq!(world.sample("db_connection_pool_size ").await, 2.0);
    assert_eq!(world.get("/faults").await["active"][0]["name"], "database_timeout");

    let wanted = r#"{"connection_pool_size": 20}"#;
    let (status, body) = answer(world.send(Method::PATCH, "/admin/config", wanted).await).await;
    let expected = json!({
        "server": "db-server-01",
        "before": {"connection_pool_size": 2},
        "after": {"connection_pool_size": 20},
        "restart_required": true,
    });
    assert_eq!((status, body), (StatusCode::OK, expected));
    assert_eq!(world.get("/admin/config").await["pending"], json!({"connection_pool_size": 20}));
    let (status, body) = world.post("/admin/restart", "").await;
    assert_eq!((status, &body["generation"]), (StatusCode::ACCEPTED, &json!(2)));
    assert_eq!(world.get("/admin/status").await["state"], "restarting");
    world.pass(2.0).await;
    let status = world.get("/admin/status").await;
    assert_eq!((&status["state"], &status["generation"]), (&json!("running"), &json!(2)));
    let faults = world.get("/faults").await;
    assert_eq!((&faults["active"], &faults["ended"][0]["how"]), (&json!([]), &json!("repaired")));
    let before = world.sample("db_connection_timeout_total ").await;
    world.pass(10.0).await;
    assert_eq!(world.sample("db_connection_timeout_total ").await, before);

    let log = world.directory.path().join("logs/db-server-01.log");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("ERROR pool connection acquire timed out after 250 ms (active=2 size=2"));
    assert!(log.contains("INFO  config connection_pool_size changed from 2 to 20 (operator)"));
    world.stop().await;
}

#[tokio::test]
async fn metrics_come_in_the_format_asked_for() {
    let world = World::start().await;
    world.pass(2.0).await;
    for address in [world.addresses.database, world.addresses.app, world.addresses.gateway] {
        let url = format!("http://{address}/metrics");
        let text = world.client.get(&url).send().await.unwrap();
        assert_eq!(text.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let text = text.text().await.unwrap();
        assert!(text.contains("# TYPE process_cpu_seconds_total counter\n"));
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
        let asked = "application/openmetrics-text; version=1.0.0";
        let open = world.client.get(&url).header("accept", asked).send().await.unwrap();
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(open.headers()["content-type"], kind);
        let open = open.text().await.unwrap();
        assert!(
            open.contains(
                "# TYPE process_cpu_seconds counter\n# UNIT process_cpu_seconds seconds\n"
            )
        );
        assert!(open.ends_with("\n# EOF\n"));
        for name in ["process_resident_memory_bytes ", "node_filesystem_avail_bytes{"] {
            assert!(text.contains(name) && open.contains(name), "{name}");
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_form_content_type_is_accepted_as_curl_sends_it() {
    let world = World::start().await;
    let response = world
        .client
        .post(format!("http://{}/trigger/high_cpu", world.addresses.gateway))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(r#"{"duration":60}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    world.stop().await;
}

#[tokio::test]
async fn bad_triggers_are_refused_with_a_reason_and_the_next_good_one_works() {
    let world = World::start().await;
    let (status, body) = world.post("/trigger/earthquake", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body["error"].as_str().unwrap().contains("known: database_timeout, memory_leak"));
    for bad in ["0", "-1", "86401", "\"60\"", "null", "true", "[60]", "1e999"] {
        let body = format!("{{\"duration\": {bad}}}");
        let (status, answer) = world.post("/trigger/disk_full", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
        if bad != "1e999" {
            assert_eq!(answer["field"], "duration", "{bad}");
        }
    }
    for bad in ["{", "[]", "60", "\0", "{\"durations\": 1}"] {
        let (status, answer) = world.post("/trigger/disk_full", bad).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad:?}");
        assert!(answer["error"].is_string());
    }
    let huge = world.send(Method::POST, "/trigger/disk_full", " ".repeat(1 << 20)).await;
    let (status, body) = answer(huge).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{body}");
    let (status, body) = world.post("/triggers", "").await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::NOT_FOUND, &json!("nothing is at /triggers"))
    );
    let wrong = world.send(Method::GET, "/trigger/disk_full", "").await;
    let (status, body) = answer(wrong).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{body}");
    let (status, _) = world.post("/trigger/disk_full", r#"{"duration": 0.5}"#).await;
    assert_eq!(status, StatusCode::OK);
    let (status, body) = world.post("/trigger/disk_full", "").await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    let deleted = world.send(Method::DELETE, "/trigger/disk_full", "").await;
    assert_eq!(deleted.status(), StatusCode::OK);
    let again = world.send(Method::DELETE, "/trigger/disk_full", "").await;
    assert_eq!(again.status(), StatusCode::NOT_FOUND);
    world.stop().await;
}

#[tokio::test]
async fn bad_admin_calls_name_the_field_and_change_nothing() {
    let world = World::start().await;
    let before = world.get("/admin/config").await;
    for (body, field) in [
        (r#"{"connection_pool_size": 0}"#, json!("connection_pool_size")),
        (r#"{"connection_pool_size": "20"}"#, json!("connection_pool_size")),
        (r#"{"connection_pool_size": 2.5}"#, json!("connection_pool_size")),
        (r#"{"connection_pool_size": 20, "pool": 1}"#, json!("pool")),
        ("{}", Value::Null),
        ("not json", Value::Null),
    ] {
        let (status, answer) = answer(world.send(Method::PUT, "/admin/config", body).await).await;
        assert_eq!((status, &answer["field"]), (StatusCode::BAD_REQUEST, &field), "{body}");
    }
    assert_eq!(world.get("/admin/config").await, before);
    let (status, _) = world.post("/admin/scale", r#"{"replicas": 2}"#).await;
    assert_eq!(status, StatusCode::CONFLICT, "a database is not scaled");
    let gateway = world.addresses.gateway;
    for body in ["{}", r#"{"replicas": 0}"#, r#"{"replicas": 11}"#, r#"{"replicas": -1}"#] {
        let refused = world.send_to(gateway, Method::POST, "/admin/scale", body).await;
        let (status, answer) = answer(refused).await;
        assert_eq!((status, &answer["field"]), (StatusCode::BAD_REQUEST, &json!("replicas")));
    }
    let (status, body) = world.post("/admin/jobs/mining/stop", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body["error"].as_str().unwrap().contains("it has backup"), "{body}");
    world.stop().await;
}

#[tokio::test]
async fn repairs_answer_with_before_and_after() {
    let world = World::start().await;
    let (app, gateway) = (world.addresses.app, world.addresses.gateway);
    world.post("/trigger/high_cpu", "").await;
    let path = "/admin/jobs/report-generator/stop";
    let (_, body) = answer(world.send_to(app, Method::POST, path, "").await).await;
    assert_eq!(
        (&body["before"], &body["after"]),
        (&json!({"running": true}), &json!({"running": false}))
    );
    let scale = r#"{"replicas": 5}"#;
    let (_, body) = answer(world.send_to(gateway, Method::POST, "/admin/scale", scale).await).await;
    assert_eq!(
        (&body["before"], &body["after"]),
        (&json!({"replicas": 3}), &json!({"replicas": 5}))
    );
    let (_, body) = world.post("/admin/cleanup", "").await;
    let freed = body["freed_bytes"].as_u64().unwrap();
    let avail = |side: &str| body[side]["avail_bytes"].as_u64().unwrap();
    assert!(freed > 1_000_000_000 && avail("after").abs_diff(avail("before") + freed) <= 1);
    world.stop().await;
}

#[tokio::test]
async fn changes_need_the_admin_token_where_one_is_set() {
    let world = World::start_with(|config, directory| {
        let file = directory.join("token");
        std::fs::write(&file, "sesame\n").unwrap();
        config.admin_token_file = Some(file);
    })
    .await;
    let url = format!("http://{}/admin/restart", world.addresses.database);
    for token in [None, Some("sesam"), Some("sesame2")] {
        let mut request = world.client.post(&url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        assert_eq!(request.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.get("/admin/status").await["generation"], 1, "reading stays open");
    let (status, _) = world.post("/trigger/disk_full", "").await;
    assert_eq!(status, StatusCode::OK, "faults are not repairs");
    let allowed = world.client.post(&url).bearer_auth("sesame").send().await.unwrap();
    assert_eq!(allowed.status(), StatusCode::ACCEPTED);
    world.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_setting_that_moves_it() {
    let world = World::start().await;
    let taken = world.addresses.app.to_string();
    let config = Config {
        database_address: "127.0.0.1:0".into(),
        app_address: taken.clone(),
        log_directory: world.directory.path().join("other"),
        ..Config::default()
    };
    let error = start_fleet(config, Process::new("fault-simulator")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&taken) && text.contains("(app_address)"), "{text}");
    world.stop().await;
}
