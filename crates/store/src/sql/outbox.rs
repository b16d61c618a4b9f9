//! Effects that wait. In a file, a claim is a note of this process and costs no write; in a database
//! that is shared, it stands in the row.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use incident::IncidentId;
use jiff::Timestamp;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::SqlStore;
use super::owner::{self, is_free, is_mine, lives};
use super::write::{Answer, Write};
use crate::database::{Dialect, Row, Transaction, Value, params};
use crate::{DeadLetter, OutboxEnd, OutboxRow, StoreError};

/// The rows that this process has claimed; of use in a file only.
#[derive(Debug, Default)]
pub(super) struct Claims {
    rows: Mutex<HashMap<i64, Claimed>>,
    /// By kind: one claim at a time, and none while rows that are not claimed end. So what is read as
    /// free still is when it is noted.
    turns: Mutex<HashMap<&'static str, Arc<RwLock<()>>>>,
}

#[derive(Clone, Copy, Debug)]
struct Claimed {
    incident_id: IncidentId,
    kind: &'static str,
}

impl Claims {
    fn rows(&self) -> MutexGuard<'_, HashMap<i64, Claimed>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, kind: &'static str) -> Arc<RwLock<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(kind).or_default().clone()
    }

    /// Every claimed row.
    pub(super) fn all(&self) -> Vec<i64> {
        self.rows().keys().copied().collect()
    }

    fn ids(&self, kind: &str) -> Vec<i64> {
        let rows = self.rows();
        rows.iter().filter(|(_, row)| row.kind == kind).map(|(id, _)| *id).collect()
    }

    /// The incidents of the claimed rows of a kind.
    fn incidents(&self, kind: &str) -> Vec<IncidentId> {
        let rows = self.rows();
        rows.values().filter(|row| row.kind == kind).map(|row| row.incident_id).collect()
    }

    fn take(&self, kind: &'static str, rows: &[OutboxRow]) {
        let claimed = |row: &OutboxRow| (row.id, Claimed { incident_id: row.incident_id, kind });
        self.rows().extend(rows.iter().map(claimed));
    }

    /// # Errors
    /// One of them is not claimed by this process.
    pub(super) fn check(&self, dialect: Dialect, ids: &[i64]) -> Result<(), StoreError> {
        let claimed = self.rows();
        let foreign = ids.iter().find(|id| dialect == Dialect::Sqlite && !claimed.contains_key(id));
        foreign.map_or(Ok(()), |id| Err(lost(*id)))
    }

    /// Keeps rows that are not claimed from being claimed, where some of them end too.
    pub(super) async fn hold(&self, ends: &[OutboxEnd]) -> Vec<OwnedRwLockReadGuard<()>> {
        let kinds: BTreeSet<&'static str> = {
            let rows = self.rows();
            let wide = ends.iter().filter(|end| end.last() != end.id());
            wide.filter_map(|end| rows.get(&end.id()).map(|row| row.kind)).collect()
        };
        let mut guards = Vec::with_capacity(kinds.len());
        for kind in kinds {
            guards.push(self.turn(kind).read_owned().await);
        }
        guards
    }

    pub(super) fn end(&self, ids: &[i64]) {
        let mut claimed = self.rows();
        for id in ids {
            claimed.remove(id);
        }
    }
}

fn lost(id: i64) -> StoreError {
    StoreError::Lost { what: format!("outbox row {id}") }
}

const ROW: &str = "id, incident_id, kind, round, attempt, tries, \
     (SELECT MAX(same.id) FROM outbox AS same WHERE same.incident_id = outbox.incident_id \
       AND same.kind = outbox.kind) AS last";
/// The oldest row of its incident that is due.
const ONE_EACH: &str = "AND NOT EXISTS (SELECT 1 FROM outbox AS older WHERE \
     older.incident_id = outbox.incident_id AND older.kind = outbox.kind \
     AND older.id < outbox.id AND older.not_before <= $2)";

/// What is to be claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) kind: &'static str,
    pub(super) now: Timestamp,
    pub(super) limit: u32,
    pub(super) one_each: bool,
}

impl SqlStore {
    pub(super) async fn claim_rows(&self, wanted: Wanted) -> Result<Vec<OutboxRow>, StoreError> {
        match self.database.dialect() {
            Dialect::Sqlite => self.claim_in_process(wanted).await,
            Dialect::Postgres => self.claim_in_rows(wanted).await,
        }
    }

