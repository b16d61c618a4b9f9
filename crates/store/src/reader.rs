//! Reads timelines to hold them to their hash chains. Takes no lock and writes nothing, so that it
//! works beside the process that has the database, and in the hands of somebody who may only read.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use crate::StoreError;
use crate::database::{Database, params};
use crate::postgres::{open_pool, schema_of};
use crate::sql::verify_chain;
use crate::tasks::{Kind, check_database};

const CONNECTION_WAIT: Duration = Duration::from_secs(10);
/// How long one statement may take: a look for lost incidents reads every row.
const STATEMENT_MILLIS: &str = "600000";

#[derive(Debug)]
pub struct AuditReader {
    database: Database,
}

impl AuditReader {
    /// Opens the database of an agent, a SQLite file or a `postgres://` URL, as it is: its tables are
    /// not brought to this version.
    ///
    /// # Errors
    /// There is no such database, or it cannot be read.
    pub async fn open(database: &str, agent: &str) -> Result<Self, StoreError> {
        let database = match check_database(database) {
            Ok(Kind::Sqlite) => read_file(Path::new(database)).await?,
            Ok(Kind::Postgres) => read_server(database, agent).await?,
            Err(problem) => return Err(StoreError::Refused { field: "the database", problem }),
        };
        Ok(Self { database })
    }

    /// Incidents in the order of their ids, after one. Text, as an id that was edited need not be one.
    ///
    /// # Errors
    /// The database is unavailable, or has no such tables.
    pub async fn incidents(&self, after: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT id FROM incident WHERE id > $1 ORDER BY id LIMIT $2";
        let rows = self.database.fetch(sql, params![after, limit]).await?;
        rows.iter().map(|row| row.text("id")).collect()
    }

    /// Recomputes the chain of an incident and returns how many rows it has.
    ///
    /// # Errors
    /// `BrokenChain` names the first row that was changed, added or is gone.
    pub async fn verify(&self, incident: &str) -> Result<i64, StoreError> {
        verify_chain(&self.database, incident).await
    }

    /// Incidents that are gone and left rows behind, with the first of them; at most `limit`.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn orphans(&self, limit: u32) -> Result<Vec<(String, i64)>, StoreError> {
        let sql = "SELECT incident_id, MIN(sequence) AS sequence FROM audit WHERE NOT EXISTS \
                     (SELECT 1 FROM incident WHERE incident.id = audit.incident_id) \
                   GROUP BY incident_id ORDER BY incident_id LIMIT $1";
        let rows = self.database.fetch(sql, params![limit]).await?;
        rows.iter().map(|row| Ok((row.text("incident_id")?, row.int("sequence")?))).collect()
    }

    pub async fn close(&self) {
        self.database.close().await;
    }
}

async fn read_file(path: &Path) -> Result<Database, StoreError> {
    // SQLite does not say why.
    std::fs::File::open(path)
        .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5));
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(CONNECTION_WAIT);
    let readers = pool.connect_with(options).await?;
    Ok(Database::Sqlite { writer: readers.clone(), readers })
}

async fn read_server(url: &str, agent: &str) -> Result<Database, StoreError> {
    let schema = schema_of(agent);
    let options: PgConnectOptions = url.parse()?;
    let options = options.application_name("firebreak-audit").options([
        ("search_path", schema.as_str()),
        ("default_transaction_read_only", "on"),
        ("statement_timeout", STATEMENT_MILLIS),
    ]);
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECTION_WAIT);
    let pool = open_pool(pool, options).await?;
    Ok(Database::Postgres { by_key: pool.clone(), pool })
}
