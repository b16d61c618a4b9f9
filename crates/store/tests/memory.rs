//! What the memory backend adds for simulation: calls that fail, a journal, and turns for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::poll;
use jiff::Timestamp;
use store::{Fault, Faults, MemoryDatabase, OpenOptions, Replica, Store, StoreError, TargetLock};

fn open(database: &MemoryDatabase, replica: &str) -> Arc<dyn Store> {
    let id = replica.to_owned();
    database.open(
        "agent",
        OpenOptions {
            replica: Replica { id, host: String::new(), pid: 1, start_time: 1 },
            lease: Duration::from_secs(10),
            is_dead: Arc::new(|_| false),
            time: Arc::new(|| Timestamp::UNIX_EPOCH),
        },
    )
}

async fn lock(store: &Arc<dyn Store>, holder: &str) -> Result<TargetLock, StoreError> {
    store.lock_target("db-1".into(), holder.into()).await
}

#[tokio::test]
async fn a_call_that_does_not_arrive_does_nothing() {
    let database = MemoryDatabase::new();
    let store = open(&database, "one");
    let before = database.journal_hash();
    database.set_faults(Faults::new(|_| Some(Fault::Away)));
    let error = lock(&store, "t-1").await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(database.journal_hash(), before);
    database.set_faults(Faults::default());
    assert_eq!(lock(&store, "t-2").await.unwrap(), TargetLock::Held { token: 1 });
}

#[tokio::test]
async fn a_call_whose_answer_is_lost_is_done() {
    let database = MemoryDatabase::new();
    let store = open(&database, "one");
    database.set_faults(Faults::new(|_| Some(Fault::AnswerLost)));
    assert!(lock(&store, "t-1").await.unwrap_err().is_transient());
    database.set_faults(Faults::default());
    let holder = "t-1".to_owned();
    assert_eq!(lock(&store, "t-2").await.unwrap(), TargetLock::Busy { holder });
}

#[tokio::test]
async fn faults_are_of_one_replica_or_one_call() {
    let database = MemoryDatabase::new();
    let (one, two) = (open(&database, "one"), open(&database, "two"));
    database.set_faults(Faults::new(|call| {
        assert_eq!(call.agent, "agent");
        (call.replica == "one" && call.name == "lock_target").then_some(Fault::Away)
    }));
    lock(&one, "t-1").await.unwrap_err();
    one.heartbeat(Duration::from_secs(1)).await.unwrap();
    lock(&two, "t-1").await.unwrap();
}

#[tokio::test]
async fn each_call_is_asked_about_once() {
    let database = MemoryDatabase::new();
    let store = open(&database, "one");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    database.set_faults(Faults::new(move |_| {
        // Every second answer is lost.
        (count.fetch_add(1, Ordering::SeqCst) % 2 == 1).then_some(Fault::AnswerLost)
    }));
    for _ in 0..4 {
        store.raise_fence("db-1".into(), 1).await.unwrap();
        store.raise_fence("db-1".into(), 2).await.unwrap_err();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn the_journal_tells_runs_apart_and_same_runs_not() {
    let run = async |holders: &[&str]| {
        let database = MemoryDatabase::new();
        let store = open(&database, "one");
        for holder in holders {
            lock(&store, holder).await.unwrap();
            store.unlock_target("db-1".into(), (*holder).into()).await.unwrap();
            store.quarantined_targets().await.unwrap();
        }
        database.journal_hash()
    };
    let first = run(&["t-1", "t-2"]).await;
    assert_eq!(first, run(&["t-1", "t-2"]).await);
    assert_ne!(first, run(&["t-2", "t-1"]).await);
    assert_ne!(first, run(&["t-1"]).await);
}

#[tokio::test]
async fn a_refused_write_is_not_in_the_journal() {
    let database = MemoryDatabase::new();
    let store = open(&database, "one");
    store.raise_fence("db-1".into(), 1).await.unwrap();
    let before = database.journal_hash();
    store
        .finish_change("c-1".into(), serde_json::json!(1), Timestamp::UNIX_EPOCH)
        .await
        .unwrap_err();
    assert_eq!(database.journal_hash(), before);
}

#[tokio::test]
async fn others_have_a_turn_before_and_after_a_call() {
    let database = MemoryDatabase::new();
    let store = open(&database, "one");
    let mut call = store.raise_fence("db-1".into(), 1);
    let before = database.journal_hash();
    assert!(poll!(&mut call).is_pending());
    assert_eq!(database.journal_hash(), before, "it is on its way");
    assert!(poll!(&mut call).is_pending());
    assert_ne!(database.journal_hash(), before, "it is done, and the answer on its way");
    assert_eq!(call.await.unwrap(), 1);
}

#[tokio::test]
async fn a_database_outlives_the_processes_that_use_it() {
    let database = MemoryDatabase::new();
    open(&database, "one").raise_fence("db-1".into(), 3).await.unwrap();
    let again = open(&database.clone(), "two");
    assert_eq!(again.raise_fence("db-1".into(), 1).await.unwrap(), 3);
}
