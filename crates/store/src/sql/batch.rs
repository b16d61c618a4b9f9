//! Batches: each statement takes all the rows of all the batches of a transaction as one JSON
//! parameter. A batch whose base is history, or whose outbox row is somebody else's, is found by the
//! rows that a statement did not change.

use std::collections::HashSet;

use serde::Serialize;

use super::SqlStore;
use super::alerts::{self, Alerts};
use super::hints::TELL;
use super::journal;
use super::owner::Me;
use super::write::Write;
use crate::audit::link_hash;
use crate::database::{Dialect, Transaction, Value, params, plain, searched};
use crate::sqlite::{to_json, to_micros};
use crate::{Batch, IncidentWrite, OutboxEnd, StoreError};

/// The batches that cannot be written, by their place, and why.
pub(super) type Failed = Vec<(usize, StoreError)>;

impl SqlStore {
    pub(super) async fn commit_batch(&self, batch: Batch) -> Result<(), StoreError> {
        check(&batch)?;
        let ended: Vec<i64> = batch.outbox.iter().map(OutboxEnd::id).collect();
        self.claims.check(self.database.dialect(), &ended)?;
        let turns = self.claims.hold(&batch.outbox).await;
        self.committer.write(Write::Batch(batch), turns).await?.done()
    }
}

/// An incident or an alert is written once: the second write has not seen the first.
fn check(batch: &Batch) -> Result<(), StoreError> {
    let mut seen = HashSet::new();
    let mut ids = batch.incidents.iter().map(|write| write.incident.id);
    if let Some(id) = ids.find(|id| !seen.insert(*id)) {
        return Err(StoreError::Conflict { what: id.to_string() });
    }
    let mut seen = HashSet::new();
    let mut alerts = batch.alerts.iter().map(|write| &write.alert);
    let twice = alerts.find(|alert| !seen.insert((&alert.source, &alert.fingerprint)));
    twice.map_or(Ok(()), |alert| Err(alerts::conflict(&alert.source, &alert.fingerprint)))
}

/// Writes all batches. Where some fail, what is written so far is to be rolled back.
pub(super) async fn write_all(
    transaction: &mut Transaction,
    me: Me<'_>,
    batches: &[&Batch],
) -> Result<Failed, StoreError> {
    let dialect = transaction.dialect();
    let (rows, alerts) = (Rows::of(batches), Alerts::of(batches));
    alerts::lock(transaction, me, &alerts).await?;
    // Held against what was stored before these batches: of one moment, a repeat comes first.
    let mut failed = alerts::count_repeats(transaction, &alerts).await?;
    if !failed.is_empty() {
        // A server's transaction may be of no use any more.
        return Ok(in_order(failed));
    }
    failed.extend(put_incidents(transaction, &rows).await?);
    failed.extend(end_outbox(transaction, me, &rows).await?);
    if failed.is_empty() {
        failed = alerts::put(transaction, &alerts).await?;
    }
    if !failed.is_empty() {
        return Ok(in_order(failed));
    }
    insert(transaction, &insert_audit(dialect, 1), &rows.audit).await?;
    insert(transaction, &insert_effects(dialect, 1), &rows.effects).await?;
    journal::insert(transaction, batches).await?;
    if dialect == Dialect::Postgres && me.has_others && !rows.effects.is_empty() {
        transaction.fetch(TELL, params![me.key]).await?;
    }
    Ok(failed)
}

/// Each batch once.
fn in_order(mut failed: Failed) -> Failed {
    failed.sort_by_key(|(batch, _)| *batch);
    failed.dedup_by_key(|(batch, _)| *batch);
    failed
}

#[derive(Serialize)]
pub(super) struct IncidentRow {
    #[serde(skip)]
    batch: usize,
    id: String,
    key: String,
    phase: &'static str,
    is_open: u8,
    opened_at: i64,
    changed_at: i64,
    deadline: Option<i64>,
    body: String,
    version: i64,
    sequence: i64,
    hash: String,
}

#[derive(Serialize)]
pub(super) struct AuditLine {
    incident_id: String,
    sequence: i64,
    body: String,
    hash: String,
}

#[derive(Serialize)]
pub(super) struct EffectRow {
    place: usize,
    incident_id: String,
    kind: &'static str,
    round: u32,
    not_before: i64,
}

#[derive(Serialize)]
struct EndRow {
    #[serde(skip)]
    batch: usize,
    id: i64,
    last: i64,
}

#[derive(Serialize)]
struct DeadRow<'a> {
    id: i64,
    error: std::borrow::Cow<'a, str>,
    died_at: i64,
}

