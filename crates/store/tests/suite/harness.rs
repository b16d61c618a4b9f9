//! What a behaviour is given: an empty database of some backend, which it opens as one replica or as
//! several, ends, kills and edits behind the back of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use incident::IncidentId;
use jiff::{SignedDuration, Timestamp};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use store::{AuditReader, AuditText, MemoryDatabase, OpenOptions, Replica, Store, StoreError};
use tempfile::TempDir;

use super::sample::at;

/// A lease that does not run out in a test.
pub(crate) const LONG: Duration = Duration::from_secs(600);
/// A lease that is about to run out.
const BRIEF: Duration = Duration::from_millis(50);
/// Between two looks at something that is to become true, and how often it is looked at.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: usize = 1_000;

pub(crate) struct Harness {
    agent: &'static str,
    backend: Backend,
    /// Milliseconds, for backends without a clock of their own.
    clock: Arc<AtomicI64>,
    /// Ids of replicas whose process is proven dead.
    dead: Arc<Mutex<BTreeSet<String>>>,
    opened: Mutex<Vec<(String, Arc<dyn Store>)>>,
}

enum Backend {
    Memory(MemoryDatabase),
    Sqlite(TempDir),
    Postgres { url: String },
}

impl Harness {
    pub(crate) fn memory(agent: &'static str) -> Self {
        Self::new(agent, Backend::Memory(MemoryDatabase::new()))
    }

    pub(crate) fn sqlite(agent: &'static str) -> Self {
        Self::new(agent, Backend::Sqlite(tempfile::tempdir().unwrap()))
    }

    /// `agent` has a schema of its own on the server.
    pub(crate) fn postgres(agent: &'static str, url: String) -> Self {
        Self::new(agent, Backend::Postgres { url })
    }

    fn new(agent: &'static str, backend: Backend) -> Self {
        let clock = Arc::new(AtomicI64::new(at(0).as_millisecond()));
        Self { agent, backend, clock, dead: Arc::default(), opened: Mutex::default() }
    }

