//! Attempts at steps, target locks and approvals.

use std::sync::Arc;

use futures::future::join_all;
use incident::AttemptId;
use serde_json::json;
use store::{Attempt, Store, TargetLock};
use uuid::Uuid;

use super::harness::Harness;
use super::sample::{at, refused};

fn held(token: i64) -> TargetLock {
    TargetLock::Held { token }
}

fn busy(holder: &str) -> TargetLock {
    TargetLock::Busy { holder: holder.into() }
}

async fn lock(store: &Arc<dyn Store>, target: &str, holder: &str) -> TargetLock {
    store.lock_target(target.into(), holder.into()).await.unwrap()
}

async fn unlock(store: &Arc<dyn Store>, target: &str, holder: &str) {
    store.unlock_target(target.into(), holder.into()).await.unwrap();
}

fn attempt(number: u128, task: &str, target: &str, seconds: i64) -> Attempt {
    Attempt {
        id: AttemptId::new(Uuid::from_u128(number)),
        task_id: task.into(),
        target: target.into(),
        body: json!({"step": number.to_string(), "text": "it's \"quoted\" \u{0}"}),
        started_at: at(seconds),
    }
}

pub(crate) async fn attempts_are_found_by_task_and_time(h: &Harness) {
    let store = h.open().await;
    let all = [
        attempt(1, "t-1", "db-1", 10),
        attempt(3, "t-1", "app-1", 20),
        attempt(2, "t-2", "db-1", 30),
        attempt(4, "t-2", "db-1", 20),
    ];
    for attempt in &all {
        let TargetLock::Held { token } = lock(&store, &attempt.target, &attempt.task_id).await
        else {
            panic!("it is free");
        };
        store.begin_attempt(attempt.clone(), token).await.unwrap();
        unlock(&store, &attempt.target, &attempt.task_id).await;
    }
    store.finish_attempt(all[0].id, json!({"ok": true}), at(11)).await.unwrap();
    let of_task = store.attempts_of_task("t-1".into()).await.unwrap();
    assert_eq!(of_task.len(), 2);
    assert_eq!(of_task[0].attempt, all[0]);
    assert_eq!(
        (&of_task[0].outcome, of_task[0].finished_at),
        (&Some(json!({"ok": true})), Some(at(11)))
    );
    assert_eq!((&of_task[1].outcome, of_task[1].finished_at), (&None, None));
    let since: Vec<AttemptId> =
        (store.attempts_since(at(20)).await.unwrap().iter()).map(|row| row.attempt.id).collect();
    assert_eq!(since, [all[1].id, all[3].id, all[2].id], "oldest first");
    assert!(store.attempts_of_task("t-3".into()).await.unwrap().is_empty());
    assert!(store.attempts_since(at(31)).await.unwrap().is_empty());
}

pub(crate) async fn an_attempt_is_begun_once(h: &Harness) {
    let store = h.open().await;
    assert_eq!(lock(&store, "db-1", "t-1").await, held(1));
    let begins = (0..4).map(|_| store.begin_attempt(attempt(1, "t-1", "db-1", 10), 1));
    let outcomes = join_all(begins).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    refused!(store.begin_attempt(attempt(1, "t-1", "db-1", 20), 1).await, Exists);
    let rows = store.attempts_of_task("t-1".into()).await.unwrap();
    assert_eq!((rows.len(), rows[0].attempt.started_at), (1, at(10)));
}

pub(crate) async fn an_attempt_ends_once(h: &Harness) {
    let store = h.open().await;
    lock(&store, "db-1", "t-1").await;
    let attempt = attempt(1, "t-1", "db-1", 10);
    store.begin_attempt(attempt.clone(), 1).await.unwrap();
    unlock(&store, "db-1", "t-1").await;
    store.finish_attempt(attempt.id, json!("first"), at(11)).await.unwrap();
    refused!(store.finish_attempt(attempt.id, json!("second"), at(12)).await, Conflict);
    let row = store.attempts_of_task("t-1".into()).await.unwrap().remove(0);
    assert_eq!((row.outcome, row.finished_at), (Some(json!("first")), Some(at(11))));
    let unknown = AttemptId::new(Uuid::from_u128(9));
    refused!(store.finish_attempt(unknown, json!("never"), at(12)).await, Conflict);
}

