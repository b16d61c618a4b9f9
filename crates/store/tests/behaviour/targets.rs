//! Target locks and approvals.

use store::{FileStore, StoreError, TargetLock};

use super::sample::at;

fn held(token: i64) -> TargetLock {
    TargetLock::Held { token }
}

fn busy(holder: &str) -> TargetLock {
    TargetLock::Busy { holder: holder.into() }
}

pub(crate) async fn one_holder_has_a_target(store: FileStore) {
    assert_eq!(store.lock_target("db-1", "t-1").await.unwrap(), held(1));
    assert_eq!(store.lock_target("db-1", "t-1").await.unwrap(), held(1), "asked again");
    assert_eq!(store.lock_target("db-1", "t-2").await.unwrap(), busy("t-1"));
    assert_eq!(store.lock_target("app-1", "t-2").await.unwrap(), held(1));
    store.unlock_target("db-1", "t-2").await.unwrap();
    assert_eq!(store.lock_target("db-1", "t-2").await.unwrap(), busy("t-1"), "not its own");
}

pub(crate) async fn the_token_only_grows(store: FileStore) {
    for token in 1..=3 {
        let holder = format!("t-{token}");
        assert_eq!(store.lock_target("db-1", &holder).await.unwrap(), held(token));
        store.unlock_target("db-1", &holder).await.unwrap();
    }
    store.quarantine_target("db-1", "lost").await.unwrap();
    store.release_target("db-1").await.unwrap();
    assert_eq!(store.lock_target("db-1", "t-9").await.unwrap(), held(4));
}

pub(crate) async fn racing_holders_get_one_lock(store: FileStore) {
    let names: Vec<String> = (0..16).map(|number| format!("t-{number}")).collect();
    let locks = names.iter().map(|holder| store.lock_target("db-1", holder));
    let locks = futures::future::try_join_all(locks).await.unwrap();
    assert_eq!(locks.iter().filter(|lock| **lock == held(1)).count(), 1);
    assert_eq!(locks.iter().filter(|lock| matches!(lock, TargetLock::Busy { .. })).count(), 15);
}

pub(crate) async fn a_quarantined_target_takes_no_holder_until_released(store: FileStore) {
    store.lock_target("db-1", "t-1").await.unwrap();
    store.quarantine_target("db-1", "its executor was lost").await.unwrap();
    let closed = TargetLock::Quarantined { reason: "its executor was lost".into() };
    for holder in ["t-1", "t-2"] {
        assert_eq!(store.lock_target("db-1", holder).await.unwrap(), closed);
    }
    store.unlock_target("db-1", "t-1").await.unwrap();
    assert_eq!(store.lock_target("db-1", "t-1").await.unwrap(), closed, "unlocking is no release");
    let reason = store.quarantine_of("db-1").await.unwrap();
    assert_eq!(reason.as_deref(), Some("its executor was lost"));
    assert_eq!(store.quarantine_of("app-1").await.unwrap(), None);
    let waiting = store.quarantined_targets().await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].0, "db-1");
    store.release_target("db-1").await.unwrap();
    assert_eq!(store.quarantined_targets().await.unwrap(), []);
    assert_eq!(store.quarantine_of("db-1").await.unwrap(), None);
    assert_eq!(store.lock_target("db-1", "t-2").await.unwrap(), held(2));
}

pub(crate) async fn a_plan_is_decided_once(store: FileStore) {
    store.put_approval("hash", true, "ana", at(0)).await.unwrap();
    for approved in [true, false] {
        let again = store.put_approval("hash", approved, "ben", at(1)).await;
        assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    }
    store.put_approval("other", false, "ana", at(2)).await.unwrap();
}
