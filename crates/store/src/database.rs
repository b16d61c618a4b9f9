//! Both databases behind one set of statements: parameters are `$1`, a batch of rows is one JSON
//! parameter, and where the dialects differ, the difference stands here.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::postgres::{PgPool, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqlitePool, SqliteRow};
use sqlx::{Decode, Row as _, Type};

use crate::StoreError;
use crate::audit::link_hash;
use crate::sqlite::{from_micros, to_json, to_micros};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// The rows that the parameter `place` holds as one JSON array of objects, as a table; `columns`
    /// are those of PostgreSQL, each a name and a type.
    pub(crate) fn rows(self, place: usize, name: &str, columns: &str) -> String {
        match self {
            Self::Postgres => format!("json_to_recordset(${place}::json) AS {name} ({columns})"),
            Self::Sqlite => {
                let names =
                    columns.split(',').filter_map(|column| column.split_whitespace().next());
                let list: Vec<String> =
                    names.map(|name| format!("value ->> '{name}' AS {name}")).collect();
                format!("(SELECT {} FROM json_each(${place})) AS {name}", list.join(", "))
            }
        }
    }

    pub(crate) fn pick<'a>(self, sqlite: &'a str, postgres: &'a str) -> &'a str {
        match self {
            Self::Sqlite => sqlite,
            Self::Postgres => postgres,
        }
    }
}

/// The connections of one program to its database.
#[derive(Clone)]
pub(crate) enum Database {
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    /// `by_key`: for statements that look up every row by its key.
    Postgres {
        pool: PgPool,
        by_key: PgPool,
    },
}

/// A parameter.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(Option<String>),
    Int(Option<i64>),
    Bytes(Vec<u8>),
    /// Columns, for PostgreSQL.
    Texts(Vec<String>),
    Ints(Vec<i64>),
}

pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What writes of one transaction go through.
pub(crate) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

macro_rules! bound {
    ($sql:expr, $params:expr, $columns:ident) => {{
        let mut query = sqlx::query(sqlx::AssertSqlSafe($sql));
        for value in $params {
            query = match value {
                $crate::database::Value::Text(text) => query.bind(text),
                $crate::database::Value::Int(number) => query.bind(number),
                $crate::database::Value::Bytes(bytes) => query.bind(bytes),
                $crate::database::Value::Texts(texts) => bound!($columns query, texts),
                $crate::database::Value::Ints(numbers) => bound!($columns query, numbers),
            };
        }
        query
    }};
    (columns $query:ident, $values:ident) => { $query.bind($values) };
    (rows $query:ident, $values:ident) => { $query.bind($crate::sqlite::to_json(&$values)) };
}
pub(crate) use bound;

type Sql = Cow<'static, str>;

impl Database {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite { .. } => Dialect::Sqlite,
            Self::Postgres { .. } => Dialect::Postgres,
        }
    }

    /// Reads outside of any transaction.
    pub(crate) async fn fetch(
        &self,
        sql: impl Into<Sql>,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite { readers, .. } => {
                let rows = bound!(sql.into(), params, rows).fetch_all(readers).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres { pool, .. } => {
                let rows = bound!(sql.into(), params, columns).fetch_all(pool).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(crate) async fn begin(&self) -> Result<Transaction, StoreError> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Transaction::Sqlite(begin_in_file(writer).await?),
            Self::Postgres { pool, .. } => Transaction::Postgres(pool.begin().await?),
        })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres { pool, by_key } => {
                by_key.close().await;
                pool.close().await;
            }
        }
    }
}

/// A full disk makes SQLite end a transaction by itself, of which its connection here does not know:
/// then another connection takes its place.
pub(crate) async fn begin_in_file(
    writer: &SqlitePool,
) -> Result<sqlx::Transaction<'static, Sqlite>, sqlx::Error> {
    const BEGIN: &str = "BEGIN IMMEDIATE";
    match writer.begin_with(BEGIN).await {
        Err(sqlx::Error::InvalidSavePointStatement) => {
            writer.acquire().await?.close().await?;
            writer.begin_with(BEGIN).await
        }
        begun => begun,
    }
}

