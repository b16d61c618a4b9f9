//! Every kind of source over a real socket: a firing makes one incident however often it is said, and
//! its end, which other words say, ends the same one.

use ingress::{Format, SourceConfig};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::world::{WEBHOOK_TOKEN, World};

/// An ingress with one source `s`, known by the token.
async fn world(kind: Value) -> World {
    let kind: Format = serde_json::from_value(kind).unwrap();
    World::alone(|config| {
        let token = config.sources["alertmanager"].clone();
        config.sources = [("s".to_owned(), SourceConfig { kind, ..token })].into();
    })
    .await
}

fn send(world: &World, method: Method, body: &Value) -> RequestBuilder {
    let client = reqwest::Client::new();
    let request = client.request(method, world.url("/webhooks/s")).bearer_auth(WEBHOOK_TOKEN);
    request.header("content-type", "application/json").body(body.to_string())
}

/// Fires, says so again, and ends.
async fn one_incident(kind: Value, method: Method, fires: Value, ends: Value) -> Value {
    let world = world(kind).await;
    let mut answers: Vec<Value> = Vec::new();
    for (body, phase) in [(&fires, "diagnosing"), (&fires, "diagnosing"), (&ends, "resolved")] {
        let answer = send(&world, method.clone(), body).send().await.unwrap();
        assert!(answer.status().is_success(), "{body}: {answer:?}");
        answers.push(answer.json().await.unwrap());
        let incidents = world.incidents().await;
        assert_eq!(incidents.len(), 1, "{body}: {incidents:?}");
        assert_eq!(incidents[0]["phase"]["name"], phase, "{body}: {}", incidents[0]);
    }
    let incident = world.incidents().await.remove(0);
    world.stop().await;
    json!({"incident": incident, "answers": answers})
}

#[tokio::test]
async fn grafana_by_put() {
    let body = |status: &str, ends_at: &str| {
        json!({"status": status, "externalURL": "https://g.example/", "alerts": [{"status": status,
            "labels": {"alertname": "DatasourceNoData", "rulename": "Latency", "service": "shop"},
            "annotations": {}, "startsAt": "2026-01-01T00:00:00.123456789Z", "endsAt": ends_at,
            "fingerprint": "c4edaaf9f9f839b0", "generatorURL": "?orgId=1"}]})
    };
    let fires = body("firing", "0001-01-01T00:00:00Z");
    let ends = body("resolved", "2026-01-01T00:05:00Z");
    let seen = one_incident(json!("grafana"), Method::PUT, fires, ends).await;
    let alert = &seen["incident"]["alerts"][0]["alert"];
    assert_eq!(alert["labels"]["missing_data"], "no_data", "{seen}");
}

#[tokio::test]
async fn datadog_by_its_default_body() {
    let body = |state: &str, id: &str, date: u64| {
        json!({"id": id, "title": format!("[{state} on {{host:db-1}}] Disk is full"),
            "last_updated": date.to_string(), "date": date.to_string(), "event_type": "x",
            "org": {"id": "1", "name": "o"}, "body": "%%%\n[[Monitor Status](https://\
                app.datadoghq.com/monitors/77?group=host%3Adb-1)]\n%%%"})
    };
    let fires = body("Triggered", "1", 1_767_225_600_000);
    let ends = body("Recovered", "2", 1_767_225_900_000);
    let seen = one_incident(json!("datadog"), Method::POST, fires, ends).await;
    assert_eq!(seen["incident"]["affected_systems"], json!(["db-1"]));
    assert_eq!(seen["incident"]["title"], "Disk is full on db-1");
}

#[tokio::test]
async fn pagerduty_by_a_key_that_ingress_makes() {
    let kind = || json!("pagerduty");
    let fires = json!({"routing_key": "r", "event_action": "trigger",
        "payload": {"summary": "disk full", "source": "db-1", "severity": "error",
            "timestamp": "2026-01-01T00:00:00.000+0000"}});
    let key = {
        let world = world(kind()).await;
        let answer = send(&world, Method::POST, &fires).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["status"], "success");
        world.stop().await;
        answer["dedup_key"].clone()
    };
    let ends = json!({"routing_key": "r", "event_action": "resolve", "dedup_key": key});
    let seen = one_incident(kind(), Method::POST, fires, ends).await;
    assert!(seen["answers"].as_array().unwrap().iter().all(|answer| answer["dedup_key"] == key));
}

