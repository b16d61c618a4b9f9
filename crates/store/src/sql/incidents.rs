//! Incidents and their timelines, read.

use incident::{IncidentId, IncidentKey};
use jiff::Timestamp;
use serde::Serialize;

use super::SqlStore;
use super::alert_rows;
use crate::audit::{ChainCheck, broken};
use crate::database::{Database, Dialect, Row, Value, params, searched};
use crate::sqlite::from_json;
use crate::{AlertKey, AuditRow, Base, PAGE_BYTES, Related, StoreError, Stored};

const INCIDENT: &str = "SELECT id, changed_at, version, sequence, hash, body FROM incident";
/// Rows of a timeline that are checked at a time.
const CHAIN_PAGE: u32 = 1_000;

#[derive(Serialize)]
struct Asked<'a> {
    place: usize,
    source: std::borrow::Cow<'a, str>,
    fingerprint: std::borrow::Cow<'a, str>,
}

#[derive(Serialize)]
struct Key<'a> {
    key: std::borrow::Cow<'a, str>,
}

impl SqlStore {
    /// Everything in one statement, and so of one moment.
    pub(super) async fn related_incidents(
        &self,
        alerts: Vec<AlertKey>,
        keys: Vec<IncidentKey>,
    ) -> Result<Related, StoreError> {
        let asked = alerts.iter().enumerate().map(|(place, alert)| Asked {
            place,
            source: searched(&alert.source),
            fingerprint: searched(&alert.fingerprint),
        });
        let asked: Vec<Asked<'_>> = asked.collect();
        let wanted: Vec<Key<'_>> =
            keys.iter().map(|key| Key { key: searched(key.as_str()) }).collect();
        let parameters = vec![Value::rows(&asked), Value::rows(&wanted)];
        let rows = self.database.fetch(related(self.database.dialect()), parameters).await?;
        let mut related = Related::default();
        for row in &rows {
            let alert = usize::try_from(row.int("place")?).ok().and_then(|place| alerts.get(place));
            match alert {
                Some(alert) => {
                    related.alerts.insert(alert.clone(), alert_rows::read(row)?);
                }
                None => match read(row) {
                    Ok(stored) => {
                        related.incidents.insert(stored.incident.id, stored);
                    }
                    Err(StoreError::Unreadable { .. }) => {
                        let (key, is_open) = (row.text("key")?, row.int("is_open")? == 1);
                        let mut asked = keys.iter().filter(|_| is_open);
                        let shut = asked.find(|asked| searched(asked.as_str()) == key).cloned();
                        related.unreadable.insert(row.id("id")?, shut);
                    }
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(related)
    }

    pub(super) async fn stored_incident(
        &self,
        id: IncidentId,
    ) -> Result<Option<Stored>, StoreError> {
        let sql = format!("{INCIDENT} WHERE id = $1");
        let rows = self.database.fetch(sql, params![id.to_string()]).await?;
        rows.first().map(read).transpose()
    }

    pub(super) async fn newest_incidents(
        &self,
        limit: u32,
        before: Option<IncidentId>,
    ) -> Result<Vec<Stored>, StoreError> {
        // Ids are UUIDv7 behind one prefix: their order is the order of opening.
        let before = before.map_or_else(|| "inc_g".to_owned(), |id| id.to_string());
        let page = "SELECT id, octet_length(body) AS bytes FROM incident WHERE id < $1 \
                    ORDER BY id DESC LIMIT $2";
        let fits = fitting(page, "id DESC", "$3");
        let sql = format!("{INCIDENT} WHERE id IN ({fits}) ORDER BY id DESC");
        let rows = self.database.fetch(sql, params![before, limit, PAGE_BYTES]).await?;
        // One that cannot be read says so where it is asked for; it does not hide the others.
        let is_readable = |row: &Result<_, _>| !matches!(row, Err(StoreError::Unreadable { .. }));
        rows.iter().map(read).filter(is_readable).collect()
    }

    pub(super) async fn timeline_rows(
        &self,
        id: IncidentId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let page = "SELECT sequence AS id, octet_length(body) AS bytes FROM audit \
                    WHERE incident_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
        let fits = fitting(page, "id", "$4");
        let sql = format!(
            "SELECT sequence, body FROM audit WHERE incident_id = $1 AND sequence IN ({fits}) \
             ORDER BY sequence"
        );
        let parameters = params![id.to_string(), after, limit, PAGE_BYTES];
        let rows = self.database.fetch(sql, parameters).await?;
        let entry = |row: &Row| {
            let entry = from_json(&row.text("body")?, "timeline entry")?;
            Ok(AuditRow { sequence: row.int("sequence")?, entry })
        };
        rows.iter().map(entry).collect()
    }

    pub(super) async fn earliest_deadline(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT MIN(deadline) AS due FROM incident WHERE deadline IS NOT NULL";
        let rows = self.database.fetch(sql, vec![]).await?;
        rows.first().map_or(Ok(None), |row| row.time_if_any("due"))
    }

    pub(super) async fn overdue_incidents(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<IncidentId>, StoreError> {
        let sql = "SELECT id FROM incident WHERE deadline <= $1 ORDER BY deadline LIMIT $2";
        let rows = self.database.fetch(sql, params![now, limit]).await?;
        let ids: Vec<String> = rows.iter().map(|row| row.text("id")).collect::<Result<_, _>>()?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }
}

/// Recomputes the chain of an incident, page by page.
pub(crate) async fn verify_chain(database: &Database, id: &str) -> Result<i64, StoreError> {
    // A page comes with the end of the chain, of one moment.
    let sql = "SELECT incident.sequence AS total, incident.hash AS last, \
                 audit.sequence, audit.hash, audit.body \
               FROM incident LEFT JOIN audit \
                 ON audit.incident_id = incident.id AND audit.sequence > $2 \
               WHERE incident.id = $1 ORDER BY audit.sequence LIMIT $3";
    let (mut check, mut after) = (ChainCheck::default(), i64::MIN);
    loop {
        let parameters = params![id, after, CHAIN_PAGE];
        let rows = database.fetch(sql, parameters).await?;
        let Some(first) = rows.first() else { return Ok(0) };
        let (sequence, hash) = (first.int("total")?, first.text("last")?);
        let mut count = 0;
        for row in &rows {
            let Some(sequence) = row.get::<Option<i64>>("sequence")? else { continue };
            let bad = check.row(sequence, &row.text("body")?, &row.text("hash")?);
            bad.map_err(|at| broken(&id, at))?;
            (after, count) = (sequence, count + 1);
        }
        if count < CHAIN_PAGE {
            let head = Base { sequence, hash, ..Base::default() };
            return check.end(&head).map_err(|at| broken(&id, at));
        }
    }
}

/// The `id`s of those rows of a page, in order, whose `bytes` are no more than `most` together; the
/// first is always one of them. The texts of the others are not read.
pub(super) fn fitting(page: &str, order: &str, most: &str) -> String {
    format!(
        "SELECT id FROM (SELECT id, bytes, SUM(bytes) OVER (ORDER BY {order}) AS total \
           FROM ({page}) AS page) AS summed WHERE total <= {most} OR total = bytes"
    )
}

/// The alerts `$1` with their place, then the incidents, whose place is -1.
fn related(dialect: Dialect) -> String {
    let alerts = dialect.rows(1, "new", "place bigint, source text, fingerprint text");
    let keys = dialect.rows(2, "new", "key text");
    let (columns, repeats) = (alert_rows::COLUMNS, alert_rows::REPEATS);
    format!(
        "WITH known AS ( \
           SELECT new.place AS place, {columns} FROM {alerts} CROSS JOIN alert {repeats} \
             WHERE alert.source = new.source AND alert.fingerprint = new.fingerprint), \
         wanted AS ( \
           SELECT incident_id AS id FROM known \
           UNION SELECT incident.id FROM {keys} JOIN incident \
             ON incident.key = new.key AND incident.is_open = 1 \
           UNION SELECT (SELECT incident.id FROM incident WHERE incident.key = new.key \
             ORDER BY incident.opened_at DESC, incident.id DESC LIMIT 1) FROM {keys}) \
         SELECT place, source, fingerprint, incident_id, held, status, severity, \
             starts_at, first_at, version, body, reports, last_at, \
             '' AS id, '' AS key, 0 AS is_open, 0 AS changed_at, 0 AS sequence, '' AS hash \
           FROM known \
         UNION ALL SELECT -1, '', '', '', '', '', '', 0, 0, version, body, 0, 0, \
             id, key, is_open, changed_at, sequence, hash \
           FROM incident WHERE id IN (SELECT id FROM wanted)"
    )
}

fn read(row: &Row) -> Result<Stored, StoreError> {
    Ok(Stored {
        incident: from_json(&row.text("body")?, "incident")?,
        changed_at: row.time("changed_at")?,
        base: Base {
            version: row.int("version")?,
            sequence: row.int("sequence")?,
            hash: row.text("hash")?,
        },
    })
}
