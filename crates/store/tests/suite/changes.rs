//! Changes of deployment-system, the fences of targets, and tickets.

use std::sync::Arc;

use futures::future::{join, join_all};
use incident::TicketRef;
use serde_json::json;
use store::{Change, ChangeRow, Store, StoreError};

use super::harness::{Harness, LONG};
use super::sample::{at, id, refused};

fn change(number: i64, target: &str) -> Change {
    Change {
        id: format!("c-{number}"),
        idempotency_key: format!("k-{number}"),
        grant_id: Some(format!("g-{number}")),
        arguments_sha256: "00".into(),
        target: target.into(),
        action: "restart_service".into(),
        request: json!({"target": target, "text": "it's \"quoted\""}),
        started_at: at(number),
    }
}

async fn begin(store: &Arc<dyn Store>, number: i64, target: &str) -> Result<(), StoreError> {
    store.begin_change(change(number, target), None).await
}

async fn finish(store: &Arc<dyn Store>, number: i64) -> Result<(), StoreError> {
    store.finish_change(format!("c-{number}"), json!({"ok": number}), at(number + 3)).await
}

fn ids(rows: &[ChangeRow]) -> Vec<&str> {
    rows.iter().map(|row| row.change.id.as_str()).collect()
}

async fn adopt_if_any(store: &Arc<dyn Store>) -> Option<Vec<ChangeRow>> {
    Some(store.adopt_changes().await.unwrap()).filter(|rows| !rows.is_empty())
}

pub(crate) async fn a_change_is_found_by_id_key_and_target(h: &Harness) {
    let store = h.open().await;
    let change = change(1, "db-1");
    store.begin_change(change.clone(), None).await.unwrap();
    let begun = ChangeRow { change, executor: None, outcome: None, finished_at: None };
    assert_eq!(store.change("c-1".into()).await.unwrap().as_ref(), Some(&begun));
    assert_eq!(store.change_by_key("k-1".into()).await.unwrap().as_ref(), Some(&begun));
    assert_eq!(store.unfinished_change("db-1".into()).await.unwrap().as_ref(), Some(&begun));
    store.record_executor("c-1".into(), json!({"pid": 7})).await.unwrap();
    finish(&store, 1).await.unwrap();
    let done = store.change_by_key("k-1".into()).await.unwrap().unwrap();
    assert_eq!((done.executor, done.outcome), (Some(json!({"pid": 7})), Some(json!({"ok": 1}))));
    assert_eq!((done.change, done.finished_at), (begun.change, Some(at(4))));
    assert_eq!(store.unfinished_change("db-1".into()).await.unwrap(), None);
    assert_eq!(store.unfinished_change("app-1".into()).await.unwrap(), None);
    assert_eq!(store.change("c-2".into()).await.unwrap(), None);
    assert_eq!(store.change_by_key("k-2".into()).await.unwrap(), None);
}

pub(crate) async fn a_key_makes_one_change(h: &Harness) {
    let store = h.open().await;
    begin(&store, 1, "db-1").await.unwrap();
    let same_key = Change { idempotency_key: "k-1".into(), ..change(2, "app-1") };
    refused!(store.begin_change(same_key.clone(), None).await, Exists);
    refused!(begin(&store, 1, "db-1").await, Exists);
    finish(&store, 1).await.unwrap();
    refused!(store.begin_change(same_key, None).await, Exists);
    assert_eq!(store.change("c-2".into()).await.unwrap(), None, "nothing was begun");
    begin(&store, 2, "app-1").await.unwrap();
}

pub(crate) async fn a_grant_is_used_once(h: &Harness) {
    let store = h.open().await;
    begin(&store, 1, "db-1").await.unwrap();
    finish(&store, 1).await.unwrap();
    let same_grant = Change { grant_id: Some("g-1".into()), ..change(2, "db-1") };
    refused!(store.begin_change(same_grant, None).await, Exists);
    for number in [3, 4] {
        let without = Change { grant_id: None, ..change(number, &number.to_string()) };
        store.begin_change(without, None).await.unwrap();
    }
}

pub(crate) async fn racing_requests_with_one_key_make_one_change(h: &Harness) {
    let store = h.open().await;
    let begins = (0..8).map(|number| {
        let key = Change { idempotency_key: "k".into(), ..change(number, &number.to_string()) };
        store.begin_change(key, None)
    });
    let outcomes = join_all(begins).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(store.changes(None, 9).await.unwrap().len(), 1);
}

pub(crate) async fn one_change_of_a_target_has_no_end(h: &Harness) {
    let store = h.open().await;
    begin(&store, 1, "db-1").await.unwrap();
    let second = begin(&store, 2, "db-1").await;
    let Err(StoreError::Busy { target, by }) = second else { panic!("{second:?}") };
    assert_eq!((target.as_str(), by.as_str()), ("db-1", "c-1"));
    begin(&store, 3, "app-1").await.unwrap();
    finish(&store, 1).await.unwrap();
    begin(&store, 2, "db-1").await.unwrap();
}

