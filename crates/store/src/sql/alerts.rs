//! Alerts, written. What is news replaces the row that it was decided on; what is known is counted
//! beside it, in one statement that holds every repeat against what is stored.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use incident::{AlertStatus, Severity};
use serde::Serialize;

use super::batch::Failed;
use super::owner::Me;
use crate::database::{Dialect, Row, Transaction, Value, plain, searched};
use crate::sqlite::{to_json, to_micros};
use crate::{AlertWrite, Batch, Repeat, StoreError};

#[derive(Serialize)]
pub(super) struct NewsRow<'a> {
    #[serde(skip)]
    batch: usize,
    source: Cow<'a, str>,
    fingerprint: Cow<'a, str>,
    incident_id: Option<String>,
    held: Option<Cow<'a, str>>,
    status: &'static str,
    severity: &'static str,
    starts_at: i64,
    reports: u32,
    at: i64,
    version: i64,
    body: String,
}

pub(super) struct RepeatRow<'a> {
    /// The batches that it comes from.
    batches: Vec<usize>,
    state: StateRow<'a>,
    reports: i64,
    at: i64,
}

/// An alert as a repeat says that it stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct StateRow<'a> {
    source: Cow<'a, str>,
    fingerprint: Cow<'a, str>,
    status: &'static str,
    severity: &'static str,
    starts_at: i64,
}

/// The alerts of some batches.
#[derive(Default)]
pub(super) struct Alerts<'a> {
    pub(super) updates: Vec<NewsRow<'a>>,
    pub(super) inserts: Vec<NewsRow<'a>>,
    pub(super) repeats: Vec<RepeatRow<'a>>,
}

impl<'a> Alerts<'a> {
    pub(super) fn of(batches: &[&'a Batch]) -> Self {
        let mut alerts = Self::default();
        let mut repeats = BTreeMap::new();
        for (place, batch) in batches.iter().enumerate() {
            batch.alerts.iter().for_each(|write| alerts.take(place, write));
            batch.repeats.iter().for_each(|repeat| take_repeat(&mut repeats, place, repeat));
        }
        alerts.repeats = repeats.into_values().collect();
        // Replicas that race for the same rows take them in the same order.
        let order = |one: &NewsRow<'_>, other: &NewsRow<'_>| {
            (&one.source, &one.fingerprint).cmp(&(&other.source, &other.fingerprint))
        };
        alerts.updates.sort_by(order);
        alerts.inserts.sort_by(order);
        alerts
    }

    fn take(&mut self, batch: usize, write: &'a AlertWrite) {
        let alert = &write.alert;
        let row = NewsRow {
            batch,
            source: searched(&alert.source),
            fingerprint: searched(&alert.fingerprint),
            incident_id: write.incident.map(|id| id.to_string()),
            held: write.held.as_deref().map(plain),
            status: status(alert.status),
            severity: severity(alert.severity),
            starts_at: to_micros(alert.starts_at),
            reports: write.reports,
            at: to_micros(write.at),
            version: write.version,
            body: to_json(alert),
        };
        if write.version == 0 { &mut self.inserts } else { &mut self.updates }.push(row);
    }
}

/// Adds up the repeats of one alert that say the same.
fn take_repeat<'a>(
    repeats: &mut BTreeMap<StateRow<'a>, RepeatRow<'a>>,
    batch: usize,
    repeat: &'a Repeat,
) {
    let state = StateRow {
        source: searched(&repeat.alert.source),
        fingerprint: searched(&repeat.alert.fingerprint),
        status: status(repeat.state.status),
        severity: severity(repeat.state.severity),
        starts_at: to_micros(repeat.state.starts_at),
    };
    let row = repeats.entry(state.clone()).or_insert_with(|| RepeatRow {
        batches: Vec::new(),
        state,
        reports: 0,
        at: i64::MIN,
    });
    row.batches.push(batch);
    row.reports += i64::from(repeat.reports);
    row.at = row.at.max(to_micros(repeat.at));
}

/// Keeps others from the alerts that are about to be replaced: in one order, so that two replicas
/// never wait for one another.
pub(super) async fn lock(
    transaction: &mut Transaction,
    me: Me<'_>,
    alerts: &Alerts<'_>,
) -> Result<(), StoreError> {
    let dialect = transaction.dialect();
    if dialect == Dialect::Sqlite || !me.has_others || alerts.updates.is_empty() {
        return Ok(());
    }
    let new = dialect.rows(1, "new", "source text, fingerprint text");
    let sql = format!(
        "SELECT alert.id FROM alert JOIN {new} ON alert.source = new.source \
           AND alert.fingerprint = new.fingerprint ORDER BY alert.id FOR UPDATE OF alert"
    );
    transaction.fetch(sql, vec![Value::rows(&alerts.updates)]).await?;
    Ok(())
}

