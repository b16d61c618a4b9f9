//! Who owns what this store claims: one opening of the database by one replica. After its lease ran
//! out it goes on under another key, so that nothing claimed before is its own any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::PgPool;

use super::hints::TELL;
use crate::database::{Dialect, Value};
use crate::{OpenOptions, Replica, StoreError, postgres};

#[derive(Debug)]
pub(crate) struct Owner {
    replica: Replica,
    key: Mutex<String>,
    /// Whether other replicas live, as of the last sign of life.
    others: AtomicBool,
}

impl Owner {
    /// The only process that has the file since `at`.
    pub(super) fn of_file(replica: &Replica, at: Timestamp) -> Self {
        Self::new(replica, format!("{}/{}", replica.id, at.as_microsecond()))
    }

    /// A replica whose lease in a shared database begins now.
    pub(super) async fn of_server(
        pool: &PgPool,
        options: &OpenOptions,
    ) -> Result<Self, StoreError> {
        postgres::bury_replicas(pool, options).await?;
        let key = postgres::begin_lease(pool, &options.replica, options.lease).await?;
        Ok(Self::new(&options.replica, key))
    }

    fn new(replica: &Replica, key: String) -> Self {
        Self { replica: replica.clone(), key: Mutex::new(key), others: AtomicBool::new(true) }
    }

    pub(crate) fn key(&self) -> String {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn has_others(&self) -> bool {
        self.others.load(Ordering::Relaxed)
    }

    /// A sign of life.
    pub(super) async fn live(&self, pool: &PgPool, lease: Duration) -> Result<(), StoreError> {
        if let Some(others) = postgres::prolong_lease(pool, &self.key(), lease).await? {
            self.others.store(others, Ordering::Relaxed);
            return Ok(());
        }
        let key = postgres::begin_lease(pool, &self.replica, lease).await?;
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key;
        Err(lost())
    }

    /// Everything claimed is free again, and the others are told.
    pub(super) async fn end(&self, pool: &PgPool) -> Result<(), StoreError> {
        postgres::end_lease(pool, &self.key()).await?;
        sqlx::query(TELL).bind(self.key()).execute(pool).await?;
        Ok(())
    }
}

/// The lease is over.
pub(super) fn lost() -> StoreError {
    StoreError::Lost { what: "the lease".into() }
}

/// Whose writes these are: a key, and in a file the outbox rows that this process has claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Me<'a> {
    pub(super) key: &'a str,
    pub(super) claimed: &'a [i64],
    /// Whether there is anybody to tell.
    pub(super) has_others: bool,
}

impl Me<'_> {
    /// The conditions that an outbox row `other` is claimed by this store, and by nobody, with the
    /// parameter `$2`.
    pub(super) fn claims(self, dialect: Dialect) -> (String, String) {
        match dialect {
            // This process alone claims, and it has looked.
            Dialect::Sqlite => {
                ("true".into(), "other.id NOT IN (SELECT value FROM json_each($2))".into())
            }
            Dialect::Postgres => {
                (is_mine(dialect, "other.replica", "$2"), is_free(dialect, "other.replica", "$2"))
            }
        }
    }

    pub(super) fn parameter(self, dialect: Dialect) -> Value {
        match dialect {
            Dialect::Sqlite => Value::rows(self.claimed),
            Dialect::Postgres => self.key.into(),
        }
    }
}

const LIVES: &str = "EXISTS (SELECT 1 FROM replica WHERE replica.id = {} \
                     AND replica.expires_at > clock_timestamp())";

/// The condition that the lease of `$me` has not run out.
pub(super) fn lives(key: &str) -> String {
    LIVES.replace("{}", key)
}

/// The condition that a row is owned by `$me`, and that its lease has not run out.
pub(super) fn is_mine(dialect: Dialect, column: &str, me: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!("{column} = {me}"),
        Dialect::Postgres => format!("({column} = {me} AND {})", lives(me)),
    }
}

/// The condition that nobody alive owns a row. A file is owned by one process: every other is gone.
pub(super) fn is_free(dialect: Dialect, column: &str, me: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!("({column} IS NULL OR {column} <> {me})"),
        Dialect::Postgres => {
            format!("({column} IS NULL OR NOT {})", lives(column))
        }
    }
}
