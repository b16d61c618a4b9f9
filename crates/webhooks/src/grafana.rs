//! Grafana's webhook body (unified alerting): Alertmanager's group with more about each alert. An
//! alert about missing data has its own name, so it is an alert of its own, which ends by itself; it is
//! marked by [`MISSING_DATA`], since it says nothing of the symptom.
//!
//! Source: <https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/>.

use incident::Alert;
use serde_json::Value;

use crate::alertmanager::read_alert;
use crate::fields::{Fields, parse};
use crate::pairs::{Pairs, scalar};
use crate::{BadField, MISSING_DATA, Reading, Severities};

/// Fields of an alert that people look at, and the annotations they become.
const LINKS: [(&str, &str); 4] = [
    ("dashboardURL", "dashboard_url"),
    ("panelURL", "panel_url"),
    ("silenceURL", "silence_url"),
    ("imageURL", "image_url"),
];

/// # Errors
/// The first field that cannot be used.
pub(crate) fn read(source: &str, text: &str, severities: &Severities) -> Result<Reading, BadField> {
    let body = parse(text)?;
    let body = Fields::body(&body)?;
    if body.get("alerts").is_none() && is_legacy(&body) {
        let why = "is missing: this is a body of Grafana's legacy alerting; switch on unified \
                   alerting (`[unified_alerting] enabled = true`) and use its webhook contact point";
        return Err(body.bad("alerts", why));
    }
    let address = body.text("externalURL")?.unwrap_or_default();
    let alerts = body.alerts("alerts")?;
    let alerts = alerts.iter().map(|fields| {
        let alert = read_alert(source, fields, severities)?;
        complete(alert, fields, address)
    });
    Ok(Reading {
        alerts: alerts.collect::<Result<_, _>>()?,
        truncated: body.count("truncatedAlerts")?,
        dedup_key: None,
    })
}

fn is_legacy(body: &Fields<'_>) -> bool {
    ["evalMatches", "ruleId", "ruleName", "ruleUrl"].iter().any(|field| body.get(field).is_some())
}

fn complete(mut alert: Alert, fields: &Fields<'_>, address: &str) -> Result<Alert, BadField> {
    let mut annotations = Pairs::of(alert.annotations);
    for (field, name) in LINKS {
        annotations.take(fields, field, name)?;
    }
    match values(fields)? {
        Some(values) => annotations.add(&fields.place("values"), "values", &values)?,
        None => annotations.take(fields, "valueString", "values")?,
    }
    alert.annotations = annotations.into_map();
    if let Some(kind) = missing_data(&alert) {
        let mut labels = Pairs::of(alert.labels);
        labels.set(&fields.place("labels"), MISSING_DATA, kind)?;
        alert.labels = labels.into_map();
    }
    alert.generator_url = absolute(alert.generator_url, address);
    Ok(alert)
}

/// `A=94.2, B=1`.
fn values(fields: &Fields<'_>) -> Result<Option<String>, BadField> {
    let values = match fields.get("values") {
        None => return Ok(None),
        Some(Value::Object(values)) => values,
        Some(_) => return Err(fields.bad("values", "must be an object of numbers")),
    };
    let values =
        values.iter().filter_map(|(name, value)| Some(format!("{name}={}", scalar(value)?)));
    let values = values.collect::<Vec<_>>().join(", ");
    Ok(Some(values).filter(|values| !values.is_empty()))
}

/// What Grafana calls an alert whose rule got no data, or no answer; the rule's own name is in the
/// label `rulename`.
fn missing_data(alert: &Alert) -> Option<&'static str> {
    match alert.name.as_str() {
        "DatasourceNoData" => Some("no_data"),
        "DatasourceError" => Some("error"),
        _ => None,
    }
}

/// The Test button sends an address without a host.
fn absolute(url: String, address: &str) -> String {
    let is_relative = url.starts_with(['?', '/']);
    if !is_relative || !address.starts_with("http") {
        return url;
    }
    format!("{}/{}", address.trim_end_matches('/'), url.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_json(body: &Value) -> Result<Reading, BadField> {
        read("grafana", &body.to_string(), &Severities::default())
    }

    fn alert(name: &str, status: &str, fingerprint: &str) -> Value {
        json!({"status": status, "fingerprint": fingerprint, "startsAt": "2026-01-01T00:00:00Z",
            "labels": {"alertname": name, "rulename": "High latency", "service": "shop",
                "datasource_uid": "P1809F7CD0C75ACF3", "ref_id": "A"},
            "values": null, "valueString": ""})
    }

    #[test]
    fn missing_data_is_an_alert_of_its_own_that_ends() {
        let symptom = alert("High latency", "firing", "f1");
        for (name, kind) in [("DatasourceNoData", "no_data"), ("DatasourceError", "error")] {
            let body = json!({"alerts": [symptom, alert(name, "firing", "f2")]});
            let fired = read_json(&body).unwrap().alerts;
            assert_eq!(fired[0].label(MISSING_DATA), None);
            assert_eq!(fired[1].label(MISSING_DATA), Some(kind));
            assert_eq!(fired[1].label("rulename"), Some("High latency"));
            let body = json!({"alerts": [alert(name, "resolved", "f2")]});
            let ended = read_json(&body).unwrap().alerts;
            assert_ne!(fired[0].fingerprint, fired[1].fingerprint);
            assert_eq!(fired[1].fingerprint, ended[0].fingerprint);
            assert!(!ended[0].is_firing());
        }
    }

    #[test]
    fn without_a_fingerprint_missing_data_is_still_another_alert() {
        let body = json!({"alerts": [alert("High latency", "firing", ""),
            alert("DatasourceNoData", "firing", ""), alert("DatasourceNoData", "resolved", "")]});
        let alerts = read_json(&body).unwrap().alerts;
        assert_ne!(alerts[0].fingerprint, alerts[1].fingerprint);
        assert_eq!(alerts[1].fingerprint, alerts[2].fingerprint);
    }

    #[test]
    fn a_legacy_body_says_what_to_switch_on() {
        let error = read_json(&json!({"ruleId": 1, "evalMatches": [], "state": "alerting"}));
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("alerts: is missing: this is a body of Grafana's legacy"),
            "{error}"
        );
        assert!(error.contains("[unified_alerting] enabled = true"), "{error}");
        assert_eq!(read_json(&json!({})).unwrap_err().to_string(), "alerts: is missing");
    }

    #[test]
    fn what_people_look_at_is_kept() {
        let mut body =
            json!({"externalURL": "https://g.example/", "alerts": [alert("A", "firing", "f")]});
        let fields = body["alerts"][0].as_object_mut().unwrap();
        fields.insert("values".into(), json!({"B": 22.5, "C": null}));
        fields.insert("generatorURL".into(), json!("?orgId=1"));
        fields.insert("panelURL".into(), json!("https://g.example/d/1"));
        let alert = read_json(&body).unwrap().alerts.remove(0);
        assert_eq!(alert.generator_url, "https://g.example/?orgId=1");
        assert_eq!(alert.annotations["values"], "B=22.5");
        assert_eq!(alert.annotations["panel_url"], "https://g.example/d/1");
    }
}
