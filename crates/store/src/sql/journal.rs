//! The journal: bodies as they came, and counts of what was refused; what neither need keep any more
//! is forgotten a piece at a time.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::SqlStore;
use super::write::{Answer, Write};
use crate::database::{Dialect, Row, Transaction, Value, params, plain, searched};
use crate::sqlite::to_micros;
use crate::{Batch, Delivered, DeliveryRow, Refusal, Retention, StoreError};

/// Rows of a table that are forgotten in one transaction.
const PRUNED: u32 = 500;
/// Rows whose bytes are counted at a time.
const PAGE: u32 = 1_000;

/// Between two looks at whether a transaction has ended.
const LOOK: Duration = Duration::from_millis(2);

/// The bytes of the journal, by pages of its rows: a page is counted once, and again while it is the
/// first or the last. What other replicas add or forget is seen by the ids.
#[derive(Debug, Default)]
pub(super) struct Size(Mutex<VecDeque<Page>>);

#[derive(Clone, Copy, Debug)]
struct Page {
    last: i64,
    bytes: i64,
}

impl SqlStore {
    pub(super) async fn delivery_rows(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let settled = self.settled().await?;
        let sql = "SELECT id, source, body, received_at FROM delivery \
                   WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3";
        let rows = self.database.fetch(sql, params![after, settled, limit]).await?;
        let read = |row: &Row| {
            Ok(DeliveryRow {
                id: row.int("id")?,
                source: row.text("source")?,
                body: row.text("body")?,
                at: row.time("received_at")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// An id up to which no row comes any more: a server gives ids before they are committed, so that
    /// a later one may be seen first. Waits for whoever may have been given one, and keeps nobody from
    /// writing.
    async fn settled(&self) -> Result<i64, StoreError> {
        if self.database.dialect() == Dialect::Sqlite {
            return Ok(i64::MAX);
        }
        let given = "SELECT coalesce(pg_sequence_last_value( \
                       pg_get_serial_sequence('delivery', 'id')::regclass), 0) AS given";
        let rows = self.database.fetch(given, vec![]).await?;
        let given = rows.first().map_or(Ok(0), |row| row.int("given"))?;
        let mut waited_for: Option<HashSet<String>> = None;
        loop {
            let at_work = "SELECT virtualtransaction AS writer FROM pg_locks \
                           WHERE relation = 'delivery'::regclass AND mode = 'RowExclusiveLock'";
            let at_work = self.database.fetch(at_work, vec![]).await?;
            let mut at_work: HashSet<String> =
                at_work.iter().map(|row| row.text("writer")).collect::<Result<_, _>>()?;
            if let Some(waited_for) = &waited_for {
                at_work.retain(|writer| waited_for.contains(writer));
            }
            if at_work.is_empty() {
                return Ok(given);
            }
            waited_for = Some(at_work);
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(super) async fn prune_journal(&self, retention: Retention) -> Result<u64, StoreError> {
        let excess = self.journal_bytes().await?.saturating_sub(retention.bytes.max(0));
        let write = Write::Prune { before: retention.before, excess };
        Ok(self.write(write).await?.number()?.unsigned_abs())
    }

    /// Bytes of all bodies.
    async fn journal_bytes(&self) -> Result<i64, StoreError> {
        let first = "SELECT coalesce(MIN(id), 0) AS first FROM delivery";
        let rows = self.database.fetch(first, vec![]).await?;
        let first = rows.first().map_or(Ok(0), |row| row.int("first"))?;
        let mut pages = self.size.pages();
        while pages.front().is_some_and(|page| page.last < first) {
            pages.pop_front();
        }
        // Rows of the first page may be gone.
        if let Some(page) = pages.front_mut() {
            page.bytes = self.count_page(first - 1, Some(page.last)).await?.1;
        }
        let mut rest = 0;
        loop {
            let after = pages.back().map_or(i64::MIN, |page| page.last);
            let (last, bytes, rows) = self.count_page(after, None).await?;
            if rows < i64::from(PAGE) {
                rest += bytes;
                break;
            }
            pages.push_back(Page { last, bytes });
        }
        let total = pages.iter().map(|page| page.bytes).sum::<i64>() + rest;
        self.size.keep(pages);
        Ok(total)
    }

    /// Counts a page after an id, up to another one where it is known: its last row, bytes and rows.
    async fn count_page(
        &self,
        after: i64,
        up_to: Option<i64>,
    ) -> Result<(i64, i64, i64), StoreError> {
        let sql = "SELECT coalesce(MAX(id), 0) AS last, COUNT(*) AS rows, \
                     CAST(coalesce(SUM(bytes), 0) AS BIGINT) AS bytes \
                   FROM (SELECT id, octet_length(body) AS bytes FROM delivery \
                     WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3) AS page";
        let up_to = up_to.unwrap_or(i64::MAX);
        let rows = self.database.fetch(sql, params![after, up_to, PAGE]).await?;
        let Some(row) = rows.first() else { return Ok((0, 0, 0)) };
        Ok((row.int("last")?, row.int("bytes")?, row.int("rows")?))
    }

    pub(super) async fn newest_refusals(&self, limit: u32) -> Result<Vec<Refusal>, StoreError> {
        let sql = "SELECT minute, source, reason, address, count FROM refusal \
                   ORDER BY minute DESC, source, reason LIMIT $1";
        let rows = self.database.fetch(sql, params![limit]).await?;
        let read = |row: &Row| {
            Ok(Refusal {
                source: row.text("source")?,
                reason: row.text("reason")?,
                minute: row.time("minute")?,
                address: row.text("address")?,
                count: row.int("count")?,
            })
        };
        rows.iter().map(read).collect()
    }
}

impl Size {
    fn pages(&self) -> VecDeque<Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, pages: VecDeque<Page>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = pages;
    }
}

/// Inserts bodies, from parameters that begin at `$first`. A body is neither escaped into JSON nor out
/// of it: bodies are most of what is written.
pub(super) fn insert_from(dialect: Dialect, first: usize) -> String {
    let (second, third) = (first + 1, first + 2);
    let rows = match dialect {
        Dialect::Sqlite => format!(
            "value ->> 0, value ->> 1, \
               CAST(substr(${second}, value ->> 2, value ->> 3) AS TEXT) FROM json_each(${first})"
        ),
        Dialect::Postgres => {
            format!("* FROM unnest(${first}::text[], ${second}::bigint[], ${third}::text[])")
        }
    };
    format!("INSERT INTO delivery (source, received_at, body) SELECT {rows}")
}

/// Writes the bodies of all batches, in their order.
pub(super) async fn insert(
    transaction: &mut Transaction,
    batches: &[&Batch],
) -> Result<(), StoreError> {
    static SQLITE: LazyLock<String> = LazyLock::new(|| insert_from(Dialect::Sqlite, 1));
    static POSTGRES: LazyLock<String> = LazyLock::new(|| insert_from(Dialect::Postgres, 1));
    if batches.iter().any(|batch| !batch.delivered.is_empty()) {
        let dialect = transaction.dialect();
        let sql = dialect.pick(&SQLITE, &POSTGRES);
        transaction.execute(sql, parameters(dialect, batches)).await?;
    }
    Ok(())
}

pub(super) fn parameters(dialect: Dialect, batches: &[&Batch]) -> Vec<Value> {
    let delivered = || batches.iter().flat_map(|batch| &batch.delivered);
    match dialect {
        Dialect::Sqlite => of_file(delivered()),
        Dialect::Postgres => vec![
            Value::Texts(delivered().map(|one| plain(&one.source).into_owned()).collect()),
            Value::Ints(delivered().map(|one| to_micros(one.at)).collect()),
            Value::Texts(delivered().map(|one| plain(&one.body).into_owned()).collect()),
        ],
    }
}

/// The bodies behind one another, and where each of them stands.
fn of_file<'a>(delivered: impl Iterator<Item = &'a Delivered> + Clone) -> Vec<Value> {
    let bytes = delivered.clone().map(|one| one.body.len()).sum();
    let (mut rows, mut bodies) = (Vec::new(), Vec::with_capacity(bytes));
    for one in delivered {
        let body = plain(&one.body);
        rows.push((plain(&one.source), to_micros(one.at), bodies.len() + 1, body.len()));
        bodies.extend_from_slice(body.as_bytes());
    }
    vec![Value::rows(&rows), Value::Bytes(bodies)]
}

/// Forgets bodies from before or in excess, refusals from before, and alerts that ended before; some
/// of each. The newest body stays, so that ids only grow.
pub(super) async fn prune(
    transaction: &mut Transaction,
    before: Timestamp,
    excess: i64,
) -> Result<Answer, StoreError> {
    let bodies = "DELETE FROM delivery WHERE id IN (SELECT id FROM ( \
                    SELECT id, received_at, SUM(bytes) OVER (ORDER BY id) - bytes AS passed \
                    FROM (SELECT id, received_at, octet_length(body) AS bytes FROM delivery \
                      WHERE id < (SELECT MAX(id) FROM delivery) ORDER BY id LIMIT $3) AS first \
                  ) AS counted WHERE received_at < $1 OR passed < $2)";
    let mut gone = transaction.execute(bodies, params![before, excess, PRUNED]).await?;
    let refusals = "DELETE FROM refusal WHERE (minute, source, reason) IN ( \
                      SELECT minute, source, reason FROM refusal WHERE minute < $1 \
                      ORDER BY minute, source, reason LIMIT $2)";
    gone += transaction.execute(refusals, params![before, PRUNED]).await?;
    gone += transaction.execute(ended(transaction.dialect()), params![before, PRUNED]).await?;
    Ok(Answer::Number(i64::try_from(gone).unwrap_or(i64::MAX)))
}

/// Deletes alerts that ended before `$1`, with their incidents. What somebody else has in hand is left
/// to him.
fn ended(dialect: Dialect) -> String {
    let lock = dialect.pick("", "FOR UPDATE OF alert SKIP LOCKED");
    format!(
        "DELETE FROM alert WHERE id IN ( \
           SELECT alert.id FROM alert LEFT JOIN alert_repeat ON alert_repeat.alert = alert.id \
             LEFT JOIN incident ON incident.id = alert.incident_id \
           WHERE alert.status = 'resolved' AND alert.changed_at < $1 \
             AND coalesce(alert_repeat.last_at, 0) < $1 AND coalesce(incident.is_open, 0) = 0 \
           ORDER BY alert.changed_at LIMIT $2 {lock})"
    )
}

#[derive(Serialize)]
struct RefusalRow<'a> {
    minute: i64,
    source: std::borrow::Cow<'a, str>,
    reason: std::borrow::Cow<'a, str>,
    address: std::borrow::Cow<'a, str>,
    count: i64,
}

pub(super) async fn add_refusals(
    transaction: &mut Transaction,
    refusals: &[Refusal],
) -> Result<Answer, StoreError> {
    let mut rows: BTreeMap<_, RefusalRow<'_>> = BTreeMap::new();
    for refusal in refusals {
        let (minute, address) = (to_micros(refusal.minute), plain(&refusal.address));
        let (source, reason) = (searched(&refusal.source), searched(&refusal.reason));
        let key = (minute, source.clone(), reason.clone());
        let row = rows.entry(key).or_insert_with(|| RefusalRow {
            minute,
            source,
            reason,
            address: address.clone(),
            count: 0,
        });
        row.count += refusal.count;
        row.address = address;
    }
    if rows.is_empty() {
        return Ok(Answer::Done);
    }
    let columns = "minute bigint, source text, reason text, address text, count bigint";
    let new = transaction.dialect().rows(1, "new", columns);
    let sql = format!(
        "INSERT INTO refusal (minute, source, reason, address, count) \
         SELECT new.minute, new.source, new.reason, new.address, new.count FROM {new} \
         WHERE true ORDER BY new.minute, new.source, new.reason \
         ON CONFLICT (minute, source, reason) DO UPDATE SET \
           address = excluded.address, count = refusal.count + excluded.count"
    );
    let rows: Vec<RefusalRow<'_>> = rows.into_values().collect();
    transaction.execute(sql, vec![Value::rows(&rows)]).await?;
    Ok(Answer::Done)
}
