//! The task store of an agent in a PostgreSQL database, which it may share with other agents and
//! with other processes of its own. Tasks of different agents do not mix. A notification that one
//! process has in hand is not given to another until its claim runs out.

/// The columns that make a task, of a table or what stands for it. They are named, as a newer version
/// may add others: a prepared statement whose result changes fails from then on.
macro_rules! columns {
    ($of:literal) => {
        columns!($of, id, tenant, principal, idempotency_key, context_id, state, is_unfinished,
            is_terminal, updated_at, sequence, task, message)
    };
    ($of:literal, $first:ident $(, $column:ident)*) => {
        concat!($of, ".", stringify!($first) $(, ", ", $of, ".", stringify!($column))*)
    };
}

mod push;
mod read;
mod replicas;
mod write;

use std::sync::Arc;
use std::time::Duration;

use a2a_types::{
    Adopted, Delivery, Expiry, Inserted, NewTask, StoreFuture, TaskEvent, TaskPage,
    TaskPushNotificationConfig, TaskQuery, TaskRecord, TaskStore,
};
use jiff::Timestamp;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use super::Committer;
use super::row::{Write, check};
use crate::sqlite::to_json;
use crate::{Replica, StoreError, postgres};

const CONNECTIONS: u32 = 8;
/// How long a call waits for a connection.
const CONNECTION_WAIT: Duration = Duration::from_secs(10);
/// How long a call may take, with its wait for a connection.
const DEADLINE: Duration = Duration::from_secs(20);
/// Milliseconds after which the server itself ends a statement.
const STATEMENT_TIMEOUT_MS: &str = "10000";
/// Milliseconds after which the server ends a transaction of a process that says nothing: a frozen one
/// would keep its locks for ever.
const SILENCE_TIMEOUT_MS: &str = "5000";

/// The tasks of one agent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PostgresTasks {
    database: Database,
    committer: Arc<Committer>,
}

/// What a statement needs to know.
#[derive(Clone)]
struct Database {
    pool: PgPool,
    agent: Arc<str>,
    /// Which of the processes that share the database this is.
    replica: Arc<str>,
    /// What others can read of it.
    body: Arc<str>,
    /// How long it may say nothing before its tasks are free.
    lease: Duration,
}

impl PostgresTasks {
    /// Connects and makes the tables. `agent` is the name under which this agent's tasks are kept;
    /// what a process has is free when it said nothing for longer than `lease`.
    ///
    /// # Errors
    /// The URL cannot be used, the server cannot be reached, or it holds tables of a newer version.
    pub async fn connect(url: &str, agent: &str, lease: Duration) -> Result<Self, StoreError> {
        check("the name of the agent", agent)?;
        let options: PgConnectOptions = url.parse()?;
        let options = options.application_name(agent).options([
            ("statement_timeout", STATEMENT_TIMEOUT_MS),
            ("idle_in_transaction_session_timeout", SILENCE_TIMEOUT_MS),
            // A plan that was made while the tables were empty would scan them ever after.
            ("plan_cache_mode", "force_custom_plan"),
        ]);
        let connect = async {
            let pool = PgPoolOptions::new()
                .max_connections(CONNECTIONS)
                .acquire_timeout(CONNECTION_WAIT)
                .connect_with(options)
                .await?;
            sqlx::migrate!("migrations/postgres").run(&pool).await?;
            Ok(pool)
        };
        let pool = bounded(connect).await?;
        let replica = Replica { id: agent.to_owned(), host: String::new(), pid: 0, start_time: 0 };
        Self::on(pool, agent, &replica, lease).await
    }

    /// The tasks of an agent in a database whose tables are made. The replica lives from now on.
    pub(crate) async fn on(
        pool: PgPool,
        agent: &str,
        replica: &Replica,
        lease: Duration,
    ) -> Result<Self, StoreError> {
        let key = bounded(postgres::begin_lease(&pool, replica, lease)).await?;
        let (replica, body) = (key.into(), to_json(replica).into());
        let database = Database { pool, agent: agent.into(), replica, body, lease };
        let committer = Arc::new(Committer::start(database.clone()));
        Ok(Self { database, committer })
    }

    /// The name of this process among those that share the database.
    pub fn replica(&self) -> &str {
        &self.database.replica
    }

