//! One event as an alert.

use incident::{Alert, AlertStatus, Severity};
use jiff::Timestamp;
use serde_json::Value;

use crate::fields::Fields;
use crate::pairs::Pairs;
use crate::reading::quoted;
use crate::{BadField, Severities, fingerprint};

/// The only version there is.
const VERSION: &str = "1.0";

/// # Errors
/// The first attribute or field that cannot be used.
pub(super) fn read(
    source: &str,
    event: &Fields<'_>,
    data: Option<&Value>,
    severities: &Severities,
    now: Timestamp,
) -> Result<Alert, BadField> {
    check_version(event)?;
    let required = |name| event.filled(name)?.ok_or_else(|| event.missing(name));
    let (_id, origin, kind) = (required("id")?, required("source")?, required("type")?);
    let empty = Value::Object(serde_json::Map::new());
    let data = Fields::at(event.place("data"), data.unwrap_or(&empty))?;
    let subject = event.filled("subject")?;
    let mut labels = Pairs::of(data.pairs("labels")?);
    let status = status(&data, kind)?;
    let fingerprint = fingerprint(&data, origin, subject, kind, &labels)?;
    let name = match data.filled("name")? {
        Some(name) => name,
        None => labels.get("alertname").filter(|name| !name.is_empty()).unwrap_or(kind),
    }
    .to_owned();
    let severity = severity(event, &data, &labels, severities)?;
    labels.add(&event.place("source"), "event_source", origin)?;
    labels.add(&event.place("type"), "event_type", kind)?;
    labels.take(event, "subject", "subject")?;
    labels.add(&event.place("type"), "alertname", &name)?;
    let at = event.time("time")?;
    let (starts_at, ends_at) = (data.time("startsAt")?, data.time("endsAt")?);
    Ok(Alert {
        source: source.to_owned(),
        fingerprint,
        status,
        name,
        severity,
        labels: labels.into_map(),
        annotations: data.pairs("annotations")?,
        // The event's own time is another one when the same is told again.
        starts_at: starts_at.unwrap_or_else(|| at.unwrap_or(now).min(now)),
        is_start_known: starts_at.is_some(),
        ends_at: match status {
            AlertStatus::Firing => ends_at,
            AlertStatus::Resolved => Some(ends_at.or(at).unwrap_or(now)),
        },
        generator_url: data.text("generatorURL")?.unwrap_or_default().to_owned(),
    })
}

fn check_version(event: &Fields<'_>) -> Result<(), BadField> {
    match event.filled("specversion")? {
        Some(VERSION) => Ok(()),
        Some(other) => {
            let why = format!("{} is not supported; {VERSION:?} is", quoted(other));
            Err(event.bad("specversion", why))
        }
        None => Err(event.missing("specversion")),
    }
}

/// What the data says, or the event's type, as `io.alert.firing.v1` does.
fn status(data: &Fields<'_>, kind: &str) -> Result<AlertStatus, BadField> {
    let named = |text: &str| match text {
        "firing" => Some(AlertStatus::Firing),
        "resolved" => Some(AlertStatus::Resolved),
        _ => None,
    };
    if let Some(text) = data.filled("status")? {
        return named(text).ok_or_else(|| {
            data.bad("status", format!("must be `firing` or `resolved`, not {}", quoted(text)))
        });
    }
    kind.split('.').find_map(named).ok_or_else(|| {
        let why = format!(
            "is missing, and the type {} has no part `firing` or `resolved`: is it an alert?",
            quoted(kind)
        );
        data.bad("status", why)
    })
}

/// The same for an alert's firing and its end, which the event's `id` is not. Origins do not share
/// their alerts.
fn fingerprint(
    data: &Fields<'_>,
    origin: &str,
    subject: Option<&str>,
    kind: &str,
    labels: &Pairs,
) -> Result<String, BadField> {
    let own = match (data.fingerprint("fingerprint")?, subject) {
        (Some(own), _) => own.to_owned(),
        (None, Some(subject)) => subject.to_owned(),
        (None, None) if !labels.map().is_empty() => fingerprint::of_labels(labels.map()),
        (None, None) => {
            let parts = kind.split('.').filter(|part| !matches!(*part, "firing" | "resolved"));
            parts.collect::<Vec<_>>().join(".")
        }
    };
    Ok(fingerprint::fitting(format!("{origin} {own}")))
}

/// A label says it, or the extension for severities, whose text is the origin's own word.
///
/// Source: <https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/severity.md>.
fn severity(
    event: &Fields<'_>,
    data: &Fields<'_>,
    labels: &Pairs,
    severities: &Severities,
) -> Result<Severity, BadField> {
    let texts =
        [data.filled("severity")?, labels.get(&severities.label), event.filled("severitytext")?];
    if let Some(meaning) = texts.into_iter().flatten().find_map(|text| severities.meaning(text)) {
        return Ok(meaning);
    }
    let number = match event.get("severitynumber") {
        None => return Ok(Severity::default()),
        Some(Value::String(text)) => text.parse().ok(),
        Some(number) => number.as_u64(),
    };
    match number {
        Some(1..=12) => Ok(Severity::Info),
        Some(13..=16) => Ok(Severity::Warning),
        Some(17..=24) => Ok(Severity::Critical),
        _ => Err(event.bad("severitynumber", "must be a number from 1 to 24")),
    }
}
