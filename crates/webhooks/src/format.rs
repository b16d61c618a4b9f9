//! The kinds of sources, by whose rules a request is read.

use std::fmt;

use http::HeaderMap;
use incident::Alert;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::limits::ALERT_BYTES;
use crate::{BadField, JsonMapping, Reading, Severities};
use crate::{alertmanager, cloudevents, datadog, grafana, pagerduty};

/// By whose rules a source's requests are read. In settings it is a name, `kind: alertmanager`, or for
/// a body of one's own `kind: {json: …}` with a [`JsonMapping`].
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    Alertmanager,
    Grafana,
    Datadog,
    PagerDuty,
    CloudEvents,
    Json(Box<JsonMapping>),
}

impl Format {
    /// As settings, logs and metrics call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Grafana => "grafana",
            Self::Datadog => "datadog",
            Self::PagerDuty => "pagerduty",
            Self::CloudEvents => "cloudevents",
            Self::Json(_) => "json",
        }
    }

    fn named(name: &str) -> Option<Self> {
        let named =
            [Self::Alertmanager, Self::Grafana, Self::Datadog, Self::PagerDuty, Self::CloudEvents];
        named.into_iter().find(|format| format.name() == name)
    }

    /// Reads a request of the source that the settings call `source`. Times that it does not give are
    /// `now`.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn read(
        &self,
        source: &str,
        headers: &HeaderMap,
        body: &[u8],
        severities: &Severities,
        now: Timestamp,
    ) -> Result<Reading, BadField> {
        let text = text_of(body)?;
        let mut reading = match self {
            Self::Alertmanager => alertmanager::read(source, text, severities),
            Self::Grafana => grafana::read(source, text, severities),
            Self::Datadog => datadog::read(source, text, severities, now),
            Self::PagerDuty => pagerduty::read(source, text, severities, now),
            Self::CloudEvents => cloudevents::read(source, headers, text, severities, now),
            Self::Json(mapping) => mapping.read(source, text, severities, now),
        }?;
        for (index, alert) in reading.alerts.iter_mut().enumerate() {
            check_size(index, alert)?;
            alert.starts_at = in_milliseconds(alert.starts_at);
        }
        Ok(reading)
    }
}

fn check_size(index: usize, alert: &Alert) -> Result<(), BadField> {
    let bytes = alert.text_bytes();
    if bytes <= ALERT_BYTES {
        return Ok(());
    }
    let why = format!("has texts of {bytes} bytes; at most {ALERT_BYTES}");
    Err(BadField::new(format!("alerts[{index}]"), why))
}

/// Alertmanager tells the start of an alert in nanoseconds to a webhook, and in milliseconds to whoever
/// asks its API: one episode has one start. No database keeps nanoseconds either.
fn in_milliseconds(starts_at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(starts_at.as_millisecond()).unwrap_or(starts_at)
}

fn text_of(body: &[u8]) -> Result<&str, BadField> {
    std::str::from_utf8(body).map_err(|error| {
        let why = format!("is not UTF-8 from byte {} on", error.valid_up_to());
        BadField::new("body", why)
    })
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Kind;
        impl<'de> Visitor<'de> for Kind {
            type Value = Format;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(
                    "`alertmanager`, `grafana`, `datadog`, `pagerduty`, `cloudevents` or `json` \
                     with its mapping",
                )
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Format, E> {
                if name == "json" {
                    return Err(E::custom("`json` needs a mapping: `kind: {json: {name: …}}`"));
                }
                let unexpected = serde::de::Unexpected::Str(name);
                Format::named(name).ok_or_else(|| E::invalid_value(unexpected, &self))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Format, A::Error> {
                let key: Option<String> = map.next_key()?;
                if key.as_deref() != Some("json") {
                    return Err(A::Error::custom("only `json` has a mapping"));
                }
                let mapping = map.next_value()?;
                match map.next_key::<String>()? {
                    None => Ok(Format::Json(mapping)),
                    Some(other) => Err(A::Error::unknown_field(&other, &["json"])),
                }
            }
        }
        deserializer.deserialize_any(Kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    fn read(body: &[u8]) -> Result<Reading, BadField> {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Format::Alertmanager.read("am", &HeaderMap::new(), body, &Severities::default(), now)
    }

    #[test]
    fn a_start_is_told_in_milliseconds_as_by_alertmanagers_api() {
        let body = br#"{"alerts": [{"status": "resolved", "labels": {"alertname": "A"},
            "startsAt": "2026-01-01T00:00:00.123987654Z",
            "endsAt": "2026-01-01T00:00:01.123987654Z"}]}"#;
        let alert = read(body).unwrap().alerts.remove(0);
        assert_eq!(alert.starts_at.to_string(), "2026-01-01T00:00:00.123Z");
        assert_eq!(alert.ends_at.unwrap().to_string(), "2026-01-01T00:00:01.123987654Z");
    }

    #[test]
    fn an_alert_of_too_many_texts_is_refused_whichever_is_long() {
        let labels = |count: usize| {
            let label = |number| format!(r#""l{number}": "{}""#, "x".repeat(limits::VALUE_BYTES));
            let labels: Vec<String> = (0..count).map(label).collect();
            format!(
                r#"{{"alerts": [{{"status": "firing", "labels": {{{}}},
                "startsAt": "2026-01-01T00:00:00Z"}}]}}"#,
                labels.join(",")
            )
        };
        assert_eq!(read(labels(1).as_bytes()).unwrap().alerts.len(), 1);
        let error = read(labels(2).as_bytes()).unwrap_err();
        assert!(error.field == "alerts[0]" && error.why.contains("at most 131072"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let error = read(b"{\"alerts\": [\"\xff\xfe\"]}").unwrap_err().to_string();
        assert_eq!(error, "body: is not UTF-8 from byte 13 on");
    }
}
