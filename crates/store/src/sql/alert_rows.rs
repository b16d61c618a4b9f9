//! Alerts, read.

use std::collections::BTreeMap;

use incident::{Alert, IncidentId};
use serde_json::Value as Json;

use super::SqlStore;
use super::incidents::fitting;
use crate::database::{Row, Value, params, searched};
use crate::sqlite::{from_json, to_micros};
use crate::{AlertKey, AlertRow, PAGE_BYTES, StoreError};

/// The columns of an alert, in the joined tables that follow.
pub(super) const COLUMNS: &str = "alert.source, alert.fingerprint, alert.incident_id, alert.held, \
     alert.status, alert.severity, alert.starts_at, alert.first_at, alert.version, alert.body, \
     alert.reports + coalesce(alert_repeat.reports, 0) AS reports, \
     CASE WHEN alert_repeat.last_at > alert.changed_at THEN alert_repeat.last_at \
       ELSE alert.changed_at END AS last_at";
pub(super) const REPEATS: &str = "LEFT JOIN alert_repeat ON alert_repeat.alert = alert.id";

impl SqlStore {
    pub(super) async fn alerts_of_incident(
        &self,
        incident: IncidentId,
        after: Option<AlertKey>,
        limit: u32,
    ) -> Result<Vec<AlertRow>, StoreError> {
        let page = "SELECT id, source, fingerprint, octet_length(body) AS bytes FROM alert \
                    WHERE incident_id = $1 AND (source, fingerprint) > ($2, $3) \
                    ORDER BY source, fingerprint LIMIT $4";
        let sql = format!(
            "SELECT {COLUMNS} FROM alert {REPEATS} WHERE alert.id IN ({}) \
             ORDER BY alert.source, alert.fingerprint",
            fitting(page, "source, fingerprint", "$5")
        );
        let (source, fingerprint) = end_of(after.as_ref());
        let id = incident.to_string();
        self.alerts(sql, params![id, &*source, &*fingerprint, limit, PAGE_BYTES]).await
    }

    pub(super) async fn firing_alerts_of(
        &self,
        source: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<AlertRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM alert {REPEATS} \
               LEFT JOIN incident ON incident.id = alert.incident_id \
             WHERE alert.status = 'firing' AND alert.source = $1 AND alert.fingerprint > $2 \
               AND (alert.held IS NOT NULL OR incident.is_open = 1) \
             ORDER BY alert.fingerprint LIMIT $3"
        );
        let after = after.unwrap_or_default();
        self.alerts(sql, params![&*searched(&source), &*searched(&after), limit]).await
    }

    pub(super) async fn held_back_alerts(
        &self,
        after: Option<AlertKey>,
        limit: u32,
    ) -> Result<Vec<AlertRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM alert {REPEATS} \
             WHERE alert.status = 'firing' AND alert.held IS NOT NULL \
               AND (alert.source, alert.fingerprint) > ($1, $2) \
             ORDER BY alert.source, alert.fingerprint LIMIT $3"
        );
        let (source, fingerprint) = end_of(after.as_ref());
        self.alerts(sql, params![&*source, &*fingerprint, limit]).await
    }

    async fn alerts(&self, sql: String, params: Vec<Value>) -> Result<Vec<AlertRow>, StoreError> {
        self.database.fetch(sql, params).await?.iter().map(read).collect()
    }
}

/// The key to go on from, as it is stored. Before the first there is the empty one, which no alert has.
fn end_of(after: Option<&AlertKey>) -> (String, String) {
    let text = |text: &str| searched(text).into_owned();
    after.map(|after| (text(&after.source), text(&after.fingerprint))).unwrap_or_default()
}

pub(super) fn read(row: &Row) -> Result<AlertRow, StoreError> {
    Ok(AlertRow {
        alert: read_alert(row)?,
        incident: row.get::<Option<String>>("incident_id")?.and_then(|id| id.parse().ok()),
        held: row.get("held")?,
        reports: row.int("reports")?,
        first_at: row.time("first_at")?,
        last_at: row.time("last_at")?,
        version: row.int("version")?,
    })
}

/// An alert whose body cannot be read is what its row says of it: the next report that is news brings
/// the rest.
fn read_alert(row: &Row) -> Result<Alert, StoreError> {
    if let Ok(mut alert) = from_json::<Alert>(&row.text("body")?, "alert") {
        // What a repeat is held against counts: bodies from before migration 5 say it more finely.
        let starts_at = row.time("starts_at")?;
        if to_micros(alert.starts_at) != to_micros(starts_at) {
            alert.starts_at = starts_at;
        }
        return Ok(alert);
    }
    let named = |column| Ok::<_, StoreError>(Json::String(row.text(column)?));
    Ok(Alert {
        source: row.text("source")?,
        fingerprint: row.text("fingerprint")?,
        status: serde_json::from_value(named("status")?)
            .map_err(|source| StoreError::Unreadable { what: "alert".into(), source })?,
        name: String::new(),
        severity: serde_json::from_value(named("severity")?).unwrap_or_default(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        starts_at: row.time("starts_at")?,
        is_start_known: true,
        ends_at: None,
        generator_url: String::new(),
    })
}
