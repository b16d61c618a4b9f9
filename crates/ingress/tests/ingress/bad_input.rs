//! What cannot be used is refused by name, and hurts nobody who comes after.

use std::time::Instant;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::sample::{alert, body, firing};
use super::world::{PATIENCE, WEBHOOK_TOKEN, World};

fn changed(pointer: &str, value: Value) -> Vec<u8> {
    let mut body: Value = serde_json::from_str(&firing("db-1")).unwrap();
    *body.pointer_mut(pointer).unwrap() = value;
    body.to_string().into_bytes()
}

pub(super) fn cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let many: Map<String, Value> = (0..10_000).map(|n| (format!("l{n}"), json!("v"))).collect();
    let deep = format!("{{\"alerts\": {}", "[".repeat(200_000));
    let crowd: Vec<Value> = (0..5_000).map(|_| alert("db-1", "firing", 0)).collect();
    vec![
        ("nothing", Vec::new(), "body"),
        ("malformed", b"{\"alerts\": [".to_vec(), "body"),
        ("not JSON", b"alerts=1".to_vec(), "body"),
        ("invalid UTF-8", b"{\"alerts\": [\"\xff\xfe\"]}".to_vec(), "body"),
        ("deep nesting", deep.into_bytes(), "body"),
        ("a list", b"[]".to_vec(), "body"),
        ("no alerts", b"{}".to_vec(), "alerts"),
        ("null alerts", b"{\"alerts\": null}".to_vec(), "alerts"),
        ("alerts of another type", b"{\"alerts\": \"x\"}".to_vec(), "alerts"),
        ("too many alerts", body(&crowd).into_bytes(), "alerts"),
        ("an alert of another type", changed("/alerts/0", json!(3)), "alerts[0]"),
        ("another status", changed("/alerts/0/status", json!("on")), "alerts[0].status"),
        ("a status of another type", changed("/alerts/0/status", json!(1)), "alerts[0].status"),
        ("no time", changed("/alerts/0/startsAt", json!(null)), "alerts[0].startsAt"),
        ("another time", changed("/alerts/0/startsAt", json!("now")), "alerts[0].startsAt"),
        ("labels of another type", changed("/alerts/0/labels", json!([])), "alerts[0].labels"),
        ("a number", changed("/alerts/0/labels/server", json!(1)), "alerts[0].labels.server"),
        ("NUL", changed("/alerts/0/labels/server", json!("a\0b")), "alerts[0].labels.server"),
        (
            "a long value",
            changed("/alerts/0/annotations/summary", json!("x".repeat(70_000))),
            "alerts[0].annotations.summary",
        ),
        ("10,000 labels", changed("/alerts/0/labels", Value::Object(many)), "alerts[0].labels"),
    ]
}

#[tokio::test]
async fn bad_bodies_are_refused_by_the_name_of_their_field() {
    let world = World::alone(|_| {}).await;
    for (name, body, field) in cases() {
        let (status, answer) = world.try_deliver(body).await;
        assert_eq!((status, answer["field"].as_str()), (400, Some(field)), "{name}: {answer}");
        assert!(!answer["error"].as_str().unwrap().is_empty(), "{name}");
    }
    assert!(world.incidents().await.is_empty());
    world.deliver_one(firing("db-1")).await;
}

#[tokio::test]
async fn one_bad_alert_refuses_its_whole_delivery() {
    let world = World::alone(|_| {}).await;
    let (status, _) = world.try_deliver(body(&[alert("db-1", "firing", 0), json!({})])).await;
    assert_eq!(status, 400);
    assert!(world.incidents().await.is_empty());
}

#[tokio::test]
async fn twenty_megabytes_are_413() {
    let world = World::alone(|_| {}).await;
    let large = format!("{{\"alerts\": [], \"x\": \"{}\"}}", "x".repeat(20 << 20));
    let (status, answer) = world.try_deliver(large).await;
    assert_eq!(status, 413, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("8388608"), "{answer}");
    world.deliver_one(firing("db-1")).await;
}

#[tokio::test]
async fn a_body_without_room_is_503_with_a_time_to_come_back() {
    let text = firing("db-1");
    let world = World::alone(|config| config.queue_bytes = text.len() + 1024).await;
    let (first, rest) = text.split_at(20);
    let mut slow = TcpStream::connect(&world.config.listen).await.unwrap();
    let head = format!(
        "POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\nAuthorization: Bearer {WEBHOOK_TOKEN}\r\n\
         Content-Length: {}\r\n\r\n{first}",
        text.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let started = Instant::now();
    let refused = loop {
        let answer = world.webhook(firing("db-2")).send().await.unwrap();
        if answer.status() != 200 {
            break answer;
        }
        assert!(started.elapsed() < PATIENCE, "the half delivery takes no place");
    };
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    slow.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    world.deliver_one(firing("db-3")).await;
}