    async fn claim_in_process(&self, wanted: Wanted) -> Result<Vec<OutboxRow>, StoreError> {
        let Wanted { kind, now, limit, one_each } = wanted;
        let turn = self.claims.turn(kind);
        let _turn = turn.write().await;
        let (mut one_each_only, mut busy) = ("", Vec::new());
        if one_each {
            (one_each_only, busy) = (ONE_EACH, self.claims.incidents(kind));
        }
        let sql = format!(
            "SELECT {ROW} FROM outbox WHERE kind = $1 AND not_before <= $2 \
               AND id NOT IN (SELECT value FROM json_each($3)) \
               AND incident_id NOT IN (SELECT value FROM json_each($4)) {one_each_only} \
             ORDER BY not_before, id LIMIT $5"
        );
        let mut parameters = params![kind, now];
        parameters.extend([Value::rows(&self.claims.all()), Value::rows(&busy)]);
        parameters.extend(params![limit]);
        let rows = self.database.fetch(sql, parameters).await?;
        let rows = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        self.claims.take(kind, &rows);
        Ok(rows)
    }

    async fn claim_in_rows(&self, wanted: Wanted) -> Result<Vec<OutboxRow>, StoreError> {
        let Wanted { kind, now, limit, one_each } = wanted;
        let me = self.owner.key();
        let mut transaction = self.database.begin().await?;
        if one_each {
            // One replica at a time, so that what others have claimed is seen.
            let sql =
                "SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.outbox.' || $1))";
            transaction.execute(sql, params![kind]).await?;
        }
        let sql = claim(one_each);
        let rows = transaction.fetch(sql, params![kind, now, &*me, limit]).await?;
        let mut claimed = Vec::with_capacity(rows.len());
        for row in &rows {
            claimed.push((row.int("not_before")?, read(row)?));
        }
        if claimed.is_empty() {
            let sql = format!("SELECT 1 WHERE {}", lives("$1"));
            if transaction.fetch(sql, params![&*me]).await?.is_empty() {
                return Err(owner::lost());
            }
        }
        transaction.commit().await?;
        claimed.sort_by_key(|(not_before, row)| (*not_before, row.id));
        Ok(claimed.into_iter().map(|(_, row)| row).collect())
    }

    pub(super) async fn delay_row(
        &self,
        id: i64,
        counts: bool,
        error: String,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        self.claims.check(self.database.dialect(), &[id])?;
        self.write(Write::Delay { id, counts, error, not_before }).await?.done()
    }