pub(crate) async fn an_attempt_needs_the_lock_of_its_target(h: &Harness) {
    let store = h.open().await;
    refused!(store.begin_attempt(attempt(1, "t-1", "db-1", 10), 0).await, Lost);
    assert_eq!(lock(&store, "db-1", "t-1").await, held(1));
    refused!(store.begin_attempt(attempt(1, "t-1", "db-1", 10), 2).await, Lost);
    refused!(store.begin_attempt(attempt(1, "t-1", "app-1", 10), 1).await, Lost);
    unlock(&store, "db-1", "t-1").await;
    refused!(store.begin_attempt(attempt(1, "t-1", "db-1", 10), 1).await, Lost);
    assert!(store.attempts_since(at(0)).await.unwrap().is_empty());
}

pub(crate) async fn an_older_token_begins_no_attempt(h: &Harness) {
    let store = h.open().await;
    assert_eq!(lock(&store, "db-1", "t-1").await, held(1));
    store.begin_attempt(attempt(1, "t-1", "db-1", 10), 1).await.unwrap();
    assert_eq!(lock(&store, "db-1", "t-1").await, held(2), "resumed elsewhere");
    refused!(store.begin_attempt(attempt(2, "t-1", "db-1", 11), 1).await, Lost);
    store.begin_attempt(attempt(2, "t-1", "db-1", 11), 2).await.unwrap();
    store.finish_attempt(attempt(1, "t-1", "db-1", 10).id, json!(1), at(12)).await.unwrap();
}

pub(crate) async fn one_holder_has_a_target(h: &Harness) {
    let store = h.open().await;
    assert_eq!(lock(&store, "db-1", "t-1").await, held(1));
    assert_eq!(lock(&store, "db-1", "t-2").await, busy("t-1"));
    assert_eq!(lock(&store, "app-1", "t-2").await, held(1));
    unlock(&store, "db-1", "t-2").await;
    assert_eq!(lock(&store, "db-1", "t-2").await, busy("t-1"), "it is not his to give");
    unlock(&store, "db-1", "t-1").await;
    assert_eq!(lock(&store, "db-1", "t-2").await, held(2));
}

pub(crate) async fn the_same_holder_gets_a_greater_token(h: &Harness) {
    let store = h.open().await;
    for token in 1..=3 {
        assert_eq!(lock(&store, "db-1", "t-1").await, held(token));
    }
}

pub(crate) async fn tokens_only_grow(h: &Harness) {
    let store = h.open().await;
    for token in 1..=3 {
        let holder = format!("t-{token}");
        assert_eq!(lock(&store, "db-1", &holder).await, held(token));
        unlock(&store, "db-1", &holder).await;
    }
    store.quarantine_target("db-1".into(), "lost".into()).await.unwrap();
    assert!(store.release_target("db-1".into()).await.unwrap());
    let store = h.restart(store).await;
    assert_eq!(lock(&store, "db-1", "t-9").await, held(4));
}

pub(crate) async fn racing_holders_get_one_lock(h: &Harness) {
    let store = h.open().await;
    let locks = (0..16).map(|number| store.lock_target("db-1".into(), format!("t-{number}")));
    let locks: Vec<_> = join_all(locks).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(locks.iter().filter(|lock| **lock == held(1)).count(), 1);
    assert_eq!(locks.iter().filter(|lock| matches!(lock, TargetLock::Busy { .. })).count(), 15);
}

pub(crate) async fn racing_replicas_never_get_the_same_token(h: &Harness) {
    let (one, two) = h.two().await;
    let mut seen = Vec::new();
    for _ in 0..10 {
        let locks = [&one, &two, &one].map(|store| store.lock_target("db-1".into(), "t-1".into()));
        for lock in join_all(locks).await {
            let TargetLock::Held { token } = lock.unwrap() else {
                panic!("the holder is the same")
            };
            seen.push(token);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=30).collect::<Vec<_>>());
}

