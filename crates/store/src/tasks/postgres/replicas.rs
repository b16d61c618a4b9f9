//! Which replica has which task, by the clock of the database, which all of them share. A replica is
//! a row that it keeps alive; a task names its replica, or none.

use a2a_types::{Adopted, TaskRecord};
use sqlx::Row;

use super::Database;
use super::read::{can_be_stored, read};
use crate::StoreError;
use crate::tasks::row::{readable, unreadable};

/// Takes free tasks. Of several replicas that find the same ones free, each is for the first that
/// locks it: whoever comes later sees that its replica is not the one it was found with. A row without
/// an id is one that was found and not taken.
const ADOPT: &str = concat!(
    "WITH free AS MATERIALIZED (\
       SELECT number, replica FROM task \
       WHERE agent = $1 AND is_unfinished AND NOT EXISTS (SELECT 1 FROM replica \
         WHERE replica.id = task.replica AND replica.expires_at > clock_timestamp()) \
       ORDER BY number LIMIT $3), \
     locked AS MATERIALIZED (\
       SELECT task.number FROM task JOIN free ON free.number = task.number \
       WHERE task.is_unfinished AND task.replica IS NOT DISTINCT FROM free.replica \
       ORDER BY task.number FOR UPDATE OF task SKIP LOCKED), \
     taken AS (UPDATE task SET replica = $2 FROM locked WHERE task.number = locked.number \
       RETURNING task.number, ",
    columns!("task"),
    ") SELECT ",
    columns!("taken"),
    " FROM free LEFT JOIN taken ON taken.number = free.number ORDER BY free.number"
);

/// How often what others took first is passed by.
const ROUNDS: usize = 8;

const CLAIM: &str = concat!(
    "WITH free AS MATERIALIZED (\
       SELECT number, replica FROM task \
       WHERE agent = $1 AND id = $3 AND NOT is_terminal AND (replica = $2 OR NOT EXISTS (\
         SELECT 1 FROM replica \
         WHERE replica.id = task.replica AND replica.expires_at > clock_timestamp()))), \
     taken AS MATERIALIZED (\
       SELECT task.number FROM task JOIN free ON free.number = task.number \
       WHERE NOT task.is_terminal AND task.replica IS NOT DISTINCT FROM free.replica \
       FOR UPDATE OF task) \
     UPDATE task SET replica = $2 FROM taken WHERE task.number = taken.number RETURNING ",
    columns!("task")
);

const PROGRESS: &str = concat!(
    "SELECT ",
    columns!("task"),
    " FROM UNNEST($2::text[], $3::bigint[]) AS seen (id, sequence) \
     JOIN task ON task.agent = $1 AND task.id = seen.id \
     WHERE task.sequence > seen.sequence"
);

impl Database {
    /// What the replica had when its lease ran out is its own still, unless another has taken it.
    pub(super) async fn beat(&self) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO replica (id, body, expires_at) VALUES ($1, $2, clock_timestamp() + $3) \
             ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at",
        )
        .bind(&*self.replica)
        .bind(&*self.body)
        .bind(self.lease)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(super) async fn adopt_tasks(&self, limit: u32) -> Result<Adopted, StoreError> {
        let mut adopted = Adopted::default();
        for _ in 0..ROUNDS {
            let left = i64::from(limit) - (adopted.tasks.len() + adopted.unreadable.len()) as i64;
            let found = sqlx::query(ADOPT)
                .bind(&*self.agent)
                .bind(&*self.replica)
                .bind(left)
                .fetch_all(&self.pool)
                .await?;
            let taken = found.iter().filter(|row| row.get::<Option<&str>, _>("id").is_some());
            for row in taken.clone() {
                match read(row) {
                    Ok(record) => adopted.tasks.push(record),
                    // It stays with this replica, so that it is reported once while that lives.
                    Err(error) => adopted.unreadable.push(unreadable(row.get("id"), &error)),
                }
            }
            if taken.count() == found.len() {
                break;
            }
        }
        Ok(adopted)
    }

    pub(super) async fn claim_task(&self, id: &str) -> Result<Option<TaskRecord>, StoreError> {
        if !can_be_stored(id) {
            return Ok(None);
        }
        let row = sqlx::query(CLAIM)
            .bind(&*self.agent)
            .bind(&*self.replica)
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        // One that cannot be read stays with this replica, and is not worked on.
        readable(row.as_ref().map(read).transpose())
    }

    pub(super) async fn release_task(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE task SET replica = NULL WHERE agent = $1 AND id = $3 AND replica = $2")
            .bind(&*self.agent)
            .bind(&*self.replica)
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(super) async fn held_of(&self, ids: &[String]) -> Result<Vec<String>, StoreError> {
        let held = "SELECT id FROM task WHERE agent = $1 AND id = ANY($3::text[]) AND replica = $2";
        Ok(sqlx::query_scalar(held)
            .bind(&*self.agent)
            .bind(&*self.replica)
            .bind(ids)
            .fetch_all(&self.pool)
            .await?)
    }

    pub(super) async fn all_held(&self) -> Result<Vec<String>, StoreError> {
        let held = "SELECT id FROM task WHERE agent = $1 AND replica = $2 AND NOT is_terminal";
        Ok(sqlx::query_scalar(held)
            .bind(&*self.agent)
            .bind(&*self.replica)
            .fetch_all(&self.pool)
            .await?)
    }

    pub(super) async fn progress_of(
        &self,
        seen: &[(String, u64)],
    ) -> Result<Vec<TaskRecord>, StoreError> {
        let ids: Vec<&str> = seen.iter().map(|(id, _)| &**id).collect();
        let sequences: Vec<i64> = seen.iter().map(|(_, last)| last.cast_signed()).collect();
        let rows = sqlx::query(PROGRESS)
            .bind(&*self.agent)
            .bind(ids)
            .bind(sequences)
            .fetch_all(&self.pool)
            .await?;
        // One that cannot be read hides no other.
        rows.iter().filter_map(|row| readable(read(row).map(Some)).transpose()).collect()
    }

    pub(super) async fn put_cancel(&self, id: &str) -> Result<(), StoreError> {
        let ask = "UPDATE task SET cancel_asked = true \
                   WHERE agent = $1 AND id = $2 AND NOT is_terminal";
        sqlx::query(ask).bind(&*self.agent).bind(id).execute(&self.pool).await?;
        Ok(())
    }

    pub(super) async fn cancels(&self) -> Result<Vec<String>, StoreError> {
        let asked = "SELECT id FROM task \
                     WHERE agent = $1 AND cancel_asked AND is_unfinished AND replica = $2";
        Ok(sqlx::query_scalar(asked)
            .bind(&*self.agent)
            .bind(&*self.replica)
            .fetch_all(&self.pool)
            .await?)
    }
}
