//! Writes of tasks: each statement takes all its rows as one array a column, so that a batch of any
//! size costs as many round trips as one task.

use std::collections::{HashMap, HashSet};

use a2a_types::{Expiry, TaskRecord};
use jiff::Timestamp;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

use super::read::read;
use super::{Database, bounded};
use crate::StoreError;
use crate::sqlite::to_micros;
use crate::tasks::committer::{Backend, Written};
use crate::tasks::row::{EventRow, PushRow, Sorted, TaskRow, Write};

const INSERT: &str = "INSERT INTO task (agent, id, tenant, principal, idempotency_key, context_id, \
       state, is_unfinished, is_terminal, updated_at, sequence, task, message, replica) \
     SELECT $1, new.*, CASE WHEN is_unfinished THEN $14 END \
     FROM UNNEST($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], \
       $8::bool[], $9::bool[], $10::bigint[], $11::bigint[], $12::text[], $13::text[]) \
       AS new (id, tenant, principal, idempotency_key, context_id, state, is_unfinished, \
         is_terminal, updated_at, sequence, task, message) \
     ON CONFLICT (agent, tenant, principal, idempotency_key) WHERE idempotency_key IS NOT NULL \
     DO NOTHING RETURNING id";

/// A task that waits for its caller is for whoever writes first; the others find that it has changed.
const UPDATE: &str = "UPDATE task SET state = new.state, is_unfinished = new.is_unfinished, \
       is_terminal = new.is_terminal, updated_at = new.updated_at, sequence = new.sequence, \
       task = new.task, message = new.message, \
       replica = CASE WHEN new.is_unfinished THEN $10 END \
     FROM UNNEST($2::text[], $3::text[], $4::bool[], $5::bool[], $6::bigint[], $7::bigint[], \
       $8::text[], $9::text[], $11::bigint[]) AS new (id, state, is_unfinished, is_terminal, \
       updated_at, sequence, task, message, before) \
     WHERE task.agent = $1 AND task.id = new.id AND task.sequence = new.before \
       AND (task.replica = $10 \
         OR (task.replica IS NULL AND NOT task.is_unfinished AND NOT task.is_terminal)) \
     RETURNING task.id";

const EXISTING: &str = concat!(
    "SELECT ",
    columns!("task"),
    " FROM task WHERE agent = $1 AND tenant = $2 AND principal = $3 AND idempotency_key = $4"
);

const INSERT_EVENTS: &str = "INSERT INTO task_event (task, sequence, event) \
     SELECT task.number, new.sequence, new.event \
     FROM UNNEST($2::text[], $3::bigint[], $4::text[]) AS new (task_id, sequence, event) \
     JOIN task ON task.agent = $1 AND task.id = new.task_id";

const INSERT_DELIVERIES: &str = "INSERT INTO push_delivery (agent, task, config, sequence) \
     SELECT $1, push_config.task, push_config.id, new.sequence \
     FROM UNNEST($2::text[], $3::bigint[]) WITH ORDINALITY AS new (task_id, sequence, place) \
     JOIN task ON task.agent = $1 AND task.id = new.task_id \
     JOIN push_config ON push_config.task = task.number \
     ORDER BY new.place, push_config.id";

const PUT_PUSH: &str = "INSERT INTO push_config (task, id, config) \
     SELECT task.number, new.id, new.config \
     FROM UNNEST($2::text[], $3::text[], $4::text[]) AS new (task_id, id, config) \
     JOIN task ON task.agent = $1 AND task.id = new.task_id \
     ON CONFLICT (task, id) DO UPDATE SET config = excluded.config";

impl Backend for Database {
    async fn commit(&self, batch: &[Write]) -> Result<Vec<Written>, StoreError> {
        bounded(async {
            let mut transaction = self.pool.begin().await?;
            let written = self.write_all(&mut transaction, batch).await?;
            transaction.commit().await?;
            Ok(written)
        })
        .await
    }
}

impl Database {
    async fn write_all(
        &self,
        connection: &mut PgConnection,
        batch: &[Write],
    ) -> Result<Vec<Written>, StoreError> {
        let Sorted { inserts, pushes, saves, mut events } = Sorted::new(batch);
        let new = self.insert_all(connection, inserts).await?;
        let pushes = pushes.into_iter().filter(|push| new.contains(&push.task_id)).collect();
        self.put_pushes(connection, pushes).await?;
        let refused = self.update_all(connection, saves).await?;
        events.retain(|event| !refused.contains_key(&*event.task_id));
        self.insert_events(connection, &events).await?;

        let mut written = Vec::with_capacity(batch.len());
        for write in batch {
            written.push(match write {
                Write::Insert { task, .. } if !new.contains(&task.id) => {
                    Written::Existing(Box::new(self.existing(connection, task).await?))
                }
                Write::Save { task, .. } if refused.get(&task.id) == Some(&true) => Written::Lost,
                _ => Written::Done,
            });
        }
        Ok(written)
    }

