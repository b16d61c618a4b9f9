//! What only the SQLite backend promises: one process a file, a file that has everything after a
//! restart, and a timeline whose edits are found.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use std::path::Path;

use incident::Phase;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};
use store::{FileStore, StoreError};

use behaviour::sample::{at, id, incident, put, tell};

mod behaviour {
    #[expect(dead_code, reason = "shared with the behaviours of every backend")]
    pub(crate) mod sample;
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

async fn with_timeline(path: &Path) -> FileStore {
    let store = FileStore::open(path).await.unwrap();
    put(&store, &[incident(1, "k")]).await;
    tell(&store, id(1), &["one", "two", "three"]).await;
    assert_eq!(store.verify_audit(id(1)).await.unwrap(), 3);
    store
}

async fn broken_at(store: &FileStore) -> i64 {
    match store.verify_audit(id(1)).await {
        Err(StoreError::BrokenChain { incident, sequence }) => {
            assert_eq!(incident, id(1).to_string());
            sequence
        }
        other => panic!("the edit was not found: {other:?}"),
    }
}

#[tokio::test]
async fn an_edited_row_of_the_timeline_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let store = with_timeline(&path).await;
    let edit = "UPDATE audit SET body = replace(body, 'two', '2') WHERE sequence = 2";
    sqlx::query(edit).execute(&mut raw(&path).await).await.unwrap();
    assert_eq!(broken_at(&store).await, 2);
}

#[tokio::test]
async fn a_row_that_is_gone_or_moved_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let store = with_timeline(&path).await;
    let mut raw = raw(&path).await;
    sqlx::query("DELETE FROM audit WHERE sequence = 2").execute(&mut raw).await.unwrap();
    assert_eq!(broken_at(&store).await, 2);
    let moved = "UPDATE audit SET sequence = 2 WHERE sequence = 3";
    sqlx::query(moved).execute(&mut raw).await.unwrap();
    assert_eq!(broken_at(&store).await, 2);
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/test.db");
    let first = FileStore::open(&path).await.unwrap();
    let second = FileStore::open(&path).await;
    assert!(matches!(&second, Err(StoreError::InUse { path: named, .. }) if *named == path));
    let clone = first.clone();
    drop(first);
    assert!(FileStore::open(&path).await.is_err(), "a clone holds the file too");
    drop(clone);
    FileStore::open(&path).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    std::fs::write(&path, "this is a text of more than a hundred bytes. ".repeat(9)).unwrap();
    assert!(FileStore::open(&path).await.is_err());
    let inside = path.join("test.db");
    assert!(matches!(FileStore::open(&inside).await, Err(StoreError::Open { .. })));
}

#[tokio::test]
async fn a_reopened_file_has_everything() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let store = with_timeline(&path).await;
    let mut transaction = store.begin().await.unwrap();
    transaction.push_outbox(id(1), "resolve", 1, at(0)).await.unwrap();
    transaction.commit().await.unwrap();
    store.lock_target("db-1", "t-1").await.unwrap();
    drop(store);
    let store = FileStore::open(&path).await.unwrap();
    assert_eq!(store.incident(id(1)).await.unwrap().unwrap().incident.phase, Phase::Diagnosing);
    assert_eq!(store.verify_audit(id(1)).await.unwrap(), 3);
    assert_eq!(store.due_outbox("resolve", at(0), 9).await.unwrap().len(), 1);
    let busy = store::TargetLock::Busy { holder: "t-1".into() };
    assert_eq!(store.lock_target("db-1", "t-2").await.unwrap(), busy);
}

#[tokio::test]
async fn commits_are_durable_in_a_write_ahead_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let _store = FileStore::open(&path).await.unwrap();
    let row = sqlx::query("PRAGMA journal_mode").fetch_one(&mut raw(&path).await).await.unwrap();
    assert_eq!(row.get::<String, _>(0), "wal");
}
