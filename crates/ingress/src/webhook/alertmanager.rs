//! Alertmanager's webhook body, version 4 and older. `alerts[].status` decides, never the group's;
//! unknown keys are passed over; what cannot be used is named by its path.
//!
//! Source: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>.

use std::collections::BTreeMap;

use incident::{Alert, AlertStatus};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::Mapping;
use crate::error::BadField;
use crate::limits;

/// The name of this source in alerts.
pub(crate) const SOURCE: &str = "alertmanager";

/// Reads a body.
///
/// # Errors
/// The first field that cannot be used.
pub(crate) fn read(body: &[u8], mapping: &Mapping) -> Result<Vec<Alert>, BadField> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| BadField::new("body", format!("is not JSON: {error}")))?;
    let body = body.as_object().ok_or_else(|| BadField::new("body", "must be an object"))?;
    let alerts = body.get("alerts").ok_or_else(|| BadField::new("alerts", "is missing"))?;
    let alerts = alerts.as_array().ok_or_else(|| BadField::new("alerts", "must be an array"))?;
    if alerts.len() > limits::ALERTS {
        let why = format!("holds {} alerts; at most {} are taken", alerts.len(), limits::ALERTS);
        return Err(BadField::new("alerts", why));
    }
    alerts
        .iter()
        .enumerate()
        .map(|(index, alert)| {
            let path = format!("alerts[{index}]");
            let alert =
                alert.as_object().ok_or_else(|| BadField::new(&path, "must be an object"))?;
            Reader { path, alert }.read(mapping)
        })
        .collect()
}

/// One alert and where it stands.
struct Reader<'a> {
    path: String,
    alert: &'a Map<String, Value>,
}

impl Reader<'_> {
    fn read(&self, mapping: &Mapping) -> Result<Alert, BadField> {
        let labels = self.pairs("labels")?;
        let annotations = self.pairs("annotations")?;
        let status = match self.text("status")? {
            Some("firing") => AlertStatus::Firing,
            Some("resolved") => AlertStatus::Resolved,
            Some(other) => {
                let why = format!("must be `firing` or `resolved`, not {other:?}");
                return Err(self.bad("status", why));
            }
            None => return Err(self.bad("status", "is missing")),
        };
        let starts_at = self.time("startsAt")?.ok_or_else(|| self.bad("startsAt", "is missing"))?;
        let fingerprint = match self.text("fingerprint")?.filter(|text| !text.is_empty()) {
            Some(text) => text.to_owned(),
            None => fingerprint_of(&labels),
        };
        let name = labels.get("alertname").filter(|name| !name.is_empty());
        Ok(Alert {
            source: SOURCE.into(),
            fingerprint,
            status,
            name: name.cloned().unwrap_or_else(|| "unnamed alert".into()),
            severity: mapping.severity(&labels),
            labels,
            annotations,
            starts_at,
            ends_at: self.time("endsAt")?,
            generator_url: self.text("generatorURL")?.unwrap_or_default().to_owned(),
        })
    }

    fn pairs(&self, field: &str) -> Result<BTreeMap<String, String>, BadField> {
        let pairs = match self.alert.get(field) {
            None | Some(Value::Null) => return Ok(BTreeMap::new()),
            Some(Value::Object(pairs)) => pairs,
            Some(_) => return Err(self.bad(field, "must be an object of texts")),
        };
        if pairs.len() > limits::PAIRS {
            let why = format!("holds {} pairs; at most {} are taken", pairs.len(), limits::PAIRS);
            return Err(self.bad(field, why));
        }
        pairs.iter().map(|(name, value)| self.pair(field, name, value)).collect()
    }

    fn pair(&self, field: &str, name: &str, value: &Value) -> Result<(String, String), BadField> {
        if name.len() > limits::NAME_BYTES || name.contains('\0') {
            let why =
                format!("has a name with a NUL byte or of more than {} bytes", limits::NAME_BYTES);
            return Err(self.bad(field, why));
        }
        let place = format!("{field}.{name}");
        let value = value.as_str().ok_or_else(|| self.bad(&place, "must be a text"))?;
        self.check_text(&place, value)?;
        Ok((name.to_owned(), value.to_owned()))
    }

    fn text(&self, field: &str) -> Result<Option<&str>, BadField> {
        match self.alert.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => {
                self.check_text(field, text)?;
                Ok(Some(text))
            }
            Some(_) => Err(self.bad(field, "must be a text")),
        }
    }

    fn check_text(&self, field: &str, text: &str) -> Result<(), BadField> {
        if text.contains('\0') {
            return Err(self.bad(field, "holds a NUL byte"));
        }
        if text.len() > limits::VALUE_BYTES {
            let why = format!("is {} bytes long; at most {}", text.len(), limits::VALUE_BYTES);
            return Err(self.bad(field, why));
        }
        Ok(())
    }

    /// A time; Go's zero time stands for none.
    fn time(&self, field: &str) -> Result<Option<Timestamp>, BadField> {
        let Some(text) = self.text(field)?.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        if text.starts_with("0001-01-01T") {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|error| self.bad(field, format!("{text:?} is not an RFC 3339 time: {error}")))
    }

    fn bad(&self, field: &str, why: impl Into<String>) -> BadField {
        BadField::new(format!("{}.{field}", self.path), why)
    }
}

/// A stable identity for senders that give none: FNV-1a over the sorted labels, as Alertmanager
/// computes its own.
fn fingerprint_of(labels: &BTreeMap<String, String>) -> String {
    const SEPARATOR: u8 = 255;
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for (name, value) in labels {
        name.bytes().for_each(&mut add);
        add(SEPARATOR);
        value.bytes().for_each(&mut add);
        add(SEPARATOR);
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_json(body: Value) -> Result<Vec<Alert>, BadField> {
        read(body.to_string().as_bytes(), &Mapping::default())
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
        assert_eq!(alerts[0].severity, incident::Severity::Critical);
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
    }

    #[test]
    fn text_that_is_not_json_or_utf8_is_refused() {
        assert!(read(b"{\"alerts\": [", &Mapping::default()).is_err());
        assert!(read(b"{\"alerts\": [\"\xff\xfe\"]}", &Mapping::default()).is_err());
        let deep = "[".repeat(100_000);
        assert!(read(deep.as_bytes(), &Mapping::default()).is_err());
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