pub(crate) async fn a_quarantined_target_takes_no_holder_until_released(h: &Harness) {
    let store = h.open().await;
    lock(&store, "db-1", "t-1").await;
    let reason = "its executor was lost";
    store.quarantine_target("db-1".into(), reason.into()).await.unwrap();
    let closed = TargetLock::Quarantined { reason: reason.into() };
    for holder in ["t-1", "t-2"] {
        assert_eq!(lock(&store, "db-1", holder).await, closed);
    }
    unlock(&store, "db-1", "t-1").await;
    let store = h.restart(store).await;
    assert_eq!(lock(&store, "db-1", "t-1").await, closed, "neither is a release");
    store.quarantine_target("app-1".into(), "never locked".into()).await.unwrap();
    let quarantined = store.quarantined_targets().await.unwrap();
    let expected = [("app-1", "never locked"), ("db-1", reason)];
    assert_eq!(quarantined, expected.map(|(target, why)| (target.to_owned(), why.to_owned())));
    for target in ["app-1", "db-1"] {
        assert!(store.release_target(target.into()).await.unwrap());
    }
    assert!(store.quarantined_targets().await.unwrap().is_empty());
    assert_eq!(lock(&store, "db-1", "t-2").await, held(2));
    assert_eq!(lock(&store, "app-1", "t-2").await, held(1));
}

pub(crate) async fn a_release_ends_the_lock_of_a_quarantined_target_only(h: &Harness) {
    let store = h.open().await;
    lock(&store, "db-1", "t-1").await;
    assert!(!store.release_target("db-1".into()).await.unwrap());
    assert!(!store.release_target("none".into()).await.unwrap());
    assert_eq!(lock(&store, "db-1", "t-2").await, busy("t-1"), "it was not quarantined");
    store.quarantine_target("db-1".into(), "lost".into()).await.unwrap();
    assert!(store.release_target("db-1".into()).await.unwrap());
    assert!(!store.release_target("db-1".into()).await.unwrap());
    assert_eq!(lock(&store, "db-1", "t-2").await, held(2));
}

pub(crate) async fn locked_targets_are_listed_by_name(h: &Harness) {
    let store = h.open().await;
    assert!(store.locked_targets().await.unwrap().is_empty());
    for (target, holder) in [("db-2", "t-2"), ("db-1", "t-1"), ("db-3", "t-3")] {
        lock(&store, target, holder).await;
    }
    unlock(&store, "db-3", "t-3").await;
    store.quarantine_target("db-1".into(), "lost".into()).await.unwrap();
    store.quarantine_target("db-4".into(), "lost".into()).await.unwrap();
    let locked = store.locked_targets().await.unwrap();
    let names: Vec<(&str, &str)> =
        locked.iter().map(|one| (one.target.as_str(), one.holder.as_str())).collect();
    assert_eq!(names, [("db-1", "t-1"), ("db-2", "t-2")]);
    assert!(locked.iter().all(|one| one.since.is_some()));
}

pub(crate) async fn a_lock_outlives_its_process(h: &Harness) {
    let store = h.open().await;
    lock(&store, "db-1", "t-1").await;
    h.kill(store);
    let store = h.open().await;
    assert_eq!(lock(&store, "db-1", "t-2").await, busy("t-1"));
    assert_eq!(lock(&store, "db-1", "t-1").await, held(2), "whoever resumes the task");
}

pub(crate) async fn a_plan_is_decided_once(h: &Harness) {
    let store = h.open().await;
    store.put_approval("hash".into(), true, "ana".into(), at(0)).await.unwrap();
    for approved in [true, false] {
        let again = store.put_approval("hash".into(), approved, "ben".into(), at(1)).await;
        refused!(again, Exists);
    }
    store.put_approval("other".into(), false, "ana".into(), at(2)).await.unwrap();
    let store = h.restart(store).await;
    refused!(store.put_approval("hash".into(), true, "ana".into(), at(0)).await, Exists);
}

pub(crate) async fn racing_decisions_on_a_plan_make_one(h: &Harness) {
    let store = h.open().await;
    let decisions = (0..8).map(|number| {
        store.put_approval("hash".into(), number % 2 == 0, number.to_string(), at(0))
    });
    let outcomes = join_all(decisions).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}