pub(crate) async fn racing_changes_of_a_target_begin_one(h: &Harness) {
    let store = h.open().await;
    let outcomes = join_all((1..=8).map(|number| begin(&store, number, "db-1"))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let is_busy = |outcome: &&Result<(), _>| matches!(outcome, Err(StoreError::Busy { .. }));
    assert_eq!(outcomes.iter().filter(is_busy).count(), 7, "{outcomes:?}");
}

pub(crate) async fn racing_replicas_begin_one_change_of_a_target(h: &Harness) {
    let (one, two) = h.two().await;
    for round in 0..10 {
        let number = 1 + 2 * round;
        let target = format!("db-{round}");
        let begins = [begin(&one, number, &target), begin(&two, number + 1, &target)];
        let outcomes = join_all(begins).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        let is_busy = |outcome: &Result<(), _>| matches!(outcome, Err(StoreError::Busy { .. }));
        assert!(outcomes.iter().any(is_busy), "{outcomes:?}");
    }
}

pub(crate) async fn changes_are_listed_newest_first(h: &Harness) {
    let store = h.open().await;
    for (number, target) in [(1, "db-1"), (2, "app-1"), (3, "db-1"), (4, "db-1")] {
        begin(&store, number, target).await.unwrap();
        finish(&store, number).await.unwrap();
    }
    assert_eq!(ids(&store.changes(None, 9).await.unwrap()), ["c-4", "c-3", "c-2", "c-1"]);
    let of_one = store.changes(Some("db-1".into()), 2).await.unwrap();
    assert_eq!(ids(&of_one), ["c-4", "c-3"]);
    assert!(store.changes(Some("none".into()), 9).await.unwrap().is_empty());
}

pub(crate) async fn a_smaller_token_is_shut_out(h: &Harness) {
    let store = h.open().await;
    assert_eq!(store.raise_fence("db-1".into(), 5).await.unwrap(), 5);
    let fenced = store.begin_change(change(1, "db-1"), Some(4)).await;
    let Err(StoreError::Fenced { target, seen }) = fenced else { panic!("{fenced:?}") };
    assert_eq!((target.as_str(), seen), ("db-1", 5));
    assert_eq!(store.change("c-1".into()).await.unwrap(), None, "nothing was begun");
    store.begin_change(change(1, "db-1"), Some(5)).await.unwrap();
    store.begin_change(change(2, "app-1"), Some(1)).await.unwrap();
    finish(&store, 1).await.unwrap();
    let store = h.restart(store).await;
    refused!(store.begin_change(change(3, "db-1"), Some(4)).await, Fenced);
    assert_eq!(store.raise_fence("db-1".into(), 1).await.unwrap(), 5);
}

pub(crate) async fn a_change_raises_the_fence_of_its_target(h: &Harness) {
    let store = h.open().await;
    store.begin_change(change(1, "db-1"), Some(7)).await.unwrap();
    finish(&store, 1).await.unwrap();
    refused!(store.begin_change(change(2, "db-1"), Some(6)).await, Fenced);
    assert_eq!(store.raise_fence("db-1".into(), 2).await.unwrap(), 7);
    begin(&store, 3, "db-1").await.unwrap();
}

pub(crate) async fn racing_tokens_never_lower_a_fence(h: &Harness) {
    let store = h.open().await;
    let raises = (1..=20).map(|number| store.raise_fence("db-1".into(), number * 7 % 20));
    let seen: Vec<i64> = join_all(raises).await.into_iter().map(Result::unwrap).collect();
    for (number, seen) in (1..=20).zip(&seen) {
        assert!(*seen >= number * 7 % 20);
    }
    assert_eq!(store.raise_fence("db-1".into(), 0).await.unwrap(), 19);
}

pub(crate) async fn racing_replicas_never_lower_a_fence(h: &Harness) {
    let (one, two) = h.two().await;
    for round in 1..=10 {
        let (old, new) = (round * 2, round * 2 + 1);
        let begun = one.begin_change(change(round, "db-1"), Some(old));
        let raised = two.raise_fence("db-1".into(), new);
        let (begun, raised) = join(begun, raised).await;
        assert_eq!(raised.unwrap(), new);
        match begun {
            Ok(()) => finish(&one, round).await.unwrap(),
            Err(error) => assert!(matches!(error, StoreError::Fenced { seen, .. } if seen == new)),
        }
        assert_eq!(one.raise_fence("db-1".into(), 1).await.unwrap(), new);
    }
}

pub(crate) async fn a_process_does_not_adopt_its_own_changes(h: &Harness) {
    let store = h.open().await;
    begin(&store, 1, "db-1").await.unwrap();
    assert!(store.adopt_changes().await.unwrap().is_empty());
    assert_eq!(ids(&store.claimed_changes().await.unwrap()), ["c-1"]);
    finish(&store, 1).await.unwrap();
    assert!(store.claimed_changes().await.unwrap().is_empty());
    assert!(store.adopt_changes().await.unwrap().is_empty());
}

pub(crate) async fn a_started_process_adopts_what_its_predecessor_left(h: &Harness) {
    let store = h.open().await;
    for (number, target) in [(1, "db-1"), (2, "app-1"), (3, "db-2")] {
        begin(&store, number, target).await.unwrap();
    }
    store.record_executor("c-2".into(), json!({"pid": 7})).await.unwrap();
    finish(&store, 3).await.unwrap();
    h.kill(store);
    let store = h.open().await;
    let adopted = store.adopt_changes().await.unwrap();
    assert_eq!(ids(&adopted), ["c-1", "c-2"]);
    assert_eq!(adopted[1].executor, Some(json!({"pid": 7})));
    assert!(store.adopt_changes().await.unwrap().is_empty(), "they are its own now");
    finish(&store, 1).await.unwrap();
    let store = h.restart(store).await;
    assert_eq!(ids(&store.adopt_changes().await.unwrap()), ["c-2"]);
    refused!(begin(&store, 4, "app-1").await, Busy);
}

pub(crate) async fn an_unknown_change_has_neither_executor_nor_end(h: &Harness) {
    let store = h.open().await;
    refused!(store.record_executor("c-1".into(), json!({"pid": 7})).await, Lost);
    refused!(finish(&store, 1).await, Lost);
    assert_eq!(store.change("c-1".into()).await.unwrap(), None);
}

pub(crate) async fn the_change_of_a_living_replica_is_its_own(h: &Harness) {
    let (one, two) = h.two().await;
    begin(&one, 1, "db-1").await.unwrap();
    assert!(two.adopt_changes().await.unwrap().is_empty());
    refused!(two.record_executor("c-1".into(), json!({"pid": 8})).await, Lost);
    refused!(finish(&two, 1).await, Lost);
    assert_eq!(two.unfinished_change("db-1".into()).await.unwrap().unwrap().executor, None);
    finish(&one, 1).await.unwrap();
}

pub(crate) async fn a_replica_that_wakes_late_can_record_nothing(h: &Harness) {
    let (one, two) = h.two().await;
    begin(&one, 1, "db-1").await.unwrap();
    let adopted = h.when_lost(&one, async || adopt_if_any(&two).await).await;
    assert_eq!(ids(&adopted), ["c-1"]);
    refused!(one.record_executor("c-1".into(), json!({"pid": 7})).await, Lost);
    refused!(finish(&one, 1).await, Lost);
    refused!(one.heartbeat(LONG).await, Lost);
    refused!(one.record_executor("c-1".into(), json!({"pid": 7})).await, Lost);
    assert!(one.adopt_changes().await.unwrap().is_empty());
    let row = two.unfinished_change("db-1".into()).await.unwrap().unwrap();
    assert_eq!((row.executor, row.outcome), (None, None));
    two.record_executor("c-1".into(), json!({"pid": 8})).await.unwrap();
    finish(&two, 1).await.unwrap();
}

pub(crate) async fn racing_replicas_adopt_a_change_once(h: &Harness) {
    let (one, two) = h.two().await;
    let three = h.open().await;
    for number in 1..=12 {
        begin(&one, number, &format!("db-{number}")).await.unwrap();
    }
    let mut adopted = Vec::new();
    h.when_lost(&one, async || {
        let both = join_all([two.adopt_changes(), three.adopt_changes()]).await;
        adopted.extend(both.into_iter().flat_map(Result::unwrap));
        (adopted.len() >= 12).then_some(())
    })
    .await;
    let mut all = ids(&adopted);
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!((count, all.len()), (12, 12), "none twice, none left");
}

pub(crate) async fn a_ticket_belongs_to_its_incident(h: &Harness) {
    let store = h.open().await;
    assert_eq!(store.ticket(id(1)).await.unwrap(), None);
    let (key, url) = ("FB-1".to_owned(), "file:///FB-1".to_owned());
    let mut ticket = TicketRef { key, url, status: "To Do".into(), sequence: 1 };
    store.put_ticket(id(1), ticket.clone()).await.unwrap();
    ticket.status = "Done".into();
    store.put_ticket(id(1), ticket.clone()).await.unwrap();
    let store = h.restart(store).await;
    assert_eq!(store.ticket(id(1)).await.unwrap(), Some(ticket));
    assert_eq!(store.ticket(id(2)).await.unwrap(), None);
}