#[tokio::test]
async fn a_trigger_that_is_sent_again_is_a_repeat_until_its_resolve() {
    let world = world(json!("pagerduty")).await;
    let report = async |action: &str, timestamp: Option<String>| {
        let mut body = json!({"routing_key": "r", "event_action": action, "dedup_key": "disk-7",
            "payload": {"summary": "disk full", "source": "db-7", "severity": "error"}});
        if let Some(timestamp) = timestamp {
            body["payload"]["timestamp"] = json!(timestamp);
        }
        let answer = send(&world, Method::POST, &body).send().await.unwrap();
        assert_eq!(answer.status(), 202);
    };
    let alerts = async || {
        let id = world.incidents().await[0]["id"].as_str().unwrap().to_owned();
        let alerts = world.read(&format!("/api/v1/incidents/{id}/alerts")).await;
        let kinds = world.kinds(&id).await;
        let fired = kinds.iter().filter(|kind| *kind == "alert_fired").count();
        (alerts.as_array().unwrap().clone(), fired)
    };
    for second in 0..5 {
        report("trigger", Some(format!("2026-01-01T00:00:0{second}Z"))).await;
    }
    let (reported, fired) = alerts().await;
    assert_eq!((reported.len(), fired), (1, 1), "{reported:?}");
    assert_eq!(reported[0]["reports"], 5);
    assert_eq!(reported[0]["starts_at"], "2026-01-01T00:00:00Z");
    assert_eq!(reported[0]["is_start_known"], false);
    let metrics = world.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("alert_repeats_total 4\n"), "{metrics}");

    report("resolve", None).await;
    let (ended, _) = alerts().await;
    assert_eq!((&ended[0]["status"], &ended[0]["reports"]), (&json!("resolved"), &json!(6)));
    assert_eq!(ended[0]["starts_at"], reported[0]["starts_at"], "it is the end of that episode");
    assert_eq!(world.incidents().await[0]["phase"]["name"], "resolved");

    report("trigger", None).await;
    let (again, fired) = alerts().await;
    assert_eq!((again.len(), fired, &again[0]["reports"]), (1, 2, &json!(7)), "{again:?}");
    assert_ne!(again[0]["starts_at"], reported[0]["starts_at"], "an episode of its own");
    assert_eq!(world.incidents().await[0]["phase"]["name"], "diagnosing");
    world.stop().await;
}

#[tokio::test]
async fn cloudevents_by_their_subject() {
    let event = |kind: &str, id: &str, time: &str| {
        json!({"specversion": "1.0", "id": id, "source": "/probes", "type": kind, "time": time,
            "subject": "shop/latency", "data": {"labels": {"service": "shop"}}})
    };
    let fires = event("io.alert.firing.v1", "1", "2026-01-01T00:00:00Z");
    let ends = event("io.alert.resolved.v1", "2", "2026-01-01T00:05:00Z");
    one_incident(json!("cloudevents"), Method::POST, fires, ends).await;
}

#[tokio::test]
async fn json_by_the_settings() {
    let mapping = json!({"json": {"alerts": "/problems", "fingerprint": ["/id"], "name": "/title",
        "status": {"at": "/state", "firing": ["open"], "resolved": ["closed"]},
        "labels": {"each": {"server": "/host"}}, "starts_at": "/since"}});
    let body = |state: &str| {
        json!({"problems": [{"id": 7, "title": "Disk full", "state": state, "host": "db-1",
            "since": 1_767_225_600}]})
    };
    let seen = one_incident(mapping, Method::POST, body("open"), body("closed")).await;
    assert_eq!(seen["incident"]["affected_systems"], json!(["db-1"]));
}