/// Counts what is a repeat, and names what is none.
pub(super) async fn count_repeats(
    transaction: &mut Transaction,
    alerts: &Alerts<'_>,
) -> Result<Failed, StoreError> {
    let repeats = &alerts.repeats;
    if repeats.is_empty() {
        return Ok(Failed::new());
    }
    let dialect = transaction.dialect();
    let counted = transaction.execute(add_repeats(dialect), columns(dialect, repeats)).await;
    match counted {
        Ok(counted) if counted == repeats.len() as u64 => return Ok(Failed::new()),
        // An alert was forgotten at the same moment.
        Err(error) if !is_unknown(&error) => return Err(error),
        Err(_) => return Ok(repeats.iter().flat_map(RepeatRow::conflicts).collect()),
        Ok(_) => {}
    }
    let sql = format!("SELECT new.place AS place {}", standing(dialect));
    let standing = transaction.fetch(sql, columns(dialect, repeats)).await?;
    let standing: HashSet<i64> =
        standing.iter().map(|row| row.int("place")).collect::<Result<_, _>>()?;
    let is_none = |(place, _): &(i64, _)| !standing.contains(place);
    let untrue = (1..).zip(repeats).filter(is_none).map(|(_, row)| row);
    let failed: Failed = untrue.flat_map(RepeatRow::conflicts).collect();
    if failed.is_empty() {
        // Another replica has changed something since: whoever it was, all of them look again.
        return Ok(repeats.iter().flat_map(RepeatRow::conflicts).collect());
    }
    Ok(failed)
}

/// The repeats as parameters, the first ones of a statement.
pub(super) fn columns(dialect: Dialect, repeats: &[RepeatRow<'_>]) -> Vec<Value> {
    if dialect == Dialect::Sqlite {
        return vec![Value::rows(&repeats.iter().map(RepeatRow::fields).collect::<Vec<_>>())];
    }
    let texts = |of: for<'a> fn(&'a StateRow<'_>) -> &'a str| {
        Value::Texts(repeats.iter().map(|row| of(&row.state).to_owned()).collect())
    };
    let numbers = |of: fn(&RepeatRow<'_>) -> i64| Value::Ints(repeats.iter().map(of).collect());
    vec![
        texts(|state| &state.source),
        texts(|state| &state.fingerprint),
        texts(|state| state.status),
        texts(|state| state.severity),
        numbers(|row| row.state.starts_at),
        numbers(|row| row.reports),
        numbers(|row| row.at),
    ]
}

impl RepeatRow<'_> {
    fn fields(&self) -> (&str, &str, &str, &str, i64, i64, i64) {
        let StateRow { source, fingerprint, status, severity, starts_at } = &self.state;
        (source, fingerprint, status, severity, *starts_at, self.reports, self.at)
    }

    fn conflicts(&self) -> impl Iterator<Item = (usize, StoreError)> {
        let StateRow { source, fingerprint, .. } = &self.state;
        self.batches.iter().map(move |batch| (*batch, conflict(source, fingerprint)))
    }
}

/// Writes what is news. Its incidents are written before.
pub(super) async fn put(
    transaction: &mut Transaction,
    alerts: &Alerts<'_>,
) -> Result<Failed, StoreError> {
    let dialect = transaction.dialect();
    let mut failed = put_rows(transaction, update(dialect, 1), &alerts.updates).await?;
    failed.extend(put_rows(transaction, insert(dialect, 1), &alerts.inserts).await?);
    Ok(failed)
}

/// Runs a statement that returns the alerts it took; the others fail.
async fn put_rows(
    transaction: &mut Transaction,
    sql: String,
    rows: &[NewsRow<'_>],
) -> Result<Failed, StoreError> {
    if rows.is_empty() {
        return Ok(Failed::new());
    }
    let taken = transaction.fetch(sql, vec![Value::rows(rows)]).await.map_err(no_incident)?;
    if taken.len() == rows.len() {
        return Ok(Failed::new());
    }
    let key = |row: &Row| Ok::<_, StoreError>((row.text("source")?, row.text("fingerprint")?));
    let taken: HashSet<(String, String)> = taken.iter().map(key).collect::<Result<_, _>>()?;
    let is_missing = |row: &&NewsRow<'_>| {
        !taken.contains(&(row.source.clone().into_owned(), row.fingerprint.clone().into_owned()))
    };
    let missing = rows.iter().filter(is_missing);
    Ok(missing.map(|row| (row.batch, conflict(&row.source, &row.fingerprint))).collect())
}

pub(super) fn conflict(source: &str, fingerprint: &str) -> StoreError {
    StoreError::Conflict { what: format!("the alert {fingerprint} of {source}") }
}

fn no_incident(error: StoreError) -> StoreError {
    if is_unknown(&error) {
        return StoreError::Refused { field: "alerts", problem: "names an unknown incident" };
    }
    error
}

/// Whether a row names another that is not there.
fn is_unknown(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(sqlx::Error::Database(cause))
        if cause.is_foreign_key_violation())
}

