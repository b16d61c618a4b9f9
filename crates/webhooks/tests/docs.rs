//! What docs/WEBHOOKS.md tells people to paste works as it stands there.
#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use http::HeaderMap;
use incident::Alert;
use serde::Deserialize;
use serde_json::{Value, json};
use webhooks::{Format, Severities};

const PAGE: &str = include_str!("../../../docs/WEBHOOKS.md");

/// The first block of the page in this language.
fn block(language: &str) -> &'static str {
    let (_, after) = PAGE.split_once(&format!("```{language}\n")).unwrap();
    after.split_once("```").unwrap().0
}

fn read_one(format: &Format, body: &Value) -> Alert {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let body = body.to_string();
    let read = format.read("s", &HeaderMap::new(), body.as_bytes(), &Severities::default(), now);
    read.unwrap().alerts.remove(0)
}

#[test]
fn the_mapping_of_the_page_is_read_and_used() {
    let page: serde_norway::Value = serde_norway::from_str(block("yaml")).unwrap();
    let format = Format::deserialize(page["sources"]["probes"]["kind"].clone()).unwrap();
    let alert = read_one(
        &format,
        &json!({"data": {"problems": [{"id": 7, "host": {"name": "db-1"}, "state": "Open",
            "title": "Disk full", "priority": "P4", "tags": {"env": "prod"}, "text": "97 %",
            "since": 1767225600, "link": "http://m/7"}]}}),
    );
    assert_eq!((alert.name.as_str(), alert.severity), ("Disk full", incident::Severity::Info));
    assert_eq!((alert.label("server"), alert.label("team")), (Some("db-1"), Some("storage")));
    assert_eq!(alert.starts_at.to_string(), "2026-01-01T00:00:00Z");
}

#[test]
fn the_payload_for_datadog_is_read_once_it_is_filled_in() {
    let values = [
        ("$EVENT_TITLE", "[Triggered on {host:db-1}] Disk is full"),
        ("$TEXT_ONLY_MSG", "97 %"),
        ("$DATE", "1767225600000"),
        ("$ALERT_ID", "77"),
        ("$ALERT_CYCLE_KEY", "123"),
        ("$ALERT_TRANSITION", "Triggered"),
        ("$ALERT_PRIORITY", "P3"),
        ("$ALERT_SCOPE", "host:db-1"),
        ("$HOSTNAME", "db-1"),
        ("$TAGS", "env:prod,host:db-1"),
        ("$LINK", "https://app.datadoghq.com/event/event?id=1"),
        ("$ALERT_QUERY", "avg(last_5m):disk > 1"),
        ("$ALERT_METRIC", "disk"),
        ("$SNAPSHOT", "https://p.datadoghq.com/1.png"),
    ];
    let mut body: Value = serde_json::from_str(block("json")).unwrap();
    let fields = body.as_object_mut().unwrap();
    assert_eq!(fields.len(), values.len());
    for field in fields.values_mut() {
        let (_, value) = values.iter().find(|(name, _)| field == name).unwrap();
        *field = json!(value);
    }
    let alert = read_one(&Format::Datadog, &body);
    assert_eq!((alert.fingerprint.as_str(), alert.name.as_str()), ("cycle:123", "Disk is full"));
    assert_eq!(
        (alert.severity, alert.label("server")),
        (incident::Severity::Warning, Some("db-1"))
    );
    assert_eq!((alert.label("env"), alert.annotations["metric"].as_str()), (Some("prod"), "disk"));
    assert_eq!(alert.starts_at.to_string(), "2026-01-01T00:00:00Z");
}