    /// The database, as one process uses it. With another replica open, only where several may be.
    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        self.open_as(self.agent).await
    }

    /// Two replicas of one agent.
    pub(crate) async fn two(&self) -> (Arc<dyn Store>, Arc<dyn Store>) {
        (self.open().await, self.open().await)
    }

    pub(crate) async fn open_as(&self, agent: &'static str) -> Arc<dyn Store> {
        let id = format!("replica-{}", self.opened.lock().unwrap().len() + 1);
        for _ in 0..LOOKS {
            match self.try_open(agent, self.options(&id)).await {
                Err(error) if is_in_use(&error) => tokio::time::sleep(LOOK).await,
                opened => {
                    let store = opened.unwrap();
                    self.opened.lock().unwrap().push((id, store.clone()));
                    return store;
                }
            }
        }
        panic!("another process has the database")
    }

    async fn try_open(
        &self,
        agent: &'static str,
        options: OpenOptions,
    ) -> Result<Arc<dyn Store>, StoreError> {
        if let Backend::Memory(database) = &self.backend {
            return Ok(database.open(agent, options));
        }
        Ok(store::open(&self.setting(), agent, options).await?.store)
    }

    /// Somebody who may read only.
    pub(crate) async fn reader(&self) -> AuditReader {
        AuditReader::open(&self.setting(), self.agent).await.unwrap()
    }

    /// What a program's `database` setting says.
    fn setting(&self) -> String {
        match &self.backend {
            Backend::Memory(_) => unreachable!("it is in no file and on no server"),
            Backend::Sqlite(directory) => directory.path().join("test.db").display().to_string(),
            Backend::Postgres { url } => url.clone(),
        }
    }

    fn options(&self, id: &str) -> OpenOptions {
        let (clock, dead) = (self.clock.clone(), self.dead.clone());
        OpenOptions {
            replica: Replica { id: id.into(), host: "here".into(), pid: 7, start_time: 1 },
            lease: LONG,
            is_dead: Arc::new(move |replica| dead.lock().unwrap().contains(&replica.id)),
            time: Arc::new(move || {
                Timestamp::from_millisecond(clock.load(Ordering::SeqCst)).unwrap()
            }),
        }
    }

    /// Ends a process in order, and starts it again.
    pub(crate) async fn restart(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store.close().await;
        self.forget(store);
        self.open().await
    }

    /// Ends a process without a word. Whoever opens the database from now on knows that it is dead.
    pub(crate) fn kill(&self, store: Arc<dyn Store>) {
        let id = self.forget(store);
        self.dead.lock().unwrap().insert(id);
    }

    fn forget(&self, store: Arc<dyn Store>) -> String {
        let mut opened = self.opened.lock().unwrap();
        let (id, own) = opened.iter_mut().find(|(_, one)| Arc::ptr_eq(one, &store)).unwrap();
        // The place stays taken: an id is never used twice.
        *own = MemoryDatabase::new().open("none", self.options("none"));
        id.clone()
    }

    /// Lets the lease of a replica run out that does not say that it lives any more, and gives what
    /// another sees then.
    pub(crate) async fn when_lost<T>(
        &self,
        frozen: &Arc<dyn Store>,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        frozen.heartbeat(BRIEF).await.unwrap();
        for _ in 0..LOOKS {
            if let Some(seen) = look().await {
                return seen;
            }
            self.pass(LOOK).await;
        }
        panic!("the lease does not run out")
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        match &self.backend {
            Backend::Memory(_) => {
                let millis = SignedDuration::try_from(time).unwrap().as_millis();
                self.clock.fetch_add(i64::try_from(millis).unwrap(), Ordering::SeqCst);
            }
            _ => tokio::time::sleep(time).await,
        }
    }

    /// Closes what the behaviour left open.
    pub(crate) async fn end(self) {
        for (_, store) in self.opened.into_inner().unwrap() {
            store.close().await;
        }
    }

    /// Edits a timeline as somebody with access to the database can.
    pub(crate) async fn edit(
        &self,
        id: IncidentId,
        edit: impl FnOnce(&mut BTreeMap<i64, AuditText>),
    ) {
        if let Backend::Memory(database) = &self.backend {
            return database.tamper(self.agent, id, edit);
        }
        let mut rows = self.audit(id).await;
        edit(&mut rows);
        let mut sql = format!("DELETE FROM audit WHERE incident_id = '{id}';");
        for (sequence, AuditText { body, hash }) in rows {
            let body = body.replace('\'', "''");
            sql += &format!(
                "INSERT INTO audit (incident_id, sequence, body, hash) \
                 VALUES ('{id}', {sequence}, '{body}', '{hash}');"
            );
        }
        self.sql(sql).await;
    }

    async fn audit(&self, id: IncidentId) -> BTreeMap<i64, AuditText> {
        let sql = format!("SELECT sequence, body, hash FROM audit WHERE incident_id = '{id}'");
        let rows: Vec<(i64, String, String)> = match &self.backend {
            Backend::Memory(_) => unreachable!("it has no SQL"),
            Backend::Sqlite(directory) => {
                let mut raw = sqlite(directory).await;
                sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut raw).await.unwrap()
            }
            Backend::Postgres { url } => {
                let mut raw = postgres(url, self.agent).await;
                sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut raw).await.unwrap()
            }
        };
        let rows = rows.into_iter();
        rows.map(|(sequence, body, hash)| (sequence, AuditText { body, hash })).collect()
    }

    /// Deletes an incident, but not what belongs to it.
    pub(crate) async fn delete_alone(&self, id: IncidentId) {
        let unchecked = match &self.backend {
            Backend::Postgres { .. } => "SET session_replication_role = replica",
            _ => "PRAGMA foreign_keys = OFF",
        };
        self.sql(format!("{unchecked}; DELETE FROM incident WHERE id = '{id}'")).await;
    }

    /// A connection past the store, to its tables on a server.
    pub(crate) async fn postgres_connection(&self) -> PgConnection {
        let Backend::Postgres { url } = &self.backend else { unreachable!("it is on no server") };
        postgres(url, self.agent).await
    }

    /// Waits until somebody at the server waits for what another has locked.
    pub(crate) async fn when_one_waits_for_a_lock(&self) {
        let mut raw = self.postgres_connection().await;
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        for _ in 0..LOOKS {
            if sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut raw).await.unwrap() == 1 {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("nobody waits for a lock")
    }

    /// Runs statements past the store.
    pub(crate) async fn sql(&self, sql: String) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        match &self.backend {
            Backend::Memory(_) => unreachable!("it has no SQL"),
            Backend::Sqlite(directory) => {
                sql.execute(&mut sqlite(directory).await).await.unwrap().rows_affected()
            }
            Backend::Postgres { url } => {
                sql.execute(&mut postgres(url, self.agent).await).await.unwrap().rows_affected()
            }
        };
    }
}

/// By a process that was killed a moment ago.
fn is_in_use(error: &StoreError) -> bool {
    match error {
        StoreError::Setting { source, .. } => is_in_use(source),
        error => matches!(error, StoreError::InUse { .. }),
    }
}

async fn sqlite(directory: &TempDir) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(directory.path().join("test.db"));
    options.busy_timeout(Duration::from_secs(9)).connect().await.unwrap()
}

async fn postgres(url: &str, agent: &str) -> PgConnection {
    let mut raw = PgConnection::connect(url).await.unwrap();
    let path = format!("SET search_path TO {}", agent.replace('-', "_"));
    sqlx::raw_sql(AssertSqlSafe(path)).execute(&mut raw).await.unwrap();
    raw
}
