//! A body field by field, for the one that cannot be used: the error names the field.

use incident::{Alert, AlertStatus};

use crate::fields::{Fields, parse};
use crate::reading::quoted;
use crate::{BadField, Reading, Severities, fingerprint};

pub(super) fn read(source: &str, text: &str, severities: &Severities) -> Result<Reading, BadField> {
    let body = parse(text)?;
    let body = Fields::body(&body)?;
    let alerts = body.alerts("alerts")?;
    let alerts = alerts.iter().map(|alert| read_alert(source, alert, severities));
    Ok(Reading {
        alerts: alerts.collect::<Result<_, _>>()?,
        truncated: body.count("truncatedAlerts")?,
        dedup_key: None,
    })
}

/// One alert of a group, as Alertmanager writes it and Grafana too.
pub(crate) fn read_alert(
    source: &str,
    alert: &Fields<'_>,
    severities: &Severities,
) -> Result<Alert, BadField> {
    let labels = alert.pairs("labels")?;
    let annotations = alert.pairs("annotations")?;
    let status = match alert.text("status")? {
        Some("firing") => AlertStatus::Firing,
        Some("resolved") => AlertStatus::Resolved,
        Some(other) => {
            let why = format!("must be `firing` or `resolved`, not {}", quoted(other));
            return Err(alert.bad("status", why));
        }
        None => return Err(alert.missing("status")),
    };
    let starts_at = alert.time("startsAt")?.ok_or_else(|| alert.missing("startsAt"))?;
    let fingerprint = match alert.fingerprint("fingerprint")? {
        Some(text) => text.to_owned(),
        None => fingerprint::of_labels(&labels),
    };
    Ok(Alert {
        source: source.to_owned(),
        fingerprint,
        status,
        name: super::name_of(&labels),
        severity: severities.of(&labels),
        labels,
        annotations,
        starts_at,
        is_start_known: true,
        ends_at: alert.time("endsAt")?,
        generator_url: alert.text("generatorURL")?.unwrap_or_default().to_owned(),
    })
}