/// The rows of some batches, by table.
#[derive(Default)]
pub(super) struct Rows<'a> {
    pub(super) updates: Vec<IncidentRow>,
    pub(super) inserts: Vec<IncidentRow>,
    pub(super) audit: Vec<AuditLine>,
    pub(super) effects: Vec<EffectRow>,
    ends: Vec<EndRow>,
    dead: Vec<DeadRow<'a>>,
}

impl<'a> Rows<'a> {
    pub(super) fn of(batches: &[&'a Batch]) -> Self {
        let mut rows = Self::default();
        for (place, batch) in batches.iter().enumerate() {
            batch.incidents.iter().for_each(|write| rows.take_incident(place, write));
            batch.outbox.iter().for_each(|end| rows.take_end(place, end));
        }
        // Replicas that race for the same rows take them in the same order.
        rows.updates.sort_by(|one, other| one.id.cmp(&other.id));
        rows.inserts.sort_by(|one, other| one.key.cmp(&other.key));
        rows
    }

    fn take_incident(&mut self, batch: usize, write: &IncidentWrite) {
        let incident = &write.incident;
        let id = incident.id.to_string();
        let (mut sequence, mut hash) = (write.base.sequence, write.base.hash.clone());
        for entry in &write.entries {
            let body = to_json(entry);
            (sequence, hash) = (sequence + 1, link_hash(&hash, &body));
            let (incident_id, hash) = (id.clone(), hash.clone());
            self.audit.push(AuditLine { incident_id, sequence, body, hash });
        }
        let first = self.effects.len();
        self.effects.extend(write.effects.iter().enumerate().map(|(index, effect)| EffectRow {
            place: first + index,
            incident_id: id.clone(),
            kind: effect.kind,
            round: effect.round,
            not_before: to_micros(effect.not_before),
        }));
        let row = IncidentRow {
            batch,
            id,
            key: searched(incident.key.as_str()).into_owned(),
            phase: incident.phase.name(),
            is_open: (!incident.phase.is_final()).into(),
            opened_at: to_micros(incident.opened_at),
            changed_at: to_micros(write.at),
            deadline: incident.deadline.map(to_micros),
            body: to_json(incident),
            version: write.base.version,
            sequence,
            hash,
        };
        if write.base.version == 0 { &mut self.inserts } else { &mut self.updates }.push(row);
    }

    fn take_end(&mut self, batch: usize, end: &'a OutboxEnd) {
        self.ends.push(EndRow { batch, id: end.id(), last: end.last() });
        if let OutboxEnd::Buried { id, error, at } = end {
            self.dead.push(DeadRow { id: *id, error: plain(error), died_at: to_micros(*at) });
        }
    }
}

impl OutboxEnd {
    pub(crate) fn id(&self) -> i64 {
        match self {
            Self::Finished { id, .. } | Self::Buried { id, .. } => *id,
        }
    }

