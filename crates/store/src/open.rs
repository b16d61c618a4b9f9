//! Opens the database that a program's `database` setting names.

use std::path::Path;
use std::sync::Arc;

use a2a_types::TaskStore;

use crate::sql::SqlStore;
use crate::sqlite::SqliteFile;
use crate::tasks::{Kind, check_database};
use crate::{OpenOptions, PostgresTasks, Store, StoreError, postgres};

/// A program's database, and in it the A2A tasks of the program.
#[derive(Clone, Debug)]
pub struct Opened {
    pub store: Arc<dyn Store>,
    pub tasks: Arc<dyn TaskStore>,
}

/// Opens a database and brings its tables to this version: `database` is a `postgres://` URL or the
/// path of a SQLite file. A file belongs to one program; of a server, each agent has a schema of its
/// own.
///
/// # Errors
/// The setting names no database that can be used; the message names the setting.
pub async fn open(
    database: &str,
    agent: &'static str,
    options: OpenOptions,
) -> Result<Opened, StoreError> {
    let opened = match check_database(database) {
        Ok(Kind::Sqlite) => open_file(Path::new(database), options).await,
        Ok(Kind::Postgres) => open_server(database, agent, options).await,
        Err(problem) => Err(StoreError::Refused { field: "it", problem }),
    };
    opened.map_err(|source| StoreError::Setting { name: "database", source: Box::new(source) })
}

async fn open_file(path: &Path, options: OpenOptions) -> Result<Opened, StoreError> {
    let file = SqliteFile::open(path).await?;
    let tasks = file.task_store();
    Ok(Opened { store: Arc::new(SqlStore::on_file(file, &options)), tasks })
}

async fn open_server(
    url: &str,
    agent: &'static str,
    options: OpenOptions,
) -> Result<Opened, StoreError> {
    let pool = postgres::connect(url, agent).await?;
    let tasks =
        Arc::new(PostgresTasks::on(pool.clone(), agent, &options.replica, options.lease).await?);
    Ok(Opened { store: Arc::new(SqlStore::on_server(pool, &options).await?), tasks })
}
