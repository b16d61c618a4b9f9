//! The store in memory does what every task store must do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_types::TaskStore;
use futures::FutureExt;
use jiff::Timestamp;
use rpc::a2a::{MemoryTaskDatabase, MemoryTaskStore};
use task_store_suite::Pair;

macro_rules! in_memory {
    ($($name:ident),+) => {$(
        #[tokio::test]
        async fn $name() {
            task_store_suite::$name(&MemoryTaskStore::default()).await;
        }
    )+};
}

task_store_suite::each_behaviour!(in_memory);

const LEASE: Duration = Duration::from_secs(10);

macro_rules! of_replicas {
    ($($name:ident),+) => {$(
        #[tokio::test]
        async fn $name() {
            let now = Arc::new(Mutex::new(Timestamp::UNIX_EPOCH));
            let clock = now.clone();
            let time = Arc::new(move || *clock.lock().unwrap());
            let database = MemoryTaskDatabase::default();
            let one = database.open("one", LEASE, time.clone());
            let other = database.open("other", LEASE, time);
            let silence = || {
                *now.lock().unwrap() += LEASE;
                other.heartbeat().map(Result::unwrap).boxed()
            };
            let pair = Pair { one: &one, other: &other, silence: &silence };
            task_store_suite::$name(pair).await;
        }
    )+};
}

task_store_suite::each_behaviour_of_replicas!(of_replicas);

#[tokio::test]
async fn a_replica_that_is_proven_dead_has_nothing() {
    let database = MemoryTaskDatabase::default();
    let time = Arc::new(|| Timestamp::UNIX_EPOCH);
    let one = database.open("one", LEASE, time.clone());
    let other = database.open("other", LEASE, time);
    task_store_suite::sample::put(&one, "t-1", a2a_types::TaskState::Working, 1).await;
    assert!(other.adopt(9).await.unwrap().tasks.is_empty());
    database.forget("one");
    assert_eq!(other.adopt(9).await.unwrap().tasks.len(), 1);
}
