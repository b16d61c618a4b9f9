//! A sender of one's own, and settings that are wrong.

use serde_json::json;

use super::*;
use crate::Format;

fn format(settings: Value) -> Result<Format, String> {
    serde_path_to_error::deserialize(json!({ "json": settings })).map_err(|error| error.to_string())
}

fn settings() -> Value {
    json!({
        "alerts": "/data/problems",
        "fingerprint": ["/id", "/host/name"],
        "status": {"at": "/state", "firing": ["OPEN", 1], "resolved": ["closed", 0]},
        "name": "/title",
        "severity": {"at": "/priority", "values": {"p1": "critical", "5": "info"}},
        "labels": {"all": ["/tags"], "each": {"server": "/host/name", "team": {"constant": "db"}}},
        "annotations": {"each": {"description": "/a~1b"}},
        "starts_at": "/since",
        "generator_url": "/link"
    })
}

fn body(change: impl FnOnce(&mut Value)) -> Value {
    let mut alert = json!({"id": 7, "host": {"name": "db-1"}, "state": "open", "title": "Disk full",
        "priority": "P1", "tags": {"env": "prod", "team": "web", "more": [1], "size": 2.5},
        "since": 1733930135, "link": "http://m/7", "a/b": "97 %"});
    change(&mut alert);
    json!({"data": {"problems": [alert]}})
}

fn read_json(settings: Value, body: &Value) -> Result<Vec<incident::Alert>, BadField> {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let headers = http::HeaderMap::new();
    let format = format(settings).unwrap();
    let read =
        format.read("own", &headers, body.to_string().as_bytes(), &Severities::default(), now);
    read.map(|reading| reading.alerts)
}

#[test]
fn every_field_comes_from_where_the_settings_say() {
    let fired = read_json(settings(), &body(|_| {})).unwrap().remove(0);
    assert_eq!((fired.name.as_str(), fired.severity), ("Disk full", Severity::Critical));
    let label = |name| fired.label(name);
    assert_eq!((label("server"), label("team")), (Some("db-1"), Some("db")));
    assert_eq!((label("env"), label("size"), label("more")), (Some("prod"), Some("2.5"), None));
    assert_eq!(fired.annotations["description"], "97 %");
    assert_eq!(fired.starts_at.to_string(), "2024-12-11T15:15:35Z");
    assert!(fired.is_start_known);
    assert_eq!((fired.generator_url.as_str(), fired.ends_at), ("http://m/7", None));
    let ended = read_json(settings(), &body(|a| a["state"] = json!(0))).unwrap().remove(0);
    assert_eq!((ended.is_firing(), &ended.fingerprint), (false, &fired.fingerprint));
    assert_eq!(ended.ends_at.unwrap().to_string(), "2026-01-01T00:00:00Z");
    let other = read_json(settings(), &body(|a| a["host"]["name"] = json!("db-2"))).unwrap();
    assert_ne!(other[0].fingerprint, fired.fingerprint);
}

#[test]
fn one_object_is_one_alert_and_little_is_needed() {
    let settings = json!({"fingerprint": ["/id"], "name": {"constant": "Probe"},
        "status": {"at": {"constant": "down"}, "firing": ["down"]}});
    let alert = read_json(settings, &json!({"id": "probe-1"})).unwrap().remove(0);
    assert_eq!((alert.fingerprint.as_str(), alert.name.as_str()), ("probe-1", "Probe"));
    assert_eq!(alert.starts_at.to_string(), "2026-01-01T00:00:00Z");
    assert!(!alert.is_start_known);
    assert_eq!(alert.severity, Severity::Warning);
}