    /// Up to where it ends rows of the same incident and kind too.
    pub(crate) fn last(&self) -> i64 {
        match self {
            Self::Finished { last, .. } => *last,
            Self::Buried { id, .. } => *id,
        }
    }
}

const INCIDENT: &str = "id text, key text, phase text, is_open bigint, opened_at bigint, \
     changed_at bigint, deadline bigint, body text, version bigint, sequence bigint, hash text";

/// Changes incidents by the rows of the parameter `place`.
pub(super) fn update_incidents(dialect: Dialect, place: usize) -> String {
    let new = dialect.rows(place, "new", INCIDENT);
    format!(
        "UPDATE incident SET phase = new.phase, is_open = new.is_open, \
           changed_at = new.changed_at, deadline = new.deadline, body = new.body, \
           version = incident.version + 1, sequence = new.sequence, hash = new.hash \
         FROM {new} WHERE incident.id = new.id AND incident.version = new.version \
           AND (new.is_open = 0 OR incident.is_open = 1 OR NOT EXISTS (SELECT 1 \
             FROM incident AS other WHERE other.key = incident.key AND other.is_open = 1)) \
         RETURNING incident.id"
    )
}

/// Inserts incidents, the rows of the parameter `place`.
pub(super) fn insert_incidents(dialect: Dialect, place: usize) -> String {
    let new = dialect.rows(place, "new", INCIDENT);
    format!(
        "INSERT INTO incident (id, key, phase, is_open, opened_at, changed_at, deadline, body, \
           version, sequence, hash) \
         SELECT new.id, new.key, new.phase, new.is_open, new.opened_at, new.changed_at, \
           new.deadline, new.body, 1, new.sequence, new.hash \
         FROM {new} WHERE true ON CONFLICT DO NOTHING RETURNING id"
    )
}

async fn put_incidents(
    transaction: &mut Transaction,
    rows: &Rows<'_>,
) -> Result<Failed, StoreError> {
    let dialect = transaction.dialect();
    let history = |row: &IncidentRow| StoreError::Conflict { what: row.id.clone() };
    let updated = missing(transaction, update_incidents(dialect, 1), &rows.updates, history).await;
    let mut failed = updated.map_err(another_is_open)?;
    let is_open = |row: &IncidentRow| StoreError::Conflict {
        what: format!("the open incident of {}", row.key),
    };
    let inserted = missing(transaction, insert_incidents(dialect, 1), &rows.inserts, is_open);
    failed.extend(inserted.await?);
    Ok(failed)
}

/// Runs a statement that returns the ids of the rows it took; the others fail.
async fn missing(
    transaction: &mut Transaction,
    sql: String,
    rows: &[IncidentRow],
    error: impl Fn(&IncidentRow) -> StoreError,
) -> Result<Failed, StoreError> {
    if rows.is_empty() {
        return Ok(Failed::new());
    }
    let taken = transaction.fetch(sql, vec![Value::rows(rows)]).await?;
    let taken: HashSet<String> =
        taken.iter().map(|row| row.text("id")).collect::<Result<_, _>>()?;
    let missing = rows.iter().filter(|row| !taken.contains(&row.id));
    Ok(missing.map(|row| (row.batch, error(row))).collect())
}

/// Removes outbox rows, those that are buried into the dead letters.
async fn end_outbox(
    transaction: &mut Transaction,
    me: Me<'_>,
    rows: &Rows<'_>,
) -> Result<Failed, StoreError> {
    if rows.ends.is_empty() {
        return Ok(Failed::new());
    }
    let dialect = transaction.dialect();
    let new = dialect.rows(1, "new", "id bigint, error text, died_at bigint");
    let bury = format!(
        "INSERT INTO dead_letter (incident_id, kind, round, attempt, error, died_at) \
         SELECT outbox.incident_id, outbox.kind, outbox.round, outbox.attempt, new.error, \
           new.died_at FROM {new} JOIN outbox ON outbox.id = new.id ORDER BY new.id"
    );
    insert(transaction, &bury, &rows.dead).await?;
    let new = dialect.rows(1, "new", "id bigint, last bigint");
    let (is_mine, is_free) = me.claims(dialect);
    let delete = format!(
        "DELETE FROM outbox WHERE id IN (SELECT other.id FROM {new} \
           JOIN outbox AS one ON one.id = new.id \
           JOIN outbox AS other ON other.incident_id = one.incident_id AND other.kind = one.kind \
             AND other.id <= new.last \
           WHERE (other.id = new.id AND {is_mine}) OR (new.last > new.id AND {is_free})) \
         RETURNING id"
    );
    let parameters = vec![Value::rows(&rows.ends), me.parameter(dialect)];
    let gone = transaction.fetch(delete, parameters).await?;
    let mut gone: HashSet<i64> = gone.iter().map(|row| row.int("id")).collect::<Result<_, _>>()?;
    // A row ends once: what ends it a second time has lost it.
    let lost = rows.ends.iter().filter(|row| !gone.remove(&row.id));
    Ok(lost
        .map(|row| (row.batch, StoreError::Lost { what: format!("outbox row {}", row.id) }))
        .collect())
}

async fn insert<T: Serialize>(
    transaction: &mut Transaction,
    sql: &str,
    rows: &[T],
) -> Result<(), StoreError> {
    if !rows.is_empty() {
        transaction.execute(sql.to_owned(), vec![Value::rows(rows)]).await?;
    }
    Ok(())
}

/// Another replica opened an incident of the key at the same moment, which no condition sees.
fn another_is_open(error: StoreError) -> StoreError {
    match &error {
        StoreError::Unavailable(sqlx::Error::Database(cause)) if cause.is_unique_violation() => {
            StoreError::Conflict { what: "the open incident of a key".into() }
        }
        _ => error,
    }
}

/// Inserts the rows of the parameter `place`.
pub(super) fn insert_audit(dialect: Dialect, place: usize) -> String {
    let columns = "incident_id text, sequence bigint, body text, hash text";
    let new = dialect.rows(place, "new", columns);
    format!(
        "INSERT INTO audit (incident_id, sequence, body, hash) \
         SELECT new.incident_id, new.sequence, new.body, new.hash FROM {new}"
    )
}

/// Inserts the rows of the parameter `place`.
pub(super) fn insert_effects(dialect: Dialect, place: usize) -> String {
    let columns = "place bigint, incident_id text, kind text, round bigint, not_before bigint";
    let new = dialect.rows(place, "new", columns);
    format!(
        "INSERT INTO outbox (incident_id, kind, round, not_before) \
         SELECT new.incident_id, new.kind, new.round, new.not_before FROM {new} \
         ORDER BY new.place"
    )
}
