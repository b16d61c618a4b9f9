//! PagerDuty's Events API v2, so that whatever speaks it can point here. `trigger` fires, `resolve`
//! ends, `acknowledge` says nothing of the alert. The `dedup_key` tells one alert from another.
//!
//! Source: <https://developer.pagerduty.com/docs/events-api-v2-overview>.

use incident::{Alert, AlertStatus, Severity};
use jiff::Timestamp;
use serde_json::Value;

use crate::fields::{Fields, parse};
use crate::pairs::{Pairs, bounded_lines, sort_details};
use crate::reading::quoted;
use crate::{BadField, Reading, Severities, fingerprint};

/// # Errors
/// The first field that cannot be used.
pub(crate) fn read(
    source: &str,
    text: &str,
    severities: &Severities,
    now: Timestamp,
) -> Result<Reading, BadField> {
    let body = parse(text)?;
    let body = Fields::body(&body)?;
    let Some(action) = body.filled("event_action")? else {
        if body.get("service_key").is_some() {
            let why = "is missing: this is an event of the API's version 1; version 2 is taken";
            return Err(body.bad("event_action", why));
        }
        let why = "is missing: must be `trigger`, `acknowledge` or `resolve`; change events are \
                   no alerts and are not taken";
        return Err(body.bad("event_action", why));
    };
    let dedup_key = body.fingerprint("dedup_key")?;
    let status = match action {
        "trigger" => AlertStatus::Firing,
        "resolve" | "acknowledge" if dedup_key.is_none() => {
            return Err(body.bad("dedup_key", format!("is missing: whom does `{action}` mean?")));
        }
        "resolve" => AlertStatus::Resolved,
        "acknowledge" => {
            return Ok(Reading { dedup_key: dedup_key.map(str::to_owned), ..Reading::default() });
        }
        other => {
            let why =
                format!("must be `trigger`, `acknowledge` or `resolve`, not {}", quoted(other));
            return Err(body.bad("event_action", why));
        }
    };
    let event = Event { body: &body, payload: payload(&body)?, status };
    let alert = event.read(source, dedup_key, severities, now)?;
    Ok(Reading { dedup_key: Some(alert.fingerprint.clone()), alerts: vec![alert], truncated: 0 })
}

fn payload<'a>(body: &Fields<'a>) -> Result<Option<Fields<'a>>, BadField> {
    let payload = body.get("payload");
    payload.map(|payload| Fields::at("payload".into(), payload)).transpose()
}

struct Event<'a> {
    body: &'a Fields<'a>,
    /// A `resolve` has none, usually.
    payload: Option<Fields<'a>>,
    status: AlertStatus,
}

impl<'a> Event<'a> {
    fn read(
        &self,
        source: &str,
        dedup_key: Option<&str>,
        severities: &Severities,
        now: Timestamp,
    ) -> Result<Alert, BadField> {
        let is_firing = self.status == AlertStatus::Firing;
        if is_firing && self.text("summary")?.is_none() {
            return Err(BadField::new("payload.summary", "is missing"));
        }
        let at = self.payload.as_ref().map(|payload| payload.time("timestamp")).transpose()?;
        let at = at.flatten();
        let (labels, annotations) = self.pairs()?;
        let name = self.text("class")?.or(self.text("summary")?).unwrap_or("unnamed alert");
        Ok(Alert {
            source: source.to_owned(),
            fingerprint: match dedup_key {
                Some(key) => key.to_owned(),
                None => self.own_key()?,
            },
            status: self.status,
            name: name.to_owned(),
            severity: self.severity(severities)?,
            labels: labels.into_map(),
            annotations: annotations.into_map(),
            // The event's time, another one when it is sent again.
            starts_at: at.unwrap_or(now).min(now),
            is_start_known: false,
            ends_at: (!is_firing).then(|| at.unwrap_or(now)),
            generator_url: self.body.text("client_url")?.unwrap_or_default().to_owned(),
        })
    }

    fn text(&self, field: &str) -> Result<Option<&'a str>, BadField> {
        self.payload.as_ref().map_or(Ok(None), |payload| payload.filled(field))
    }

    /// A key for a sender that gives none: events that say the same of the same thing are one alert,
    /// so that one that is sent again is known.
    fn own_key(&self) -> Result<String, BadField> {
        let mut parts = Vec::new();
        for field in ["source", "component", "group", "class", "summary"] {
            parts.push(self.text(field)?.unwrap_or_default());
        }
        Ok(fingerprint::of_parts(parts))
    }

    fn severity(&self, severities: &Severities) -> Result<Severity, BadField> {
        let meaning = self.text("severity")?.and_then(|text| severities.meaning(text));
        Ok(meaning.unwrap_or_default())
    }

    fn pairs(&self) -> Result<(Pairs, Pairs), BadField> {
        let (mut labels, mut annotations) = (Pairs::default(), Pairs::default());
        annotations.take(self.body, "client", "client")?;
        if let Some(links) = self.lines("links", "href", "text")? {
            annotations.add("links", "links", &links)?;
        }
        if let Some(images) = self.lines("images", "src", "alt")? {
            annotations.add("images", "images", &images)?;
        }
        let Some(payload) = &self.payload else { return Ok((labels, annotations)) };
        annotations.take(payload, "summary", "summary")?;
        if let Some(target) = self.target()? {
            labels.add("payload.source", "instance", target)?;
        }
        for (field, name) in [
            ("class", "alertname"),
            ("component", "component"),
            ("group", "group"),
            ("class", "class"),
            ("severity", "severity"),
        ] {
            labels.take(payload, field, name)?;
        }
        if let Some(details) = payload.get("custom_details") {
            let place = "payload.custom_details";
            sort_details(place, details, &mut labels, &mut annotations)?;
        }
        Ok((labels, annotations))
    }

    /// What is affected. A relay such as Alertmanager puts its own name there, which is the same for
    /// all that it relays.
    fn target(&self) -> Result<Option<&'a str>, BadField> {
        let client = self.body.text("client")?;
        Ok(self.text("source")?.filter(|source| Some(*source) != client))
    }

    /// One line for each link or image: what it is called, and its address.
    fn lines(&self, field: &str, address: &str, name: &str) -> Result<Option<String>, BadField> {
        let Some(items) = self.body.list(field)? else { return Ok(None) };
        let mut lines = Vec::new();
        for (index, item) in items.iter().enumerate() {
            lines.push(line(&format!("{field}[{index}]"), item, address, name)?);
        }
        Ok(Some(bounded_lines(lines.into_iter().flatten())).filter(|lines| !lines.is_empty()))
    }
}