const NEWS: &str = "source text, fingerprint text, incident_id text, held text, status text, \
     severity text, starts_at bigint, reports bigint, at bigint, version bigint, body text";

/// Repeats with their place, from 1.
const REPEATS_SQLITE: &str = "(SELECT key + 1 AS place, value ->> 0 AS source, \
       value ->> 1 AS fingerprint, value ->> 2 AS status, value ->> 3 AS severity, \
       value ->> 4 AS starts_at, value ->> 5 AS reports, value ->> 6 AS at \
     FROM json_each($1)) AS new";
const REPEATS_POSTGRES: &str = "unnest($1::text[], $2::text[], $3::text[], $4::text[], \
       $5::bigint[], $6::bigint[], $7::bigint[]) WITH ORDINALITY \
     AS new (source, fingerprint, status, severity, starts_at, reports, at, place)";

/// Whether a repeat is one.
const IS_TRUE: &str = "alert.status = new.status AND alert.severity = new.severity \
     AND alert.starts_at = new.starts_at \
     AND (alert.status <> 'firing' OR incident.is_open = 1)";

/// The repeats that are true. The order of the tables is fixed: one looks the next up.
fn standing(dialect: Dialect) -> String {
    let new = dialect.pick(REPEATS_SQLITE, REPEATS_POSTGRES);
    format!(
        "FROM {new} CROSS JOIN alert LEFT JOIN incident ON incident.id = alert.incident_id \
         WHERE alert.source = new.source AND alert.fingerprint = new.fingerprint AND {IS_TRUE}"
    )
}

/// Counts those that are true.
fn add_repeats(dialect: Dialect) -> String {
    // Replicas that race for the same rows take them in the same order.
    let order = dialect.pick("", "ORDER BY alert.id");
    format!(
        "INSERT INTO alert_repeat (alert, reports, last_at) \
         SELECT alert.id, new.reports, new.at {} {order} {ADD_UP}",
        standing(dialect)
    )
}

/// The same where each of them must be true, which is seen by how many are counted. On a server it
/// joins no tables, so that there is one way to run it; what may not be null there is the alert.
pub(super) fn count(dialect: Dialect) -> String {
    if dialect == Dialect::Sqlite {
        return add_repeats(dialect);
    }
    let alert = "SELECT alert.id FROM alert WHERE alert.source = new.source \
                   AND alert.fingerprint = new.fingerprint AND alert.status = new.status \
                   AND alert.severity = new.severity AND alert.starts_at = new.starts_at \
                   AND (alert.status <> 'firing' OR 1 = (SELECT incident.is_open FROM incident \
                     WHERE incident.id = alert.incident_id))";
    let rows = format!("SELECT ({alert}) AS alert, new.reports, new.at FROM {REPEATS_POSTGRES}");
    format!(
        "INSERT INTO alert_repeat (alert, reports, last_at) {rows} ORDER BY alert {ADD_UP} \
         RETURNING alert"
    )
}

const ADD_UP: &str = "ON CONFLICT (alert) DO UPDATE \
     SET reports = alert_repeat.reports + excluded.reports, \
       last_at = CASE WHEN excluded.last_at > alert_repeat.last_at THEN excluded.last_at \
         ELSE alert_repeat.last_at END";

/// Replaces alerts by the rows of the parameter `place`.
pub(super) fn update(dialect: Dialect, place: usize) -> String {
    let new = dialect.rows(place, "new", NEWS);
    format!(
        "UPDATE alert SET incident_id = new.incident_id, held = new.held, status = new.status, \
           severity = new.severity, starts_at = new.starts_at, \
           reports = alert.reports + new.reports, \
           changed_at = CASE WHEN new.at > alert.changed_at THEN new.at ELSE alert.changed_at END, \
           version = alert.version + 1, body = new.body \
         FROM {new} WHERE alert.source = new.source AND alert.fingerprint = new.fingerprint \
           AND alert.version = new.version \
         RETURNING alert.source, alert.fingerprint"
    )
}

/// Inserts alerts, the rows of the parameter `place`.
pub(super) fn insert(dialect: Dialect, place: usize) -> String {
    let new = dialect.rows(place, "new", NEWS);
    format!(
        "INSERT INTO alert (source, fingerprint, incident_id, held, status, severity, starts_at, \
           reports, first_at, changed_at, version, body) \
         SELECT new.source, new.fingerprint, new.incident_id, new.held, new.status, \
           new.severity, new.starts_at, new.reports, new.at, new.at, 1, new.body \
         FROM {new} WHERE true ORDER BY new.source, new.fingerprint \
         ON CONFLICT (source, fingerprint) DO NOTHING RETURNING source, fingerprint"
    )
}

fn status(status: AlertStatus) -> &'static str {
    match status {
        AlertStatus::Firing => "firing",
        AlertStatus::Resolved => "resolved",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}
