//! Batches in one turn to the database: on a server one statement, which is its own transaction; into
//! a file several, which begin and end theirs. A part of it is what the long way runs, and stands there
//! only where its table has rows to take. Where a part takes fewer rows than it is given, all of it
//! fails; then the long way says what is wrong with which batch. What ends outbox rows goes the long
//! way too.

use serde::Serialize;
use sqlx::Row;
use sqlx::error::ErrorKind;
use sqlx::sqlite::SqliteRow;

use super::alerts::{self, Alerts};
use super::batch::{self, Rows};
use super::held::Held;
use super::hints::TELL;
use super::journal;
use super::owner::Me;
use crate::database::{Database, Dialect, Value, bound};
use crate::{Batch, StoreError};

const DIVISION_BY_ZERO: &str = "22012";

/// Writes the batches and commits them. False: nothing is written, and they go the long way.
pub(super) async fn write(
    database: &Database,
    me: Me<'_>,
    batches: &[&Batch],
) -> Result<bool, StoreError> {
    if batches.iter().any(|batch| !batch.outbox.is_empty()) {
        return Ok(false);
    }
    let alerts = Alerts::of(batches);
    let is_shared = me.has_others && database.dialect() == Dialect::Postgres;
    if is_shared && !alerts.updates.is_empty() {
        // They are locked first, in a statement of its own.
        return Ok(false);
    }
    let rows = Rows::of(batches);
    let statement = Statement::of(database.dialect(), me, batches, &rows, &alerts);
    let outcome = match database {
        Database::Sqlite { writer, .. } => {
            let (sql, parameters) = statement.into_file();
            let mut held = Held::acquire(writer).await?;
            let told = bound!(sql, parameters, rows).fetch_all(held.connection()).await;
            let outcome = told.and_then(is_committed);
            match &outcome {
                Ok(()) => held.give_back(),
                Err(error) if is_untrue(error) => held.undo().await,
                Err(_) => drop(held),
            }
            outcome
        }
        Database::Postgres { pool, by_key } => {
            // What is replaced is joined with what replaces it.
            let has_updates = !rows.updates.is_empty() || !alerts.updates.is_empty();
            let pool = if has_updates { pool } else { by_key };
            let (sql, parameters) = statement.on_server();
            bound!(sql, parameters, columns).execute(pool).await.map(drop)
        }
    };
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if is_untrue(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A file says at the end that it has committed: where its thread is gone, the rows just end.
fn is_committed(told: Vec<SqliteRow>) -> sqlx::Result<()> {
    let last = told.last().ok_or(sqlx::Error::WorkerCrashed)?;
    last.try_get::<bool, _>(COMMITTED).map(drop).map_err(|_| sqlx::Error::WorkerCrashed)
}

/// Whether a row was not taken, or what it belongs to is not there.
fn is_untrue(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    matches!(
        error.kind(),
        ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation | ErrorKind::NotNullViolation
    ) || error.code().is_some_and(|code| code == DIVISION_BY_ZERO)
        || error.message() == OVERFLOW
}

/// The column of a row that a file gives once it has committed.
const COMMITTED: &str = "committed";
/// What SQLite says of an absolute value that is no number.
const OVERFLOW: &str = "integer overflow";

/// One of its parts.
struct Part {
    name: &'static str,
    sql: String,
    /// The parameter that says how many rows it must take.
    rows: Option<usize>,
}

/// A statement of several parts, each of which writes to one table.
struct Statement {
    dialect: Dialect,
    parts: Vec<Part>,
    tell: String,
    parameters: Vec<Value>,
}

impl Statement {
    /// Checks are made in their order, and each lets its part run: replicas that race for the same
    /// rows take them in the same order. Parts without one run after these.
    fn of(
        dialect: Dialect,
        me: Me<'_>,
        batches: &[&Batch],
        rows: &Rows<'_>,
        alerts: &Alerts<'_>,
    ) -> Self {
        let (parts, tell, parameters) = (Vec::new(), String::new(), Vec::new());
        let mut all = Self { dialect, parts, tell, parameters };
        if !alerts.repeats.is_empty() {
            all.parameters = alerts::columns(dialect, &alerts.repeats);
            all.parts.push(Part { name: "counted", sql: alerts::count(dialect), rows: None });
            all.check(alerts.repeats.len());
        }
        all.taken("changed", batch::update_incidents, &rows.updates);
        all.taken("opened", batch::insert_incidents, &rows.inserts);
        all.taken("replaced", alerts::update, &alerts.updates);
        all.taken("added", alerts::insert, &alerts.inserts);
        all.rows("told", batch::insert_audit, &rows.audit);
        all.rows("asked", batch::insert_effects, &rows.effects);
        if batches.iter().any(|batch| !batch.delivered.is_empty()) {
            let sql = journal::insert_from(dialect, all.next());
            all.parts.push(Part { name: "bodies", sql, rows: None });
            all.parameters.extend(journal::parameters(dialect, batches));
        }
        if dialect == Dialect::Postgres && me.has_others && !rows.effects.is_empty() {
            all.tell = format!(", ({})", TELL.replace("$1", &format!("${}", all.next())));
            all.parameters.push(me.key.into());
        }
        all
    }

    /// The place of the next parameter.
    fn next(&self) -> usize {
        self.parameters.len() + 1
    }

    /// A part whose rows are one parameter.
    fn rows<T: Serialize>(
        &mut self,
        name: &'static str,
        sql: fn(Dialect, usize) -> String,
        rows: &[T],
    ) {
        if !rows.is_empty() {
            let sql = sql(self.dialect, self.next());
            self.parameters.push(Value::rows(rows));
            self.parts.push(Part { name, sql, rows: None });
        }
    }

    /// The same, and each row must be taken.
    fn taken<T: Serialize>(
        &mut self,
        name: &'static str,
        sql: fn(Dialect, usize) -> String,
        rows: &[T],
    ) {
        if !rows.is_empty() {
            self.rows(name, sql, rows);
            self.check(rows.len());
        }
    }

    /// Has the last part take so many rows.
    fn check(&mut self, rows: usize) {
        let place = self.next();
        self.parameters.push(i64::try_from(rows).unwrap_or(i64::MAX).into());
        if let Some(part) = self.parts.last_mut() {
            part.rows = Some(place);
        }
    }

    fn on_server(self) -> (String, Vec<Value>) {
        let Self { parts, tell, parameters, .. } = self;
        let with: Vec<String> =
            parts.iter().map(|part| format!("{} AS ({})", part.name, part.sql)).collect();
        let checks = parts.iter().filter_map(|part| {
            part.rows.map(|rows| format!("(SELECT count(*) FROM {}) = ${rows}", part.name))
        });
        let checks: Vec<String> = checks.collect();
        let checks = if checks.is_empty() { "true".to_owned() } else { checks.join(" AND ") };
        let with =
            if with.is_empty() { String::new() } else { format!("WITH {} ", with.join(", ")) };
        (format!("{with}SELECT 1 / ({checks})::int{tell}"), parameters)
    }

    /// After each part that must take its rows, what fails unless it did.
    fn into_file(self) -> (String, Vec<Value>) {
        let mut sql = "BEGIN IMMEDIATE; ".to_owned();
        for part in &self.parts {
            sql += &part.sql;
            sql += "; ";
            if let Some(rows) = part.rows {
                let fails = "abs(-9223372036854775808)";
                sql += &format!("SELECT {fails} WHERE changes() <> ${rows}; ");
            }
        }
        (sql + &format!("COMMIT; SELECT true AS {COMMITTED}"), self.parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_whose_rows_just_end_has_committed_nothing() {
        assert!(matches!(is_committed(Vec::new()), Err(sqlx::Error::WorkerCrashed)));
    }
}
