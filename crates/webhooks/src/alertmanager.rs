//! Alertmanager's webhook body, version 4 and older. `alerts[].status` decides, never the group's;
//! unknown keys are passed over. A body is read once, without a tree in between; only one that cannot
//! be used is read again, field by field, to name what is wrong by its path.
//!
//! Source: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>.

mod fast;
mod named;

use std::collections::BTreeMap;

use crate::{BadField, Reading, Severities};
pub(crate) use named::read_alert;

/// # Errors
/// The first field that cannot be used.
pub(crate) fn read(source: &str, text: &str, severities: &Severities) -> Result<Reading, BadField> {
    match fast::read(source, text, severities) {
        Some(reading) => {
            debug_assert!(is_the_same(&reading, &named::read(source, text, severities)));
            Ok(reading)
        }
        None => named::read(source, text, severities),
    }
}

/// Both ways read the same. Only the one that names fields looks at what nobody uses: a key that is
/// there twice, too many values.
fn is_the_same(fast: &Reading, named: &Result<Reading, BadField>) -> bool {
    named.as_ref().map_or_else(
        |error| error.why.contains("more than once") || error.why.contains("values are before"),
        |named| named == fast,
    )
}

fn name_of(labels: &BTreeMap<String, String>) -> String {
    let name = labels.get("alertname").filter(|name| !name.is_empty());
    name.cloned().unwrap_or_else(|| "unnamed alert".into())
}

#[cfg(test)]
mod tests {
    use incident::Alert;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::limits;

    fn read_text(text: &str) -> Result<Reading, BadField> {
        read("am", text, &Severities::default())
    }

    fn read_json(body: Value) -> Result<Vec<Alert>, BadField> {
        read_text(&body.to_string()).map(|reading| reading.alerts)
    }

    fn alert(change: impl FnOnce(&mut Value)) -> Value {
        let mut alert = json!({"status": "firing", "labels": {"alertname": "A"},
            "startsAt": "2026-01-01T00:00:00Z"});
        change(&mut alert);
        json!({"alerts": [alert]})
    }

    fn error_of(body: Value) -> String {
        read_json(body).unwrap_err().to_string()
    }

    #[test]
    fn the_alerts_own_status_decides() {
        let body = json!({"status": "firing", "alerts": [
            {"status": "resolved", "labels": {"alertname": "A", "severity": "critical"},
             "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2026-01-01T00:01:00Z",
             "fingerprint": "abc"}]});
        let alerts = read_json(body).unwrap();
        assert!(!alerts[0].is_firing());
        assert_eq!(alerts[0].fingerprint, "abc");
        assert_eq!(alerts[0].source, "am");
        assert_eq!(alerts[0].severity, incident::Severity::Critical);
    }

    #[test]
    fn the_usual_body_is_read_the_fast_way() {
        let body = alert(|a| {
            a["endsAt"] = json!("0001-01-01T00:00:00Z");
            a["annotations"] = json!({"summary": "a \"quoted\" text\n"});
            a["generatorURL"] = json!("http://p/graph?a=1&b=2");
        });
        let body = json!({"alerts": body["alerts"], "notification_reason": "first notification",
            "truncatedAlerts": 3, "groupKey": {"unknown": ["keys", 1]}});
        let reading = fast::read("am", &body.to_string(), &Severities::default()).unwrap();
        assert_eq!(reading.truncated, 3);
        assert_eq!(reading.alerts[0].annotations["summary"], "a \"quoted\" text\n");
    }

    #[test]
    fn gos_zero_time_is_no_end() {
        let body = alert(|a| a["endsAt"] = json!("0001-01-01T00:00:00Z"));
        assert_eq!(read_json(body).unwrap()[0].ends_at, None);
    }

    #[test]
    fn bad_fields_are_named_by_their_path() {
        assert_eq!(error_of(json!({})), "alerts: is missing");
        assert_eq!(error_of(json!([])), "body: must be an object");
        assert_eq!(error_of(json!([[], 0])), "body: must be an object");
        let list = json!(["firing", {}, {}, "2026-01-01T00:00:00Z", null, null, null]);
        assert_eq!(error_of(json!({"alerts": [list]})), "alerts[0]: must be an object");
        let status = error_of(alert(|a| a["status"] = json!({"firing": null})));
        assert_eq!(status, "alerts[0].status: must be a text");
        assert_eq!(error_of(json!({"alerts": {}})), "alerts: must be an array");
        assert_eq!(error_of(json!({"alerts": [3]})), "alerts[0]: must be an object");
        let status = error_of(alert(|a| a["status"] = json!("fire")));
        assert!(status.starts_with("alerts[0].status: must be `firing`"), "{status}");
        let label = error_of(alert(|a| a["labels"]["x"] = json!(1)));
        assert_eq!(label, "alerts[0].labels.x: must be a text");
        let nul = error_of(alert(|a| a["labels"]["x"] = json!("a\0b")));
        assert_eq!(nul, "alerts[0].labels.x: holds a NUL byte");
        let time = error_of(alert(|a| a["startsAt"] = json!("yesterday")));
        assert!(time.starts_with("alerts[0].startsAt: \"yesterday\" is not"), "{time}");
        let many: Map<String, Value> = (0..10_000).map(|i| (format!("l{i}"), json!("v"))).collect();
        let many = error_of(alert(|a| a["labels"] = Value::Object(many)));
        assert_eq!(many, "alerts[0].labels: holds 10000 pairs; at most 256 are taken");
        let long = error_of(alert(|a| a["fingerprint"] = json!("f".repeat(513))));
        assert_eq!(long, "alerts[0].fingerprint: is 513 bytes long; at most 512");
        let truncated = error_of(json!({"alerts": [], "truncatedAlerts": -1}));
        assert_eq!(truncated, "truncatedAlerts: must be a count");
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused() {
        let twice = |labels: &str| {
            let text = format!(
                r#"{{"alerts": [{{"status": "firing", "labels": {labels},
                "startsAt": "2026-01-01T00:00:00Z"}}]}}"#
            );
            read_text(&text).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(twice(r#"{"a": "1", "b": "2"}"#), Ok(()));
        let error = twice(r#"{"a": "1", "a": "2"}"#).unwrap_err();
        assert!(error.starts_with("alerts[0].labels"), "{error}");
        assert!(error.contains("has the key \"a\" more than once"), "{error}");
    }

    #[test]
    fn text_that_is_not_json_is_refused_however_deep_or_long() {
        assert!(read_text("{\"alerts\": [").is_err());
        assert!(read_text(&"[".repeat(100_000)).is_err());
        assert!(read_text(&"{\"alerts\":".repeat(100_000)).is_err());
        let crowd = format!("{{\"alerts\": [{}{{}}]}}", "{},".repeat(limits::VALUES));
        let error = read_text(&crowd).unwrap_err();
        assert!(error.why.contains("values"), "{error}");
    }

    #[test]
    fn null_counts_as_absent() {
        let body = alert(|a| {
            a["annotations"] = Value::Null;
            a["endsAt"] = Value::Null;
            a["fingerprint"] = Value::Null;
        });
        assert_eq!(read_json(body).unwrap().len(), 1);
    }

    #[test]
    fn a_missing_fingerprint_is_made_of_the_labels() {
        let one = read_json(alert(|_| {})).unwrap();
        let same = read_json(alert(|a| a["fingerprint"] = json!(""))).unwrap();
        let other = read_json(alert(|a| a["labels"]["x"] = json!("y"))).unwrap();
        assert_eq!(one[0].fingerprint, same[0].fingerprint);
        assert_ne!(one[0].fingerprint, other[0].fingerprint);
    }
}
