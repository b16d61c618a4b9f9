//! What nobody sends who means well. Every reader refuses it by the name of a field, or takes it in
//! within the limits, and comes to an end soon: none of these takes longer the more of it there is.
#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use http::HeaderMap;
use serde_json::{Map, Value, json};
use webhooks::{BadField, Format, Reading, Severities, limits};

fn own() -> Format {
    let mapping = json!({"json": {"fingerprint": ["/id"], "name": "/title",
        "status": {"at": "/state", "firing": ["open"]}, "labels": {"all": ["/tags"]},
        "annotations": {"each": {"description": "/text"}}, "starts_at": "/since"}});
    serde_json::from_value(mapping).unwrap()
}

fn every_format() -> [Format; 6] {
    use Format::{Alertmanager, CloudEvents, Datadog, Grafana, PagerDuty};
    [Alertmanager, Grafana, Datadog, PagerDuty, CloudEvents, own()]
}

fn read(format: &Format, body: &[u8]) -> Result<Reading, BadField> {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    format.read("s", &HeaderMap::new(), body, &Severities::default(), now)
}

/// A body that each reader takes, with labels, a text and a time as given.
fn usual(format: &Format, labels: &Value, text: &Value, time: &Value) -> Value {
    let alert = || {
        json!({"status": "firing", "labels": labels, "startsAt": time,
            "annotations": {"description": text}})
    };
    match format {
        Format::Alertmanager | Format::Grafana => json!({ "alerts": [alert()] }),
        Format::Datadog => json!({"title": "[Warn] Load", "body": text, "date": time}),
        Format::PagerDuty => json!({"event_action": "trigger", "client_url": text,
            "payload": {"summary": "load", "timestamp": time, "custom_details": labels}}),
        Format::CloudEvents => {
            json!({"specversion": "1.0", "id": "1", "source": "/a", "type": "a.b",
            "data": alert()})
        }
        Format::Json(_) => {
            json!({"id": 1, "title": "t", "state": "open", "tags": labels, "text": text, "since": time})
        }
    }
}

fn fine(format: &Format) -> Value {
    usual(format, &json!({"a": "b"}), &json!("text"), &json!("2026-01-01T00:00:00Z"))
}

fn refused(format: &Format, body: &[u8]) -> BadField {
    match read(format, body) {
        Ok(reading) => panic!("{} takes it: {reading:?}", format.name()),
        Err(error) => {
            assert!(!error.field.is_empty() && error.field.len() < 2_000, "{error}");
            assert!(!error.why.is_empty() && error.why.len() < 8_000, "{error}");
            error
        }
    }
}

#[test]
fn what_is_usual_is_taken() {
    for format in every_format() {
        let reading = read(&format, fine(&format).to_string().as_bytes());
        assert_eq!(reading.unwrap().alerts.len(), 1, "{}", format.name());
    }
}

