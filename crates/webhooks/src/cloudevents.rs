//! Alerts as CloudEvents 1.0 over HTTP: one event, a batch, or the attributes in headers. The data is
//! an object such as Alertmanager's alert; what it leaves out, the attributes say. An event that says
//! neither that it fires nor that it ended is refused: not every event is an alert.
//!
//! Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>.

mod attributes;
mod event;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde_json::Value;

use crate::fields::{Fields, check_alerts, parse};
use crate::{BadField, Reading, Severities};

const BATCH: &str = "application/cloudevents-batch+json";
const STRUCTURED: &str = "application/cloudevents";

/// # Errors
/// The first field that cannot be used.
pub(crate) fn read(
    source: &str,
    headers: &HeaderMap,
    text: &str,
    severities: &Severities,
    now: Timestamp,
) -> Result<Reading, BadField> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
    let alerts = if !content_type.starts_with(STRUCTURED) && headers.contains_key("ce-specversion")
    {
        let attributes = attributes::of_headers(headers)?;
        let data = attributes::data_of(&content_type, text)?;
        vec![event::read(source, &Fields::body(&attributes)?, data.as_ref(), severities, now)?]
    } else {
        let body = parse(text)?;
        let read_one = |event: Fields<'_>| {
            let data = attributes::data(&event)?;
            event::read(source, &event, data.as_deref(), severities, now)
        };
        match &body {
            Value::Array(events) => {
                check_alerts(events.len()).map_err(|why| BadField::new("body", why))?;
                let events = events.iter().enumerate();
                let events = events
                    .map(|(at, event)| Fields::at(format!("[{at}]"), event).and_then(read_one));
                events.collect::<Result<_, _>>()?
            }
            _ if content_type.starts_with(BATCH) => {
                return Err(BadField::new("body", "must be an array of events"));
            }
            event => vec![read_one(Fields::body(event)?)?],
        }
    };
    Ok(Reading { alerts, ..Reading::default() })
}

#[cfg(test)]
mod tests;
