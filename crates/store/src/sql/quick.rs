//! The short way of what is written most often into a file, bodies and repeats that are all true: one
//! turn to the database begins, writes and commits. A repeat that is none makes it fail as a whole;
//! then, as for everything else, the long way says what is wrong with which batch.

use std::sync::LazyLock;

use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};

use super::alerts::{self, Alerts};
use super::journal;
use crate::database::{Dialect, bound};
use crate::{Batch, StoreError};

/// Writes the batches and commits them. False: nothing is written, and they go the long way.
pub(super) async fn write(writer: &SqlitePool, batches: &[&Batch]) -> Result<bool, StoreError> {
    if !batches.iter().all(|batch| is_plain(batch)) {
        return Ok(false);
    }
    let mut parameters = alerts::parameters(Dialect::Sqlite, &Alerts::of(batches));
    parameters.extend(journal::parameters(Dialect::Sqlite, batches));
    let mut held = Held::acquire(writer).await?;
    let all = bound!(ALL.as_str(), parameters, rows);
    let outcome = all.execute(held.connection()).await.map(drop);
    held.end(&outcome).await;
    match outcome {
        Ok(()) => Ok(true),
        Err(sqlx::Error::Database(error)) if is_untrue(&*error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_plain(batch: &Batch) -> bool {
    let Batch { delivered: _, repeats: _, incidents, alerts, outbox } = batch;
    incidents.is_empty() && alerts.is_empty() && outbox.is_empty()
}

/// Whether a repeat is none, or its alert was forgotten at the same moment.
fn is_untrue(error: &dyn DatabaseError) -> bool {
    matches!(error.kind(), ErrorKind::NotNullViolation | ErrorKind::ForeignKeyViolation)
}

static ALL: LazyLock<String> = LazyLock::new(|| {
    let repeats = alerts::add_all_repeats();
    let bodies = journal::insert_from(Dialect::Sqlite, 1 + alerts::PARAMETERS);
    format!("BEGIN IMMEDIATE; {bodies}; {repeats}; COMMIT")
});

/// The connection that writes, with a transaction that sqlx does not know of: whoever is not waited
/// for, or leaves it in trouble, takes it with him.
struct Held(Option<PoolConnection<Sqlite>>);

impl Held {
    async fn acquire(writer: &SqlitePool) -> Result<Self, sqlx::Error> {
        Ok(Self(Some(writer.acquire().await?)))
    }

    fn connection(&mut self) -> &mut SqliteConnection {
        self.0.as_mut().expect("it is given back at the end only")
    }

    /// Gives the connection back if it has no transaction any more.
    async fn end(mut self, outcome: &Result<(), sqlx::Error>) {
        let is_over = match outcome {
            Ok(()) => true,
            Err(sqlx::Error::Database(error)) if is_untrue(&**error) => {
                sqlx::query("ROLLBACK").execute(self.connection()).await.is_ok()
            }
            Err(_) => false,
        };
        if is_over {
            self.0.take();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}