#[test]
fn bodies_that_are_no_json_name_the_body() {
    let deep_lists = "[".repeat(300_000);
    let deep_objects = r#"{"alerts":"#.repeat(100_000);
    let deep_inside = format!(r#"{{"alerts": [{}{}]}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let long_number = format!(r#"{{"title": {}}}"#, "9".repeat(1 << 20));
    let bodies: [&[u8]; 9] = [
        b"",
        b"\0",
        b"\xff\xfe\x00",
        b"{\"a\": \"\xc3\x28\"}",
        b"{\"a\": 1e999}",
        b"{} {}",
        deep_lists.as_bytes(),
        deep_objects.as_bytes(),
        deep_inside.as_bytes(),
    ];
    for format in every_format() {
        for body in bodies {
            let error = refused(&format, body);
            assert_eq!(error.field, "body", "{}: {error}", format.name());
        }
        refused(&format, long_number.as_bytes());
    }
}

#[test]
fn twenty_megabytes_end_soon() {
    let text = json!({ "x": "x".repeat(20 << 20) }).to_string();
    let size = 2 << 20;
    let objects = format!(r#"{{"alerts": [{}{{}}]}}"#, "{},".repeat(size / 3));
    let keys: String = (0..size / 12).map(|at| format!(r#""{at:07}":1,"#)).collect();
    let keys = format!("{{{keys}\"z\": 1}}");
    for format in every_format() {
        for body in [&text, &objects, &keys] {
            refused(&format, body.as_bytes());
        }
    }
}

#[test]
fn ten_thousand_labels_are_refused_where_they_stand() {
    let many: Map<String, Value> = (0..10_000).map(|at| (format!("l{at}"), json!("v"))).collect();
    for format in every_format() {
        let place = match &format {
            Format::Alertmanager | Format::Grafana => "alerts[0].labels",
            Format::PagerDuty => "payload.custom_details",
            Format::CloudEvents => "data.labels",
            Format::Json(_) => "/tags",
            Format::Datadog => continue,
        };
        let body = usual(&format, &Value::Object(many.clone()), &json!(""), &Value::Null);
        assert_eq!(refused(&format, body.to_string().as_bytes()).field, place);
    }
    let tags: Vec<String> = (0..10_000).map(|at| format!("{at:x}:v")).collect();
    let scattered = json!({"title": "[Warn] Load", "tags": tags[..5_000].join(",")}).to_string();
    assert_eq!(refused(&Format::Datadog, scattered.as_bytes()).field, "tags");
    let same: Vec<String> = (0..7_000).map(|at| format!("a:{at}")).collect();
    let same = json!({"title": "[Warn] Load", "tags": same.join(",")}).to_string();
    assert_eq!(refused(&Format::Datadog, same.as_bytes()).field, "tags");
}

#[test]
fn nul_and_long_texts_are_refused_where_they_stand() {
    let long = "x".repeat(limits::VALUE_BYTES + 1);
    for format in every_format() {
        let place = match &format {
            Format::Alertmanager | Format::Grafana => "alerts[0].annotations.description",
            Format::Datadog => "body",
            Format::PagerDuty => "client_url",
            Format::CloudEvents => "data.annotations.description",
            Format::Json(_) => "/text",
        };
        for text in ["a\0b", long.as_str()] {
            let body = usual(&format, &json!({}), &json!(text), &json!("2026-01-01T00:00:00Z"));
            assert_eq!(refused(&format, body.to_string().as_bytes()).field, place);
        }
    }
}

#[test]
fn times_that_are_none_are_refused_where_they_stand() {
    for format in every_format() {
        let place = match &format {
            Format::Alertmanager | Format::Grafana => "alerts[0].startsAt",
            Format::Datadog => "date",
            Format::PagerDuty => "payload.timestamp",
            Format::CloudEvents => "data.startsAt",
            Format::Json(_) => "/since",
        };
        for time in ["noon", "99999-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01"] {
            let body = usual(&format, &json!({}), &json!(""), &json!(time));
            assert_eq!(refused(&format, body.to_string().as_bytes()).field, place, "{time}");
        }
    }
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    for format in every_format() {
        let usual = fine(&format).to_string();
        for key in ["status", "title", "event_action", "id"] {
            let Some(at) = usual.find(&format!("\"{key}\":")) else { continue };
            let twice = format!("{}\"{key}\":\"other\",{}", &usual[..at], &usual[at..]);
            let error = refused(&format, twice.as_bytes());
            assert!(error.why.contains("more than once"), "{}: {error}", format.name());
        }
    }
}

/// Puts a value of another type at every place of a body that is fine.
#[test]
fn another_type_anywhere_is_refused_or_passed_over() {
    let others = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e308),
        json!("\u{7f}"),
        json!([[]]),
        json!({"a": {}}),
    ];
    for format in every_format() {
        let fine = fine(&format);
        for place in places(&fine) {
            for other in &others {
                let mut body = fine.clone();
                *body.pointer_mut(&place).unwrap() = other.clone();
                let body = body.to_string();
                match read(&format, body.as_bytes()) {
                    Ok(reading) => {
                        assert!(reading.alerts.iter().all(|alert| !alert.fingerprint.is_empty()));
                    }
                    Err(_) => drop(refused(&format, body.as_bytes())),
                }
            }
        }
    }
}

fn places(value: &Value) -> Vec<String> {
    let below = |name: String, value: &Value| {
        let inner = places(value).into_iter().map(|place| format!("/{name}{place}"));
        inner.collect::<Vec<_>>()
    };
    let mut found = vec![String::new()];
    match value {
        Value::Object(fields) => {
            found.extend(fields.iter().flat_map(|(name, value)| below(name.clone(), value)));
        }
        Value::Array(items) => {
            found.extend(
                items.iter().enumerate().flat_map(|(at, item)| below(at.to_string(), item)),
            );
        }
        _ => {}
    }
    found
}