fn line(place: &str, item: &Value, address: &str, name: &str) -> Result<Option<String>, BadField> {
    let item = Fields::at(place.to_owned(), item)?;
    let Some(address) = item.filled(address)? else { return Ok(None) };
    Ok(Some(match item.filled(name)? {
        Some(name) => format!("{name}: {address}"),
        None => address.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn read_json(body: &Value) -> Result<Reading, BadField> {
        read("pager", &body.to_string(), &Severities::default(), now())
    }

    fn trigger(change: impl FnOnce(&mut Value)) -> Value {
        let mut body = json!({"event_action": "trigger", "payload": {"summary": "disk full",
            "source": "db-1", "severity": "error", "custom_details": {"service": "shop",
                "used": 97.5, "output": "one\ntwo", "more": {"a": [1]}}}});
        change(&mut body);
        body
    }

    #[test]
    fn a_trigger_fires_and_its_resolve_ends_it() {
        let fired = read_json(&trigger(|b| b["dedup_key"] = json!("db-1/disk"))).unwrap();
        assert_eq!(fired.dedup_key.as_deref(), Some("db-1/disk"));
        let alert = &fired.alerts[0];
        assert_eq!((alert.name.as_str(), alert.severity), ("disk full", Severity::Critical));
        assert_eq!(alert.label("instance"), Some("db-1"));
        assert_eq!(alert.label("service"), Some("shop"));
        assert_eq!(alert.label("used"), Some("97.5"));
        assert_eq!(alert.annotations["output"], "one\ntwo");
        assert_eq!(alert.annotations["more"], r#"{"a":[1]}"#);
        assert_eq!((alert.starts_at, alert.ends_at), (now(), None));
        assert!(!alert.is_start_known);
        let ended = read_json(&json!({"event_action": "resolve", "dedup_key": "db-1/disk"}));
        let ended = ended.unwrap().alerts.remove(0);
        assert_eq!(ended.fingerprint, alert.fingerprint);
        assert_eq!((ended.is_firing(), ended.ends_at), (false, Some(now())));
        assert!(!ended.is_start_known);
    }

    #[test]
    fn the_time_of_an_event_is_no_start_and_not_to_come() {
        let of = |time: &str| {
            let body = trigger(|b| b["payload"]["timestamp"] = json!(time));
            let alert = read_json(&body).unwrap().alerts.remove(0);
            (alert.starts_at.to_string(), alert.is_start_known)
        };
        let before = "2025-12-31T23:00:00Z";
        assert_eq!(of(before), (before.to_owned(), false));
        assert_eq!(of("2026-01-01T05:00:00Z"), (now().to_string(), false));
    }

    #[test]
    fn an_acknowledge_changes_no_alert() {
        let body = json!({"event_action": "acknowledge", "dedup_key": "k"});
        let reading = read_json(&body).unwrap();
        assert_eq!((reading.alerts.len(), reading.dedup_key.as_deref()), (0, Some("k")));
    }

    #[test]
    fn a_trigger_without_a_key_gets_one_that_stays() {
        let one = read_json(&trigger(|_| {})).unwrap();
        let same =
            read_json(&trigger(|b| b["payload"]["timestamp"] = json!("2026-01-02T00:00:00Z")));
        assert_eq!(one.dedup_key, same.unwrap().dedup_key);
        assert_eq!(one.dedup_key.as_deref(), Some(one.alerts[0].fingerprint.as_str()));
        let other = read_json(&trigger(|b| b["payload"]["source"] = json!("db-2"))).unwrap();
        assert_ne!(one.dedup_key, other.dedup_key);
    }

    #[test]
    fn the_name_of_a_relay_is_no_target() {
        let body = trigger(|b| {
            b["payload"]["source"] = json!("Alertmanager");
            b["client"] = json!("Alertmanager");
        });
        assert_eq!(read_json(&body).unwrap().alerts[0].label("instance"), None);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let error = |body: &Value| read_json(body).unwrap_err().to_string();
        let resolve = error(&json!({"event_action": "resolve"}));
        assert_eq!(resolve, "dedup_key: is missing: whom does `resolve` mean?");
        let change = error(&json!({"payload": {"summary": "deployed 1.2"}, "links": []}));
        assert!(change.contains("change events are no alerts"), "{change}");
        let first = error(&json!({"service_key": "k", "event_type": "trigger"}));
        assert!(first.contains("version 2 is taken"), "{first}");
        assert_eq!(error(&json!({"event_action": "trigger"})), "payload.summary: is missing");
        let time = error(&trigger(|b| b["payload"]["timestamp"] = json!("noon")));
        assert!(time.starts_with("payload.timestamp: \"noon\" is not"), "{time}");
        let link = error(&trigger(|b| b["links"] = json!([3])));
        assert_eq!(link, "links[0]: must be an object");
        let payload = error(&trigger(|b| b["payload"] = json!("text")));
        assert_eq!(payload, "payload: must be an object");
    }
}
