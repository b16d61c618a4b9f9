//! SQLite: write-ahead log, `synchronous=FULL`, one writer, and one process per file, enforced.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::StoreError;
use crate::tasks::{self, Committer, start_committer};

/// Connections that read beside the one that writes.
const READERS: u32 = 2;
/// Pages in the write-ahead log before they are moved into the file, 16 MiB: moving them costs two
/// more waits for the disk.
const CHECKPOINT_PAGES: &str = "2000";
/// Bytes of a page of a new file: two or three bodies of webhooks have room in one, where in one of
/// half the size often only one has.
const PAGE: u32 = 8_192;
/// How long a call waits for the writer before it fails.
const WRITER_WAIT: Duration = Duration::from_secs(10);

/// The connections to one program's file. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SqliteFile {
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
    pub(crate) committer: Arc<Committer>,
    /// Whether some task may have a push configuration.
    pub(crate) has_pushes: Arc<AtomicBool>,
    pub(crate) lock: Arc<File>,
}

impl SqliteFile {
    /// Opens the database at `path`, makes its tables, and keeps every other process out.
    ///
    /// # Errors
    /// The file is in use, cannot be opened, or holds tables of a newer version.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = Arc::new(lock(path)?);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .page_size(PAGE)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .pragma("cache_size", "-1024")
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .statement_cache_capacity(64);
        // A connection to a file of this process does not go away: asking it first costs a turn of
        // its thread for every statement.
        let pool = || SqlitePoolOptions::new().test_before_acquire(false);
        let writer = pool()
            .max_connections(1)
            .acquire_timeout(WRITER_WAIT)
            .connect_with(options.clone())
            .await?;
        migrate(&writer).await?;
        // SQLite opens a file that may only be read without a word.
        writer.begin_with("BEGIN IMMEDIATE").await?.rollback().await?;
        let readers = pool()
            .max_connections(READERS)
            .acquire_timeout(WRITER_WAIT)
            .connect_with(options.read_only(true))
            .await?;
        let has_pushes = Arc::new(AtomicBool::new(tasks::has_pushes(&readers).await?));
        let committer = start_committer(writer.clone(), &lock, has_pushes.clone());
        Ok(Self { writer, readers, committer: Arc::new(committer), has_pushes, lock })
    }

    /// Closes every connection and lets others have the file; what is committed is on disk, and what
    /// waited to be is.
    pub(crate) async fn close(&self) {
        self.committer.close().await;
        self.readers.close().await;
        self.writer.close().await;
        let _ = rustix::fs::flock(&self.lock, rustix::fs::FlockOperation::Unlock);
    }
}

/// Takes the lock file beside the database. The kernel drops it with the process, however it ends.
fn lock(path: &Path) -> Result<File, StoreError> {
    let open = |source| StoreError::Open { path: path.to_owned(), source };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(open)?;
    }
    // A file that has several names is one file.
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = real.into_os_string();
    name.push(".lock");
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(PathBuf::from(name))
        .map_err(open)?;
    let free = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    if free.is_err() {
        let mut holder = String::new();
        let _ = file.read_to_string(&mut holder);
        return Err(StoreError::InUse { path: path.to_owned(), by: holder.trim().parse().ok() });
    }
    // For whoever is refused; the lock itself does not depend on it.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Brings the tables to this version. A file of a newer one is refused: its program may have been
/// replaced by an older one, which does not know what is in it.
async fn migrate(writer: &SqlitePool) -> Result<(), StoreError> {
    let migrator = sqlx::migrate!("migrations/sqlite");
    let known = migrator.iter().map(|one| one.version).max().unwrap_or_default();
    match migrator.run(writer).await {
        Err(MigrateError::VersionMissing(needed)) if needed > known => {
            Err(StoreError::Newer { needed, known })
        }
        outcome => Ok(outcome?),
    }
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("stored types have string keys only")
}

pub(crate) fn from_json<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|source| StoreError::Unreadable { what: what.to_owned(), source })
}

pub(crate) fn to_micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

pub(crate) fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}