    pub(super) async fn release_rows(&self, ids: Vec<i64>) -> Result<(), StoreError> {
        match self.database.dialect() {
            Dialect::Sqlite => self.claims.end(&ids),
            Dialect::Postgres => {
                self.write(Write::ReleaseRows { ids }).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn claimed_rows(&self, kind: &str) -> Result<Vec<i64>, StoreError> {
        if let Dialect::Sqlite = self.database.dialect() {
            return Ok(self.claims.ids(kind));
        }
        let sql = "SELECT id FROM outbox WHERE kind = $1 AND replica = $2";
        let rows = self.database.fetch(sql, params![kind, &*self.owner.key()]).await?;
        rows.iter().map(|row| row.int("id")).collect()
    }

    pub(super) async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let dialect = self.database.dialect();
        let (free, parameters) = match dialect {
            Dialect::Sqlite => (
                "id NOT IN (SELECT value FROM json_each($2))".to_owned(),
                vec![now.into(), Value::rows(&self.claims.all())],
            ),
            Dialect::Postgres => (is_free(dialect, "outbox.replica", ""), params![now]),
        };
        let sql =
            format!("SELECT MIN(not_before) AS due FROM outbox WHERE not_before > $1 AND {free}");
        let rows = self.database.fetch(sql, parameters).await?;
        rows.first().map_or(Ok(None), |row| row.time_if_any("due"))
    }

    pub(super) async fn newest_dead_letters(
        &self,
        limit: u32,
        before: Option<i64>,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let sql = "SELECT id, incident_id, kind, round, attempt, error, died_at FROM dead_letter \
                   WHERE id < $1 ORDER BY id DESC LIMIT $2";
        let before = before.unwrap_or(i64::MAX);
        let rows = self.database.fetch(sql, params![before, limit]).await?;
        rows.iter().map(read_dead_letter).collect()
    }
}

/// Claims rows of the kind `$1` that are due at `$2` for `$3`. What somebody else is about to claim
/// or to end is left to him.
fn claim(one_each: bool) -> String {
    let (dialect, me) = (Dialect::Postgres, "$3");
    let one_each_only = if one_each {
        let free = is_free(dialect, "busy.replica", me);
        format!(
            "{ONE_EACH} AND NOT EXISTS (SELECT 1 FROM outbox AS busy WHERE \
               busy.incident_id = outbox.incident_id AND busy.kind = outbox.kind AND NOT {free})"
        )
    } else {
        String::new()
    };
    let (free, lives) = (is_free(dialect, "outbox.replica", me), lives(me));
    format!(
        "WITH chosen AS MATERIALIZED (SELECT id AS chosen_id FROM outbox \
           WHERE kind = $1 AND not_before <= $2 AND {free} AND {lives} {one_each_only} \
           ORDER BY not_before, id LIMIT $4 FOR UPDATE OF outbox SKIP LOCKED) \
         UPDATE outbox SET replica = $3 FROM chosen WHERE id = chosen_id \
         RETURNING not_before, {ROW}"
    )
}

pub(super) async fn release(
    transaction: &mut Transaction,
    me: &str,
    ids: &[i64],
) -> Result<Answer, StoreError> {
    let rows: Vec<_> = ids.iter().map(|id| serde_json::json!({ "id": id })).collect();
    let ids = transaction.dialect().rows(1, "new", "id bigint");
    let sql = format!(
        "UPDATE outbox SET replica = NULL WHERE id IN (SELECT new.id FROM {ids}) AND replica = $2"
    );
    transaction.execute(sql, vec![Value::rows(&rows), me.into()]).await?;
    Ok(Answer::Done)
}

pub(super) async fn delay(
    transaction: &mut Transaction,
    me: &str,
    id: i64,
    counts: bool,
    error: &str,
    not_before: Timestamp,
) -> Result<Answer, StoreError> {
    let dialect = transaction.dialect();
    let set = "UPDATE outbox SET attempt = attempt + $2, tries = tries + 1, error = $3, \
               not_before = $4";
    let mut parameters = params![id, counts, error, not_before];
    let sql = match dialect {
        Dialect::Sqlite => format!("{set} WHERE id = $1"),
        Dialect::Postgres => {
            parameters.extend(params![me]);
            let mine = is_mine(dialect, "outbox.replica", "$5");
            format!("{set}, replica = NULL WHERE id = $1 AND {mine}")
        }
    };
    match transaction.execute(sql, parameters).await? {
        0 => Err(lost(id)),
        _ => Ok(Answer::Done),
    }
}

pub(super) async fn replay(
    transaction: &mut Transaction,
    id: i64,
    now: Timestamp,
) -> Result<Answer, StoreError> {
    let sql = "DELETE FROM dead_letter WHERE id = $1 \
               RETURNING id, incident_id, kind, round, attempt, error, died_at";
    let rows = transaction.fetch(sql, params![id]).await?;
    let Some(row) = rows.first() else { return Ok(Answer::DeadLetter(None)) };
    let dead = read_dead_letter(row)?;
    let sql = "INSERT INTO outbox (incident_id, kind, round, not_before) VALUES ($1, $2, $3, $4)";
    let parameters = params![dead.incident_id.to_string(), dead.kind.clone(), dead.round, now];
    transaction.execute(sql, parameters).await?;
    Ok(Answer::DeadLetter(Some(dead)))
}

fn read(row: &Row) -> Result<OutboxRow, StoreError> {
    Ok(OutboxRow {
        id: row.int("id")?,
        incident_id: row.id("incident_id")?,
        kind: row.text("kind")?,
        round: row.count("round")?,
        attempt: row.count("attempt")?,
        tries: row.count("tries")?,
        last: row.int("last")?,
    })
}

fn read_dead_letter(row: &Row) -> Result<DeadLetter, StoreError> {
    Ok(DeadLetter {
        id: row.int("id")?,
        incident_id: row.id("incident_id")?,
        kind: row.text("kind")?,
        round: row.count("round")?,
        attempt: row.count("attempt")?,
        error: row.text("error")?,
        died_at: row.time("died_at")?,
    })
}
