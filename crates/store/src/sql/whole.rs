//! Batches on a server in one statement, which is its own transaction: one turn to the server instead
//! of one for each table. A part of it is what the long way runs, and stands there only where its
//! table has rows to take. Where a part takes fewer rows than it is given, the statement fails as a
//! whole; then the long way says what is wrong with which batch. What ends outbox rows goes the long
//! way too.

use serde::Serialize;
use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::postgres::PgPool;

use super::alerts::{self, Alerts};
use super::batch::{self, Rows};
use super::hints::TELL;
use super::journal;
use super::owner::Me;
use crate::database::{Dialect, Value, bound};
use crate::{Batch, StoreError};

const DIALECT: Dialect = Dialect::Postgres;
const DIVISION_BY_ZERO: &str = "22012";

/// Writes the batches and commits them. False: nothing is written, and they go the long way.
pub(super) async fn write(
    (pool, by_key): (&PgPool, &PgPool),
    me: Me<'_>,
    batches: &[&Batch],
) -> Result<bool, StoreError> {
    if batches.iter().any(|batch| !batch.outbox.is_empty()) {
        return Ok(false);
    }
    let alerts = Alerts::of(batches);
    if me.has_others && !alerts.updates.is_empty() {
        // They are locked first, in a statement of its own.
        return Ok(false);
    }
    let rows = Rows::of(batches);
    // What is replaced is joined with what replaces it.
    let pool = if rows.updates.is_empty() && alerts.updates.is_empty() { by_key } else { pool };
    let (sql, parameters) = Statement::of(me, batches, &rows, &alerts).end();
    match bound!(sql, parameters, columns).execute(pool).await {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if is_untrue(&*error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a row was not taken, or what it belongs to is not there.
fn is_untrue(error: &dyn DatabaseError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation | ErrorKind::NotNullViolation
    ) || error.code().is_some_and(|code| code == DIVISION_BY_ZERO)
}

/// A statement of several parts, each of which writes to one table.
#[derive(Default)]
struct Statement {
    parts: Vec<String>,
    checks: Vec<String>,
    tell: String,
    parameters: Vec<Value>,
}

impl Statement {
    /// Checks are made in their order, and each lets its part run: replicas that race for the same
    /// rows take them in the same order. Parts without one run after these.
    fn of(me: Me<'_>, batches: &[&Batch], rows: &Rows<'_>, alerts: &Alerts<'_>) -> Self {
        let mut all = Self::default();
        if !alerts.repeats.is_empty() {
            all.parameters = alerts::parameters(DIALECT, alerts);
            let sql = alerts::look_up_repeats();
            all.parts.push(format!("counted AS ({sql} RETURNING alert)"));
            all.check("counted", alerts.repeats.len());
        }
        all.taken("changed", batch::update_incidents, &rows.updates);
        all.taken("opened", batch::insert_incidents, &rows.inserts);
        all.taken("replaced", alerts::update, &alerts.updates);
        all.taken("added", alerts::insert, &alerts.inserts);
        all.rows("told", batch::insert_audit, &rows.audit);
        all.rows("asked", batch::insert_effects, &rows.effects);
        if batches.iter().any(|batch| !batch.delivered.is_empty()) {
            all.parts.push(format!("bodies AS ({})", journal::insert_from(DIALECT, all.next())));
            all.parameters.extend(journal::parameters(DIALECT, batches));
        }
        if me.has_others && !rows.effects.is_empty() {
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
        name: &str,
        sql: fn(Dialect, usize) -> String,
        rows: &[T],
    ) -> bool {
        if rows.is_empty() {
            return false;
        }
        let sql = sql(DIALECT, self.next());
        self.parameters.push(Value::rows(rows));
        self.parts.push(format!("{name} AS ({sql})"));
        true
    }

    /// The same, and each row must be taken.
    fn taken<T: Serialize>(&mut self, name: &str, sql: fn(Dialect, usize) -> String, rows: &[T]) {
        if self.rows(name, sql, rows) {
            self.check(name, rows.len());
        }
    }

    fn check(&mut self, name: &str, rows: usize) {
        self.checks.push(format!("(SELECT count(*) FROM {name}) = ${}", self.next()));
        self.parameters.push(i64::try_from(rows).unwrap_or(i64::MAX).into());
    }

    fn end(self) -> (String, Vec<Value>) {
        let Self { parts, checks, tell, parameters } = self;
        let checks = if checks.is_empty() { "true".to_owned() } else { checks.join(" AND ") };
        let with =
            if parts.is_empty() { String::new() } else { format!("WITH {} ", parts.join(", ")) };
        (format!("{with}SELECT 1 / ({checks})::int{tell}"), parameters)
    }
}
