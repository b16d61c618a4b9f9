//! Reads of tasks and their events.

use a2a_types::{Task, TaskCursor, TaskEvent, TaskPage, TaskQuery, TaskRecord};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row};

use super::Database;
use crate::StoreError;
use crate::sqlite::{from_json, from_micros, to_micros};
use crate::tasks::row::{TaskRow, fitting, read_event};

const LOAD: &str = concat!("SELECT ", columns!("task"), " FROM task WHERE agent = $1 AND id = $2");

impl Database {
    pub(super) async fn load_task(&self, id: &str) -> Result<Option<TaskRecord>, StoreError> {
        if !can_be_stored(id) {
            return Ok(None);
        }
        let row = sqlx::query(LOAD).bind(&*self.agent).bind(id).fetch_optional(&self.pool).await?;
        row.as_ref().map(read).transpose()
    }

    pub(super) async fn task_events(
        &self,
        id: &str,
        sequence: u64,
        limit: u32,
    ) -> Result<Vec<TaskEvent>, StoreError> {
        if !can_be_stored(id) {
            return Ok(Vec::new());
        }
        let rows = sqlx::query(
            "SELECT sequence, event FROM task_event \
             WHERE task = (SELECT number FROM task WHERE agent = $1 AND id = $2) AND sequence > $3 \
             ORDER BY sequence LIMIT $4",
        )
        .bind(&*self.agent)
        .bind(id)
        .bind(sequence.cast_signed())
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| read_event(row.get("sequence"), row.get("event"))).collect()
    }

    pub(super) async fn list_tasks(&self, query: &TaskQuery) -> Result<TaskPage, StoreError> {
        let TaskQuery { owner, context_id, after, .. } = query;
        let after_id = after.as_ref().map_or("", |cursor| &cursor.id);
        let texts =
            [&owner.tenant, &owner.principal, context_id.as_deref().unwrap_or(""), after_id];
        if !texts.into_iter().all(can_be_stored) {
            return Ok(TaskPage::default());
        }
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut snapshot = self.pool.begin_with(begin).await?;
        let mut count = QueryBuilder::new("SELECT COUNT(*) FROM task");
        self.push_filters(&mut count, query);
        let total: i64 = count.build().fetch_one(&mut *snapshot).await?.get(0);

        // The sizes first: what does not fit on the page is not even read.
        let mut sizes = QueryBuilder::new("SELECT CAST(octet_length(task) AS BIGINT) FROM task");
        self.push_page(&mut sizes, query, query.limit as usize + 1);
        let sizes = sizes.build().fetch_all(&mut *snapshot).await?;
        let fitting = fitting(sizes.iter().map(|row| row.get(0)), query.limit as usize);

        let mut page = QueryBuilder::new("SELECT id, updated_at, task FROM task");
        self.push_page(&mut page, query, fitting);
        let rows = page.build().fetch_all(&mut *snapshot).await?;
        let next = rows.last().filter(|_| sizes.len() > fitting).map(|row| TaskCursor {
            updated_at: from_micros(row.get("updated_at")),
            id: row.get("id"),
        });
        let tasks = rows.iter().map(|row| read_task(row, query.with_artifacts));
        Ok(TaskPage { tasks: tasks.collect::<Result<_, _>>()?, next, total: total.cast_unsigned() })
    }

    fn push_page(&self, sql: &mut QueryBuilder<Postgres>, query: &TaskQuery, limit: usize) {
        self.push_filters(sql, query);
        if let Some(after) = &query.after {
            sql.push(" AND (updated_at, id) < (").push_bind(to_micros(after.updated_at));
            sql.push(", ").push_bind(after.id.clone()).push(")");
        }
        sql.push(" ORDER BY updated_at DESC, id DESC LIMIT ").push_bind(limit as i64);
    }

    fn push_filters(&self, sql: &mut QueryBuilder<Postgres>, query: &TaskQuery) {
        sql.push(" WHERE agent = ").push_bind(self.agent.to_string());
        sql.push(" AND tenant = ").push_bind(query.owner.tenant.clone());
        sql.push(" AND principal = ").push_bind(query.owner.principal.clone());
        if let Some(context_id) = &query.context_id {
            sql.push(" AND context_id = ").push_bind(context_id.clone());
        }
        if let Some(state) = &query.state {
            sql.push(" AND state = ").push_bind(state.as_str().to_owned());
        }
        if let Some(since) = query.since {
            sql.push(" AND updated_at >= ").push_bind(to_micros(since));
        }
    }
}

/// PostgreSQL has no text with a NUL character, so nothing is found by one.
pub(super) fn can_be_stored(text: &str) -> bool {
    !text.contains('\0')
}

fn read_task(row: &PgRow, with_artifacts: bool) -> Result<Task, StoreError> {
    let mut task: Task = from_json(row.get("task"), "task")?;
    if !with_artifacts {
        task.artifacts.clear();
    }
    Ok(task)
}

pub(super) fn read(row: &PgRow) -> Result<TaskRecord, StoreError> {
    let row = TaskRow {
        id: row.get("id"),
        tenant: row.get("tenant"),
        principal: row.get("principal"),
        idempotency_key: row.get("idempotency_key"),
        context_id: row.get("context_id"),
        state: row.get("state"),
        is_unfinished: row.get("is_unfinished"),
        is_terminal: row.get("is_terminal"),
        updated_at: row.get("updated_at"),
        sequence: row.get::<i64, _>("sequence").cast_unsigned(),
        before: row.get::<i64, _>("sequence").cast_unsigned(),
        task: row.get("task"),
        message: row.get("message"),
    };
    row.into_record()
}
