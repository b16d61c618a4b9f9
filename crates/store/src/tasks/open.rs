//! The task store that a program's `database` setting names.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use a2a_types::TaskStore;

use super::PostgresTasks;
use crate::StoreError;
use crate::sqlite::SqliteFile;

/// How long a process is believed to live after each sign of life.
const LEASE: Duration = Duration::from_secs(10);

/// Opens a task store: `database` is a `postgres://` URL or the path of a SQLite file. Tasks are
/// kept under the name of the agent where a database is shared; a file belongs to one agent.
///
/// # Errors
/// The setting names no database that can be used; the message names the setting.
pub async fn open_tasks(database: &str, agent: &str) -> Result<Arc<dyn TaskStore>, StoreError> {
    let opened: Result<Arc<dyn TaskStore>, StoreError> = match check_database(database) {
        Ok(Kind::Postgres) => {
            PostgresTasks::connect(database, agent, LEASE).await.map(|tasks| Arc::new(tasks) as _)
        }
        Ok(Kind::Sqlite) => {
            SqliteFile::open(Path::new(database)).await.map(|store| store.task_store())
        }
        Err(problem) => Err(StoreError::Refused { field: "it", problem }),
    };
    opened.map_err(|source| StoreError::Setting { name: "database", source: Box::new(source) })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    Sqlite,
}

/// A password in the setting would be seen wherever settings are shown.
pub(crate) fn check_database(database: &str) -> Result<Kind, &'static str> {
    let Some((scheme, rest)) = database.split_once("://") else {
        return match database {
            "" => Err("is empty"),
            _ => Ok(Kind::Sqlite),
        };
    };
    if !matches!(scheme, "postgres" | "postgresql") {
        return Err("is neither a postgres:// URL nor the path of a SQLite file");
    }
    let (authority, rest) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    if user.contains(':') || rest.contains("password=") {
        return Err("holds a password, which belongs into the file that PGPASSFILE names");
    }
    Ok(Kind::Postgres)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_are_told_apart() {
        for url in ["postgres://host/tasks", "postgresql://agent@[::1]:5432/tasks?sslmode=require"]
        {
            assert_eq!(check_database(url), Ok(Kind::Postgres), "{url}");
        }
        for path in ["data/tasks.db", "/var/lib/a:b@c.db"] {
            assert_eq!(check_database(path), Ok(Kind::Sqlite), "{path}");
        }
        for bad in ["", "mysql://host/tasks", "postgres://a:b@host/x", "postgres:///x?password=b"] {
            assert!(check_database(bad).is_err(), "{bad}");
        }
    }
}