impl Transaction {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    pub(crate) async fn fetch(
        &mut self,
        sql: impl Into<Sql>,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(transaction) => {
                let rows = bound!(sql.into(), params, rows).fetch_all(&mut **transaction).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(transaction) => {
                let rows =
                    bound!(sql.into(), params, columns).fetch_all(&mut **transaction).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Runs a statement and says how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        sql: impl Into<Sql>,
        params: Vec<Value>,
    ) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite(transaction) => {
                bound!(sql.into(), params, rows).execute(&mut **transaction).await?.rows_affected()
            }
            Self::Postgres(transaction) => bound!(sql.into(), params, columns)
                .execute(&mut **transaction)
                .await?
                .rows_affected(),
        })
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await?,
            Self::Postgres(transaction) => transaction.commit().await?,
        }
        Ok(())
    }

    /// Takes back what was written. Where that fails there is nothing left to take back: the connection
    /// is gone, or the database did so itself.
    pub(crate) async fn rollback(self) {
        let _ = match self {
            Self::Sqlite(transaction) => transaction.rollback().await,
            Self::Postgres(transaction) => transaction.rollback().await,
        };
    }
}

impl Row {
    pub(crate) fn get<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: for<'r> Decode<'r, Sqlite>
            + Type<Sqlite>
            + for<'r> Decode<'r, Postgres>
            + Type<Postgres>,
    {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(crate) fn text(&self, column: &str) -> Result<String, StoreError> {
        self.get(column)
    }

    pub(crate) fn int(&self, column: &str) -> Result<i64, StoreError> {
        self.get(column)
    }

    /// An id that was one when it was stored.
    pub(crate) fn id<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        let decode = |error: T::Err| sqlx::Error::Decode(Box::new(error));
        Ok(self.text(column)?.parse().map_err(decode)?)
    }

    /// A count, which was one when it was stored.
    pub(crate) fn count(&self, column: &str) -> Result<u32, StoreError> {
        Ok(u32::try_from(self.int(column)?).unwrap_or(u32::MAX))
    }

    pub(crate) fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        Ok(from_micros(self.int(column)?))
    }

    pub(crate) fn time_if_any(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.get::<Option<i64>>(column)?.map(from_micros))
    }
}

impl Value {
    /// Rows as one parameter.
    pub(crate) fn rows<T: Serialize>(rows: &[T]) -> Self {
        Self::Text(Some(to_json(&rows)))
    }
}

/// Longest text that an index holds as it is.
const LONGEST: usize = 512;

/// Text as both databases take it: PostgreSQL has none with a NUL character, which is shown as the
/// symbol for it.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{2400}").into() } else { text.into() }
}

/// Text that is searched for and may be of any length: what is too long for an index stands there as
/// its beginning and its digest.
pub(crate) fn searched(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return plain(text);
    }
    let start: String = plain(text).chars().take(64).collect();
    format!("{start}~{}", link_hash("", text)).into()
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(plain(text).into_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Text(None), Self::from)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(Some(number.into()))
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Int(Some(is.into()))
    }
}

impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Self {
        Self::Int(Some(to_micros(at)))
    }
}

/// Parameters in their order.
macro_rules! params {
    ($($value:expr),* $(,)?) => { vec![$(crate::database::Value::from($value)),*] };
}
pub(crate) use params;

impl fmt::Debug for Database {
    /// Without the pool, whose options hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.dialect()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_parameter_are_a_table_in_both_dialects() {
        let columns = "id text, version bigint";
        assert_eq!(
            Dialect::Sqlite.rows(1, "new", columns),
            "(SELECT value ->> 'id' AS id, value ->> 'version' AS version FROM json_each($1)) AS new"
        );
        assert_eq!(
            Dialect::Postgres.rows(1, "new", columns),
            "json_to_recordset($1::json) AS new (id text, version bigint)"
        );
    }
}
