//! A database with many closed incidents, made of one that went the usual way.

use std::path::Path;
use std::str::FromStr;

use anyhow::Context;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};

/// Multiplies the closed incident of a database, with its alert and its timeline.
pub(crate) async fn fill(path: &Path, incidents: u64) -> anyhow::Result<u64> {
    let options = SqliteConnectOptions::from_str(&format!("sqlite://{}", path.display()))?;
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let closed: String = sqlx::query_scalar("SELECT id FROM incident WHERE is_open = 0")
        .fetch_one(&mut connection)
        .await
        .context("a closed incident")?;
    let mut transaction = connection.begin().await?;
    for table in ["incident", "alert", "audit"] {
        let columns = columns(&mut transaction, table).await?;
        let values: Vec<String> = columns.iter().map(|column| value_of(table, column)).collect();
        let statement = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {incidents}) \
             INSERT INTO {table} ({}) SELECT {} FROM n CROSS JOIN {table} AS old WHERE old.{} = ?",
            columns.join(", "),
            values.join(", "),
            if table == "incident" { "id" } else { "incident_id" },
        );
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(&closed)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    let row = sqlx::query("SELECT COUNT(*) AS count FROM incident").fetch_one(&mut connection);
    let count: i64 = row.await?.get("count");
    connection.close().await?;
    Ok(count.cast_unsigned())
}

async fn columns(connection: &mut SqliteConnection, table: &str) -> anyhow::Result<Vec<String>> {
    // What the database numbers by itself stays out.
    let statement = sqlx::AssertSqlSafe(format!(
        "SELECT name FROM pragma_table_info('{table}') WHERE NOT (name = 'id' AND type = 'INTEGER')"
    ));
    Ok(sqlx::query_scalar(statement).fetch_all(connection).await?)
}

/// What a copy has in a column: an id, a key and a fingerprint of its own, all else as it is.
fn value_of(table: &str, column: &str) -> String {
    // Older than every real one: ids are ordered by time.
    let id = "printf('inc_%08x%04x7000800000000000%04x', i >> 16, i & 65535, i & 65535)";
    match (table, column) {
        ("incident", "id") | (_, "incident_id") => id.to_owned(),
        ("incident", "key") => "'copy ' || i".to_owned(),
        ("incident", "body") => format!("replace(old.body, old.id, {id})"),
        ("alert", "fingerprint") => "printf('%016x', i + 1000000000)".to_owned(),
        (_, column) => format!("old.{column}"),
    }
}