    /// The ids of those that are new; the others' keys are known.
    async fn insert_all(
        &self,
        connection: &mut PgConnection,
        mut rows: Vec<&TaskRow>,
    ) -> Result<HashSet<String>, StoreError> {
        if rows.is_empty() {
            return Ok(HashSet::new());
        }
        // Processes that race for the same keys take them in the same order. The sort is stable:
        // of one key, the first write is the one that makes the task.
        rows.sort_by_key(|row| (&row.tenant, &row.principal, &row.idempotency_key));
        let inserted = sqlx::query(INSERT)
            .bind(&*self.agent)
            .bind(column(&rows, |row| &*row.id))
            .bind(column(&rows, |row| &*row.tenant))
            .bind(column(&rows, |row| &*row.principal))
            .bind(column(&rows, |row| row.idempotency_key.as_deref()))
            .bind(column(&rows, |row| &*row.context_id))
            .bind(column(&rows, |row| &*row.state))
            .bind(column(&rows, |row| row.is_unfinished))
            .bind(column(&rows, |row| row.is_terminal))
            .bind(column(&rows, |row| row.updated_at))
            .bind(column(&rows, |row| row.sequence.cast_signed()))
            .bind(column(&rows, |row| &*row.task))
            .bind(column(&rows, |row| &*row.message))
            .bind(&*self.replica)
            .fetch_all(connection)
            .await
            .map_err(|error| StoreError::on_insert(error, "a task of the same id"))?;
        Ok(inserted.iter().map(|row| row.get("id")).collect())
    }

    /// The task under the key of this one.
    async fn existing(
        &self,
        connection: &mut PgConnection,
        row: &TaskRow,
    ) -> Result<TaskRecord, StoreError> {
        let known = sqlx::query(EXISTING)
            .bind(&*self.agent)
            .bind(&row.tenant)
            .bind(&row.principal)
            .bind(&row.idempotency_key)
            .fetch_one(connection)
            .await?;
        read(&known)
    }

    pub(super) async fn put_pushes(
        &self,
        connection: &mut PgConnection,
        rows: Vec<&PushRow>,
    ) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(PUT_PUSH)
            .bind(&*self.agent)
            .bind(column(&rows, |row| &*row.task_id))
            .bind(column(&rows, |row| &*row.id))
            .bind(column(&rows, |row| &*row.config))
            .execute(connection)
            .await?;
        Ok(())
    }

    /// The tasks that were not updated, and whether there is such a one: then another replica has it.
    async fn update_all(
        &self,
        connection: &mut PgConnection,
        rows: Vec<&TaskRow>,
    ) -> Result<HashMap<String, bool>, StoreError> {
        if rows.is_empty() {
            return Ok(HashMap::new());
        }
        let updated: Vec<String> = sqlx::query_scalar(UPDATE)
            .bind(&*self.agent)
            .bind(column(&rows, |row| &*row.id))
            .bind(column(&rows, |row| &*row.state))
            .bind(column(&rows, |row| row.is_unfinished))
            .bind(column(&rows, |row| row.is_terminal))
            .bind(column(&rows, |row| row.updated_at))
            .bind(column(&rows, |row| row.sequence.cast_signed()))
            .bind(column(&rows, |row| &*row.task))
            .bind(column(&rows, |row| &*row.message))
            .bind(&*self.replica)
            .bind(column(&rows, |row| row.before.cast_signed()))
            .fetch_all(&mut *connection)
            .await?;
        if updated.len() == rows.len() {
            return Ok(HashMap::new());
        }
        let updated: HashSet<String> = updated.into_iter().collect();
        let mut refused: HashMap<String, bool> = (rows.iter())
            .filter(|row| !updated.contains(&row.id))
            .map(|row| (row.id.clone(), false))
            .collect();
        let known = "SELECT id FROM task WHERE agent = $1 AND id = ANY($2::text[])";
        let ids: Vec<&String> = refused.keys().collect();
        let known = sqlx::query_scalar(known).bind(&*self.agent).bind(ids);
        let known: Vec<String> = known.fetch_all(connection).await?;
        refused.extend(known.into_iter().map(|id| (id, true)));
        Ok(refused)
    }

    /// Inserts events, and a delivery of each to each push configuration of its task.
    async fn insert_events(
        &self,
        connection: &mut PgConnection,
        rows: &[&EventRow],
    ) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let task_ids = column(rows, |row| &*row.task_id);
        let sequences = column(rows, |row| row.sequence.cast_signed());
        sqlx::query(INSERT_EVENTS)
            .bind(&*self.agent)
            .bind(&task_ids)
            .bind(&sequences)
            .bind(column(rows, |row| &*row.event))
            .execute(&mut *connection)
            .await?;
        sqlx::query(INSERT_DELIVERIES)
            .bind(&*self.agent)
            .bind(&task_ids)
            .bind(&sequences)
            .execute(connection)
            .await?;
        Ok(())
    }

    pub(super) async fn expire_tasks(&self, expiry: Expiry, limit: u32) -> Result<u64, StoreError> {
        let ended = self.expire("is_terminal", expiry.ended_before, limit).await?;
        let is_waiting = "NOT is_unfinished AND NOT is_terminal AND replica IS NULL";
        Ok(ended + self.expire(is_waiting, expiry.waiting_before, limit).await?)
    }

    async fn expire(
        &self,
        which: &'static str,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let mut delete = QueryBuilder::<Postgres>::new("DELETE FROM task WHERE number IN (");
        delete.push("SELECT number FROM task WHERE agent = ").push_bind(self.agent.to_string());
        delete.push(" AND ").push(which);
        delete.push(" AND updated_at < ").push_bind(to_micros(before));
        delete.push(
            " AND NOT EXISTS (SELECT 1 FROM push_delivery WHERE push_delivery.task = number)",
        );
        delete.push(" ORDER BY updated_at LIMIT ").push_bind(i64::from(limit));
        delete.push(" FOR UPDATE SKIP LOCKED)");
        Ok(delete.build().execute(&self.pool).await?.rows_affected())
    }
}

/// One column of rows, as the array that stands for it.
fn column<'a, R, T>(rows: &[&'a R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(|row| of(row)).collect()
}
