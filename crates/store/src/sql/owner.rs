//! Who owns what this store claims: one opening of the database by one replica. After its lease ran
//! out it goes on under another key, so that nothing claimed before is its own any more.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::Replica;
use crate::database::{Dialect, Value};

#[derive(Debug)]
pub(crate) struct Owner {
    key: Mutex<String>,
}

impl Owner {
    pub(super) fn new(key: String) -> Self {
        Self { key: Mutex::new(key) }
    }

    /// The only process that has the file since `at`.
    pub(super) fn of_file(replica: &Replica, at: Timestamp) -> Self {
        Self::new(format!("{}/{}", replica.id, at.as_microsecond()))
    }

    pub(crate) fn key(&self) -> String {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whose writes these are: a key, and in a file the outbox rows that this process has claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Me<'a> {
    pub(super) key: &'a str,
    pub(super) claimed: &'a [i64],
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

/// The condition that a row is owned by `$me`, and that its lease has not run out.
pub(super) fn is_mine(dialect: Dialect, column: &str, me: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!("{column} = {me}"),
        Dialect::Postgres => format!("({column} = {me} AND {})", LIVES.replace("{}", me)),
    }
}

/// The condition that nobody alive owns a row. A file is owned by one process: every other is gone.
pub(super) fn is_free(dialect: Dialect, column: &str, me: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!("({column} IS NULL OR {column} <> {me})"),
        Dialect::Postgres => {
            format!("({column} IS NULL OR NOT {})", LIVES.replace("{}", column))
        }
    }
}
