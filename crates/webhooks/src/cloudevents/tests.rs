//! Events in every form that HTTP gives them.

use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-01-02T00:00:00Z".parse().unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn read_as(headers: &HeaderMap, body: &str) -> Result<Reading, BadField> {
    read("events", headers, body, &Severities::default(), now())
}

fn read_json(body: &Value) -> Result<Reading, BadField> {
    read_as(&headers(&[("content-type", "application/cloudevents+json")]), &body.to_string())
}

fn event(change: impl FnOnce(&mut Value)) -> Value {
    let mut event = json!({"specversion": "1.0", "id": "1", "source": "/prometheus/eu",
        "type": "io.alert.firing.v1", "subject": "shop/latency", "time": "2026-01-01T10:00:00Z",
        "severitynumber": 17, "data": {"labels": {"service": "shop"}}});
    change(&mut event);
    event
}

fn error(change: impl FnOnce(&mut Value)) -> String {
    read_json(&event(change)).unwrap_err().to_string()
}

#[test]
fn an_end_is_paired_by_origin_and_subject() {
    let fired = read_json(&event(|_| {})).unwrap().alerts.remove(0);
    assert_eq!(fired.fingerprint, "/prometheus/eu shop/latency");
    assert_eq!(fired.severity, incident::Severity::Critical);
    assert_eq!(fired.label("service"), Some("shop"));
    assert_eq!(fired.starts_at.to_string(), "2026-01-01T10:00:00Z");
    assert!(!fired.is_start_known, "the time is the event's");
    let ended = read_json(&event(|e| {
        e["id"] = json!("2");
        e["type"] = json!("io.alert.resolved.v1");
        e["time"] = json!("2026-01-01T10:05:00Z");
        e["data"] = Value::Null;
    }));
    let ended = ended.unwrap().alerts.remove(0);
    assert_eq!((ended.is_firing(), &ended.fingerprint), (false, &fired.fingerprint));
    assert_eq!(ended.ends_at.unwrap().to_string(), "2026-01-01T10:05:00Z");
    let elsewhere = read_json(&event(|e| e["source"] = json!("/prometheus/us"))).unwrap();
    assert_ne!(elsewhere.alerts[0].fingerprint, fired.fingerprint);
}

#[test]
fn a_start_is_known_where_the_data_says_it() {
    let of = |start: Value, time: Value| {
        let event = event(|e| (e["data"]["startsAt"], e["time"]) = (start, time));
        let alert = read_json(&event).unwrap().alerts.remove(0);
        (alert.starts_at.to_string(), alert.is_start_known)
    };
    let (start, time) = ("2026-01-01T09:00:00Z", "2026-01-01T10:00:00Z");
    assert_eq!(of(json!(start), json!(time)), (start.to_owned(), true));
    assert_eq!(of(Value::Null, json!(time)), (time.to_owned(), false));
    assert_eq!(of(Value::Null, Value::Null), (now().to_string(), false));
    let to_come = json!("2026-01-03T00:00:00Z");
    assert_eq!(of(Value::Null, to_come), (now().to_string(), false));
}

#[test]
fn without_a_subject_labels_or_the_type_pair_them() {
    let of = |kind: &str, data: Value| {
        let event = event(|e| {
            (e["subject"], e["type"], e["data"]) = (Value::Null, json!(kind), data);
        });
        read_json(&event).unwrap().alerts.remove(0).fingerprint
    };
    let labels = json!({"labels": {"service": "shop"}});
    assert_eq!(of("a.firing", labels.clone()), of("a.resolved", labels));
    assert_eq!(of("disk.firing.v1", Value::Null), of("disk.resolved.v1", Value::Null));
    assert_ne!(of("disk.firing.v1", Value::Null), of("load.firing.v1", Value::Null));
}

#[test]
fn a_batch_is_many_and_one_bad_event_is_named() {
    let batch = headers(&[("content-type", "application/cloudevents-batch+json")]);
    let two = json!([event(|_| {}), event(|e| e["subject"] = json!("shop/errors"))]);
    assert_eq!(read_as(&batch, &two.to_string()).unwrap().alerts.len(), 2);
    assert_eq!(read_as(&batch, "[]").unwrap(), Reading::default());
    let bad = json!([event(|_| {}), event(|e| e["specversion"] = json!("0.3"))]);
    let error = read_as(&batch, &bad.to_string()).unwrap_err().to_string();
    assert_eq!(error, "[1].specversion: \"0.3\" is not supported; \"1.0\" is");
    let one = read_as(&batch, &event(|_| {}).to_string()).unwrap_err().to_string();
    assert_eq!(one, "body: must be an array of events");
}

#[test]
fn attributes_may_stand_in_headers() {
    let binary = headers(&[
        ("content-type", "application/json; charset=utf-8"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/prometheus/eu"),
        ("ce-type", "io.alert.firing.v1"),
        ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("ce-severitynumber", "9"),
    ]);
    let alert = read_as(&binary, r#"{"labels": {"service": "shop"}}"#).unwrap().alerts.remove(0);
    assert_eq!(alert.fingerprint, "/prometheus/eu Euro € 😀");
    assert_eq!(alert.severity, incident::Severity::Info);
    assert_eq!(alert.starts_at, now());
    assert_eq!(read_as(&binary, "").unwrap().alerts.len(), 1);
    let mut twice = binary.clone();
    twice.append("ce-id", "2".parse().unwrap());
    assert_eq!(read_as(&twice, "").unwrap_err().to_string(), "ce-id: is there more than once");
    let mut text = binary.clone();
    text.insert("content-type", "text/plain".parse().unwrap());
    let error = read_as(&text, "fire").unwrap_err().to_string();
    assert_eq!(error, "content-type: must be JSON, not \"text/plain\"");
    let mut broken = binary;
    broken.insert("ce-subject", "%ff".parse().unwrap());
    let error = read_as(&broken, "").unwrap_err().to_string();
    assert_eq!(error, "ce-subject: is not UTF-8 once it is decoded");
}

#[test]
fn data_may_be_base64() {
    use base64::Engine;
    let encoded = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let with = |text: String| {
        event(|e| {
            e.as_object_mut().unwrap().remove("data");
            e["data_base64"] = json!(text);
        })
    };
    let alert = read_json(&with(encoded(r#"{"labels": {"service": "shop"}}"#))).unwrap();
    assert_eq!(alert.alerts[0].label("service"), Some("shop"));
    let error = |text| read_json(&with(text)).unwrap_err().to_string();
    assert!(error("...".into()).starts_with("data_base64: is not Base64"));
    assert!(error(encoded("{")).starts_with("data_base64: holds a body: is not JSON"));
    assert_eq!(error(encoded("3")), "data: must be an object");
}

#[test]
fn what_is_no_alert_is_refused() {
    let kind = error(|e| e["type"] = json!("com.example.someevent"));
    assert!(kind.starts_with("data.status: is missing, and the type \"com.example"), "{kind}");
    assert_eq!(error(|e| e["specversion"] = Value::Null), "specversion: is missing");
    assert_eq!(error(|e| e["id"] = json!("")), "id: is missing");
    let number = error(|e| e["severitynumber"] = json!(25));
    assert_eq!(number, "severitynumber: must be a number from 1 to 24");
    assert_eq!(error(|e| e["data"] = json!("text")), "data: must be an object");
    let both = error(|e| e["data_base64"] = json!("e30="));
    assert_eq!(both, "data_base64: must not stand beside `data`");
    let status = error(|e| e["data"]["status"] = json!("on"));
    assert_eq!(status, "data.status: must be `firing` or `resolved`, not \"on\"");
}
