//! What only the SQLite backend promises: one process a file, a file that is a database, and a
//! write-ahead log.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};
use store::{OpenOptions, Opened, Replica, StoreError};

async fn open(path: &Path) -> Result<Opened, StoreError> {
    let options = OpenOptions {
        replica: Replica { id: "one".into(), host: String::new(), pid: 0, start_time: 0 },
        lease: Duration::from_secs(60),
        is_dead: Arc::new(|_| false),
        time: Arc::new(|| Timestamp::UNIX_EPOCH),
    };
    match store::open(path.to_str().unwrap(), "agent", options).await {
        Err(StoreError::Setting { name: "database", source }) => Err(*source),
        opened => opened,
    }
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/test.db");
    let first = open(&path).await.unwrap();
    let second = open(&path).await;
    assert!(matches!(&second, Err(StoreError::InUse { path: named, .. }) if *named == path));
    let link = directory.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(open(&link).await, Err(StoreError::InUse { .. })), "it is the same file");
    let clone = first.store.clone();
    drop(first);
    assert!(open(&path).await.is_err(), "a clone holds the file too");
    clone.close().await;
    open(&path).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    std::fs::write(&path, "this is a text of more than a hundred bytes. ".repeat(9)).unwrap();
    let refused = open(&path).await.unwrap_err();
    assert!(!refused.is_transient(), "{refused:?}");
    assert!(matches!(open(&path.join("test.db")).await, Err(StoreError::Open { .. })));
}

#[tokio::test]
async fn commits_are_durable_in_a_write_ahead_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let _opened = open(&path).await.unwrap();
    let row = sqlx::query("PRAGMA journal_mode").fetch_one(&mut raw(&path).await).await.unwrap();
    assert_eq!(row.get::<String, _>(0), "wal");
}