#[test]
fn what_an_alert_leaves_out_is_named_by_its_pointer() {
    let error =
        |change: fn(&mut Value)| read_json(settings(), &body(change)).unwrap_err().to_string();
    assert_eq!(error(|a| a["id"] = Value::Null), "/data/problems/0/id: is missing");
    assert_eq!(error(|a| a["title"] = json!([])), "/data/problems/0/title: must be a single value");
    let state = error(|a| a["state"] = json!("odd"));
    assert_eq!(
        state,
        "/data/problems/0/state: \"odd\" is in neither list of the source's `status`"
    );
    let time = error(|a| a["since"] = json!("noon"));
    assert!(time.starts_with("/data/problems/0/since: \"noon\" is not"), "{time}");
    assert_eq!(error(|a| a["tags"] = json!(1)), "/data/problems/0/tags: must be an object");
    let bodies = |body: Value| read_json(settings(), &body).unwrap_err().to_string();
    assert_eq!(bodies(json!({})), "/data/problems: is missing");
    let list = bodies(json!({"data": {"problems": 3}}));
    assert_eq!(list, "/data/problems: must be an array of alerts, or one object");
}

#[test]
fn wrong_settings_are_named_when_they_are_read() {
    let error = |change: fn(&mut Value)| {
        let mut settings = settings();
        change(&mut settings);
        format(settings).unwrap_err()
    };
    let dotted = error(|s| s["name"] = json!("$.alert.title"));
    let expected =
        "json.name: \"$.alert.title\" is no JSON Pointer (RFC 6901), such as \"/alert/title\"";
    assert_eq!(dotted, expected);
    let tilde = error(|s| s["starts_at"] = json!("/a~2"));
    assert_eq!(tilde, "json.starts_at: \"/a~2\" has a `~` that is neither `~0` (~) nor `~1` (/)");
    let none = error(|s| s["fingerprint"] = json!([]));
    assert_eq!(none, "json.fingerprint: must name what tells one alert from another");
    let both = error(|s| s["status"]["resolved"] = json!(["open"]));
    assert_eq!(both, "json.status: \"OPEN\" stands in `firing` and in `resolved`");
    assert!(error(|s| s["status"]["firing"] = json!([])).contains("nothing would ever fire"));
    assert!(error(|s| s["colour"] = json!("/c")).contains("unknown field `colour`"));
    let constant = error(|s| s["labels"]["each"]["x"] = json!({"fixed": 1}));
    assert!(constant.starts_with("json.labels.each.x"), "{constant}");
}

#[test]
fn a_kind_is_a_name_or_a_mapping() {
    let kind = |value: Value| serde_json::from_value::<Format>(value).map_err(|e| e.to_string());
    assert_eq!(kind(json!("pagerduty")), Ok(Format::PagerDuty));
    assert_eq!(kind(json!("cloudevents")), Ok(Format::CloudEvents));
    assert!(kind(json!("json")).unwrap_err().contains("needs a mapping"));
    assert!(kind(json!("zabbix")).unwrap_err().contains("`alertmanager`, `grafana`"));
    assert!(kind(json!({"grafana": {}})).unwrap_err().contains("only `json` has a mapping"));
}

#[test]
fn settings_may_have_numbers_and_flags_where_the_body_has_them() {
    let text = "
json:
  fingerprint: [/id]
  name: {constant: Door}
  status: {at: /open, firing: [true, 1], resolved: [false, 0]}
  severity: {at: /level, values: {5: critical, low: info}}
";
    let format: Format = serde_norway::from_str(text).unwrap();
    let read = |body: Value| {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let body = body.to_string();
        let severities = Severities::default();
        let read = format.read("own", &http::HeaderMap::new(), body.as_bytes(), &severities, now);
        read.unwrap().alerts.remove(0)
    };
    let open = read(json!({"id": "d", "open": true, "level": 5}));
    assert_eq!((open.is_firing(), open.severity), (true, Severity::Critical));
    assert!(!read(json!({"id": "d", "open": false})).is_firing());
    assert!(!read(json!({"id": "d", "open": 0})).is_firing());
    let kind: Result<Format, _> = serde_norway::from_str("cloudevents");
    assert_eq!(kind.unwrap(), Format::CloudEvents);
}
