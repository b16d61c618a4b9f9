//! What can go wrong with the database, by what a caller can do about it.

use std::path::PathBuf;

use crate::trouble::Trouble;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{} is in use by {}", path.display(), by.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    InUse { path: PathBuf, by: Option<u32> },
    #[error("cannot open {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{what} exists already")]
    Exists { what: String },
    #[error("{what} is stored in a form this version cannot read")]
    Unreadable {
        what: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the audit chain of {incident} is broken at row {sequence}")]
    BrokenChain { incident: String, sequence: i64 },
    /// Something it was decided on has changed since: read again and decide anew.
    #[error("{what} has changed since it was read")]
    Conflict { what: String },
    /// Another replica has it now: whatever this one is doing about it must stop.
    #[error("{what} is not this process's any more")]
    Lost { what: String },
    #[error("{target} has seen the fencing token {seen}: an older one may do nothing")]
    Fenced { target: String, seen: i64 },
    #[error("{target} is being changed by {by}")]
    Busy { target: String, by: String },
    #[error("{}", Trouble::of(.0).words())]
    Unavailable(#[source] sqlx::Error),
    #[error("setting `{name}` cannot be used")]
    Setting {
        name: &'static str,
        #[source]
        source: Box<StoreError>,
    },
    #[error(
        "the role {role} may not make the tables of {schema}: let an administrator of the database run \
         CREATE ROLE {schema} LOGIN; CREATE SCHEMA {schema} AUTHORIZATION {schema}; and connect as that role"
    )]
    NoSchema { schema: String, role: String },
    #[error("no PostgreSQL server answers at {server}")]
    NoServer {
        server: String,
        #[source]
        source: sqlx::Error,
    },
    #[error(
        "the PostgreSQL server at {server} does not let the role {role} in; its name stands in the URL, \
         its password in the file that PGPASSFILE names"
    )]
    NotLetIn {
        server: String,
        role: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("the database is closed")]
    Closed,
    #[error("{field} {problem}")]
    Refused { field: &'static str, problem: &'static str },
    #[error(
        "the tables are of a newer version: they need a program that knows migration {needed}, this one \
         knows {known}"
    )]
    Newer { needed: i64, known: i64 },
    #[error("the tables cannot be brought to this version")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(error) if Trouble::of(error).may_pass())
    }

    /// Whether the database ended the transaction because of another one, and takes it again.
    pub(crate) fn is_collision(&self) -> bool {
        matches!(self, Self::Unavailable(error) if Trouble::of(error) == Trouble::Collided)
    }

    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        text
    }

    /// Whether other writes of the same transaction may succeed without the one that failed.
    pub(crate) fn is_of_one_write(&self) -> bool {
        match self {
            Self::Exists { .. }
            | Self::Conflict { .. }
            | Self::Unreadable { .. }
            | Self::Refused { .. } => true,
            Self::Unavailable(error) => Trouble::of(error) == Trouble::Refused,
            _ => false,
        }
    }

    pub(crate) fn on_insert(error: sqlx::Error, what: impl Into<String>) -> Self {
        match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => {
                Self::Exists { what: what.into() }
            }
            _ => Self::Unavailable(error),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolClosed => Self::Closed,
            error => Self::Unavailable(error),
        }
    }
}

impl From<StoreError> for a2a_types::TaskStoreError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Lost { what } => Self::Lost { id: what },
            error => Self::Unavailable(error.with_causes()),
        }
    }
}