    /// Closes every connection; what waited to be written is, and what this process had is free.
    pub async fn close(&self) {
        self.committer.close().await;
        // Where that fails, the lease runs out.
        let _ = bounded(postgres::end_lease(&self.database.pool, self.replica())).await;
        self.database.pool.close().await;
    }
}

impl std::fmt::Debug for Database {
    /// Without the pool, whose options hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Database");
        shown.field("agent", &self.agent).field("replica", &self.replica).finish_non_exhaustive()
    }
}

/// Gives a call its deadline.
async fn bounded<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let outcome = tokio::time::timeout(DEADLINE, call).await;
    outcome.unwrap_or(Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)))
}

/// A call as the port wants it.
fn call<'a, T: 'a>(
    call: impl Future<Output = Result<T, StoreError>> + Send + 'a,
) -> StoreFuture<'a, T> {
    Box::pin(async move { Ok(bounded(call).await?) })
}

impl TaskStore for PostgresTasks {
    fn insert(&self, new: NewTask) -> StoreFuture<'_, Inserted> {
        Box::pin(async move { self.committer.insert(Write::insert(new)?).await })
    }

    fn save(&self, record: TaskRecord, events: Vec<TaskEvent>) -> StoreFuture<'_, ()> {
        Box::pin(async move { self.committer.save(Write::save(record, &events)?).await })
    }

    fn load(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>> {
        call(async move { self.database.load_task(&id).await })
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.database.lease)
    }

    fn heartbeat(&self) -> StoreFuture<'_, ()> {
        call(self.database.beat())
    }

    fn adopt(&self, limit: u32) -> StoreFuture<'_, Adopted> {
        call(self.database.adopt_tasks(limit))
    }

    fn claim(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>> {
        call(async move { self.database.claim_task(&id).await })
    }

    fn release(&self, id: String) -> StoreFuture<'_, ()> {
        call(async move { self.database.release_task(&id).await })
    }

    fn held(&self, ids: Vec<String>) -> StoreFuture<'_, Vec<String>> {
        call(async move { self.database.held_of(&ids).await })
    }

    fn mine(&self) -> StoreFuture<'_, Vec<String>> {
        call(self.database.all_held())
    }

    fn progress(&self, seen: Vec<(String, u64)>) -> StoreFuture<'_, Vec<TaskRecord>> {
        call(async move { self.database.progress_of(&seen).await })
    }

    fn ask_cancel(&self, id: String) -> StoreFuture<'_, ()> {
        call(async move { self.database.put_cancel(&id).await })
    }

    fn cancel_asked(&self) -> StoreFuture<'_, Vec<String>> {
        call(self.database.cancels())
    }

    fn list(&self, query: TaskQuery) -> StoreFuture<'_, TaskPage> {
        call(async move { self.database.list_tasks(&query).await })
    }

    fn events(&self, id: String, sequence: u64, limit: u32) -> StoreFuture<'_, Vec<TaskEvent>> {
        call(async move { self.database.task_events(&id, sequence, limit).await })
    }

    fn put_push(&self, config: TaskPushNotificationConfig) -> StoreFuture<'_, ()> {
        call(async move { self.database.put_push_config(&config).await })
    }

    fn pushes(&self, task_id: String) -> StoreFuture<'_, Vec<TaskPushNotificationConfig>> {
        call(async move { self.database.push_configs(&task_id).await })
    }

    fn delete_push(&self, task_id: String, id: String) -> StoreFuture<'_, ()> {
        call(async move { self.database.delete_push_config(&task_id, &id).await })
    }

    fn due_deliveries(
        &self,
        now: Timestamp,
        after: i64,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Delivery>> {
        call(self.database.claim_due_deliveries(now, after, limit))
    }

    fn next_delivery(&self) -> StoreFuture<'_, Option<Timestamp>> {
        call(self.database.next_delivery_at())
    }

    fn finish_delivery(&self, id: i64) -> StoreFuture<'_, ()> {
        call(self.database.remove_delivery(id))
    }

    fn delay_delivery(&self, id: i64, not_before: Timestamp) -> StoreFuture<'_, ()> {
        call(self.database.put_off_delivery(id, not_before))
    }

    fn expire(&self, expiry: Expiry, limit: u32) -> StoreFuture<'_, u64> {
        call(self.database.expire_tasks(expiry, limit))
    }
}
