//! The API for people and programs, and the console.

use serde_json::Value;

use super::sample::{alert, body, firing, resolved};
use super::world::World;

#[tokio::test]
async fn incidents_are_listed_in_pages() {
    let world = World::alone(|_| {}).await;
    for number in 1..=5 {
        world.deliver_one(firing(&format!("db-{number}"))).await;
    }
    let ids = async |path: &str| -> Vec<String> {
        let page = world.read(path).await;
        let page = page.as_array().unwrap().iter();
        page.map(|incident| incident["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = ids("/api/v1/incidents").await;
    assert_eq!(all.len(), 5);
    let first = ids("/api/v1/incidents?limit=2").await;
    let second = ids(&format!("/api/v1/incidents?limit=9&before={}", first[1])).await;
    assert_eq!([first, second].concat(), all);
}

/// Six incidents of which four are all that a page takes.
#[tokio::test]
async fn a_list_of_big_incidents_is_bounded_and_goes_on() {
    let world = World::alone(|_| {}).await;
    let texts: serde_json::Map<String, Value> =
        ('a'..='p').map(|name| (name.to_string(), "x".repeat(7 << 10).into())).collect();
    let mut opened = Vec::new();
    for number in 0..6 {
        let one = |part: usize| {
            let mut one = alert(&format!("db-{number}"), "firing", 0);
            one["fingerprint"] = format!("{number}-{part}").into();
            one["annotations"] = texts.clone().into();
            one
        };
        let alerts: Vec<Value> = (0..9).map(one).collect();
        opened.insert(0, world.deliver_one(body(&alerts)).await);
    }
    let read = async |query: &str| -> (Vec<String>, usize) {
        let url = world.url(&format!("/api/v1/incidents{query}"));
        let text = world.get(url).send().await.unwrap().text().await.unwrap();
        let page: Vec<Value> = serde_json::from_str(&text).unwrap();
        let ids = page.iter().map(|incident| incident["id"].as_str().unwrap().to_owned());
        (ids.collect(), text.len())
    };
    let (first, bytes) = read("").await;
    assert!(first.len() < 6 && bytes < 5 << 20, "{} incidents, {bytes} bytes", first.len());
    let (second, _) = read(&format!("?before={}", first.last().unwrap())).await;
    assert_eq!([first, second].concat(), opened);
    assert_eq!(read(&format!("?before={}", opened[5])).await.0, [""; 0]);
    let (summaries, bytes) = read("?shape=summary").await;
    assert_eq!(summaries, opened);
    assert!(bytes < 6 << 10, "{bytes} bytes");
    let whole = world.incident(&opened[0]).await;
    let summary = &world.read("/api/v1/incidents?shape=summary&limit=1").await[0];
    for (field, value) in summary.as_object().unwrap() {
        assert_eq!(value, &whole[field], "{field}");
    }
    world.stop().await;
}

#[tokio::test]
async fn unknown_and_malformed_requests_say_what_is_wrong() {
    let world = World::alone(|_| {}).await;
    let nobody = "inc_00000000000000000000000000000001";
    for (path, status, field) in [
        ("/api/v1/incidents?limit=0".to_owned(), 400, "limit"),
        ("/api/v1/incidents?limit=501".to_owned(), 400, "limit"),
        ("/api/v1/incidents?limit=x".to_owned(), 400, "query"),
        ("/api/v1/incidents?before=x".to_owned(), 400, "before"),
        ("/api/v1/incidents?shape=x".to_owned(), 400, "query"),
        ("/api/v1/incidents/x".to_owned(), 400, "id"),
        (format!("/api/v1/incidents/{nobody}"), 404, ""),
        (format!("/api/v1/incidents/{nobody}/timeline"), 404, ""),
        (format!("/api/v1/incidents/{nobody}/timeline?after=x"), 400, "query"),
    ] {
        let answer = world.get(world.url(&path)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let said: Value = answer.json().await.unwrap();
        assert_eq!(said["field"].as_str().unwrap_or_default(), field, "{path}: {said}");
    }
    let nowhere = world.get(world.url("/api/v2")).send().await.unwrap();
    assert_eq!(nowhere.status().as_u16(), 404);
    let wrong_way = world.get(world.url("/webhooks/alertmanager")).send().await.unwrap();
    assert_eq!(wrong_way.status().as_u16(), 405);
    let path = format!("/api/v1/incidents/{nobody}/close");
    let body = "{\"by\": \"ana\", \"why\": \"x\"}";
    assert_eq!(world.post(&path, body).send().await.unwrap().status().as_u16(), 404);
}

#[tokio::test]
async fn what_another_sites_page_could_send_is_refused() {
    let world = World::alone(|_| {}).await;
    let id = world.deliver_one(firing("db-1")).await;
    let decision = |what: &str| format!("/api/v1/incidents/{id}/{what}");
    for path in [decision("close"), decision("approval")] {
        let forged = world
            .post(&path, "{\"by\": \"ana\", \"why\": \"x\"}")
            .header("content-type", "text/plain");
        assert_eq!(forged.send().await.unwrap().status().as_u16(), 415, "{path}");
    }
    assert_ne!(world.incident(&id).await["phase"]["name"], "closed");
}

#[tokio::test]
async fn another_alert_after_closing_is_another_incident_that_follows_the_first() {
    let world = World::new().await;
    let first = world.deliver_one(firing("db-1")).await;
    world.until_phase(&first, "resolved").await;
    world.deliver(resolved("db-1")).await;
    world.until_phase(&first, "closed").await;
    let mut disk = alert("db-1", "firing", 5);
    disk["fingerprint"] = "f-disk".into();
    disk["labels"]["alertname"] = "DiskFull".into();
    let second = world.deliver_one(body(&[disk])).await;
    assert_ne!(second, first);
    assert_eq!(world.incident(&second).await["follows"], first.as_str());
    let again = world.deliver_one(body(&[alert("db-1", "firing", 9)]));
    assert_eq!(again.await, second, "one open incident a target");
}

#[tokio::test]
async fn a_timeline_is_read_on_from_where_one_was() {
    let world = World::alone(|_| {}).await;
    let id = world.deliver_one(firing("db-1")).await;
    let path = format!("/api/v1/incidents/{id}/timeline");
    let all = world.read(&path).await;
    let sequences: Vec<i64> =
        all.as_array().unwrap().iter().map(|entry| entry["sequence"].as_i64().unwrap()).collect();
    assert_eq!(sequences, [1, 2, 3]);
    let rest = world.read(&format!("{path}?after=2")).await;
    assert_eq!(rest[0], all[2]);
    assert_eq!(rest.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_console_runs_only_its_own_script() {
    let world = World::alone(|_| {}).await;
    let page = world.get(world.console("/")).send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    let page = page.text().await.unwrap();
    for (path, kind) in [("/console.js", "text/javascript"), ("/console.css", "text/css")] {
        assert!(page.contains(path.trim_start_matches('/')), "{path}");
        let file = world.get(world.console(path)).send().await.unwrap();
        assert_eq!(file.headers()["content-type"], kind);
    }
    let incidents = world.get(world.console("/api/v1/incidents")).send().await.unwrap();
    assert_eq!(incidents.status().as_u16(), 200);
    let webhook = world.console("/webhooks/alertmanager");
    let refused = reqwest::Client::new().post(webhook).body(firing("db-1")).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 404, "the console takes no alerts");
}

#[tokio::test]
async fn the_console_is_told_of_changes() {
    let world = World::alone(|_| {}).await;
    let mut events = world.get(world.console("/events")).send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    world.deliver_one(firing("db-1")).await;
    let event = events.chunk().await.unwrap().unwrap();
    let event = String::from_utf8_lossy(&event);
    assert!(event.contains("event: change"), "{event}");
}

#[tokio::test]
async fn hostile_labels_come_back_as_text() {
    let world = World::alone(|_| {}).await;
    let mut hostile = alert("db-1", "firing", 0);
    let text = "<script>alert(1)</script> {{ $x }} '; DROP TABLE incident; --";
    hostile["annotations"]["summary"] = text.into();
    let id = world.deliver_one(body(&[hostile])).await;
    assert_eq!(world.incident(&id).await["title"], text);
}

#[tokio::test]
async fn deliveries_and_phases_are_counted() {
    let world = World::alone(|_| {}).await;
    world.deliver_one(firing("db-1")).await;
    world.try_deliver("{}").await;
    let metrics = world.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    for line in [
        "webhook_deliveries_total{source=\"alertmanager\",status=\"200\"} 1",
        "webhook_deliveries_total{source=\"alertmanager\",status=\"400\"} 1",
        "incident_phases_entered_total{phase=\"diagnosing\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}
