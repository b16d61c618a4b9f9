//! The whole port on SQLite, once through.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use std::sync::Arc;
use std::time::Duration;

use behaviour::sample::{alert, at, closed, entry, id, incident};
use serde_json::json;
use store::{
    AlertKey, Attempt, Base, Batch, Change, Delivered, IncidentWrite, NewEffect, OpenOptions,
    OutboxEnd, Replica, Store, StoreError, TargetLock,
};

mod behaviour {
    #[expect(dead_code, reason = "shared with the behaviours of every backend")]
    pub(crate) mod sample;
}

fn options(replica: &str) -> OpenOptions {
    OpenOptions {
        replica: Replica { id: replica.into(), host: String::new(), pid: 0, start_time: 0 },
        lease: Duration::from_secs(30),
        is_dead: Arc::new(|_| false),
        time: Arc::new(|| at(0)),
    }
}

async fn open(path: &std::path::Path, replica: &str) -> Arc<dyn Store> {
    store::open(path.to_str().unwrap(), "test", options(replica)).await.unwrap().store
}

fn write(number: u128, base: Base, kinds: &[&'static str]) -> IncidentWrite {
    let effects = kinds.iter().map(|kind| NewEffect { kind, round: 1, not_before: at(1) });
    IncidentWrite {
        incident: incident(number, "k"),
        base,
        entries: vec![entry("one"), entry("two")],
        effects: effects.collect(),
        at: at(1),
    }
}

fn change(id: &str, key: &str) -> Change {
    Change {
        id: id.into(),
        idempotency_key: key.into(),
        grant_id: None,
        arguments_sha256: "0".into(),
        target: "db-1".into(),
        action: "restart".into(),
        request: json!({}),
        started_at: at(1),
    }
}

#[tokio::test]
async fn everything_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let store = open(&path, "one").await;
    let key = AlertKey { source: "a\0".into(), fingerprint: "f".repeat(3_000) };
    let batch = Batch {
        delivered: vec![Delivered { source: "a".into(), body: "{}".into(), at: at(1) }],
        incidents: vec![write(1, Base::default(), &["diagnose", "ticket", "ticket"])],
        links: vec![(key.clone(), id(1)), (AlertKey::of(&alert("x")), id(1))],
        outbox: vec![],
    };
    store.commit(batch.clone()).await.unwrap();
    let again = store.commit(batch).await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
    let second = Batch { incidents: vec![write(2, Base::default(), &[])], ..Batch::default() };
    assert!(matches!(store.commit(second.clone()).await, Err(StoreError::Conflict { .. })));
    let related = store.related(vec![key.clone()], vec!["k".to_owned().into()]).await.unwrap();
    assert_eq!((related.links[&key], related.incidents[&id(1)].base.sequence), (id(1), 2));
    assert_eq!(store.verify_audit(id(1)).await.unwrap(), 2);

    let rows = store.claim_outbox("ticket", at(1), 9, true).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert!(store.claim_outbox("ticket", at(1), 9, true).await.unwrap().is_empty());
    let end = OutboxEnd::Finished { id: rows[0].id, last: rows[0].last };
    let mut write = write(1, related.incidents[&id(1)].base.clone(), &[]);
    write.incident = closed(write.incident);
    let batch = Batch { incidents: vec![write], outbox: vec![end], ..Batch::default() };
    store.commit(batch.clone()).await.unwrap();
    assert!(matches!(store.commit(batch).await, Err(StoreError::Lost { .. })));
    assert!(store.claim_outbox("ticket", at(1), 9, true).await.unwrap().is_empty());
    store.commit(second).await.unwrap();
    let row = store.claim_outbox("diagnose", at(1), 9, false).await.unwrap().remove(0);
    store.delay_outbox(row.id, true, "no".into(), at(5)).await.unwrap();
    assert_eq!(store.next_outbox(at(1)).await.unwrap(), Some(at(5)));
    let row = store.claim_outbox("diagnose", at(5), 9, false).await.unwrap().remove(0);
    assert_eq!((row.attempt, row.tries), (1, 1));
    let bury = OutboxEnd::Buried { id: row.id, error: "never".into(), at: at(6) };
    store.commit(Batch { outbox: vec![bury], ..Batch::default() }).await.unwrap();
    let dead = store.dead_letters(9, None).await.unwrap().remove(0);
    assert_eq!(store.replay_dead_letter(dead.id, at(7)).await.unwrap(), Some(dead.clone()));
    assert_eq!(store.replay_dead_letter(dead.id, at(7)).await.unwrap(), None);

    let first = store.lock_target("db-1".into(), "t".into()).await.unwrap();
    let second = store.lock_target("db-1".into(), "t".into()).await.unwrap();
    assert_eq!((first, second), (TargetLock::Held { token: 1 }, TargetLock::Held { token: 2 }));
    let attempt = Attempt {
        id: incident::AttemptId::new(uuid::Uuid::from_u128(1)),
        task_id: "t".into(),
        target: "db-1".into(),
        body: json!({}),
        started_at: at(1),
    };
    let old = store.begin_attempt(attempt.clone(), 1).await;
    assert!(matches!(old, Err(StoreError::Lost { .. })));
    store.begin_attempt(attempt.clone(), 2).await.unwrap();
    store.finish_attempt(attempt.id, json!(1), at(2)).await.unwrap();
    let twice = store.finish_attempt(attempt.id, json!(2), at(2)).await;
    assert!(matches!(twice, Err(StoreError::Conflict { .. })));

    assert_eq!(store.raise_fence("db-1".into(), 2).await.unwrap(), 2);
    let fenced = store.begin_change(change("c", "k"), Some(1)).await;
    assert!(matches!(fenced, Err(StoreError::Fenced { seen: 2, .. })));
    store.begin_change(change("c", "k"), Some(2)).await.unwrap();
    let exists = store.begin_change(change("c", "k"), Some(2)).await;
    assert!(matches!(exists, Err(StoreError::Exists { .. })));
    let busy = store.begin_change(change("d", "l"), Some(2)).await;
    assert!(matches!(busy, Err(StoreError::Busy { .. })));
    store.record_executor("c".into(), json!({"pid": 1})).await.unwrap();
    store.close().await;

    let store = open(&path, "two").await;
    let lost = store.finish_change("c".into(), json!(1), at(3)).await;
    assert!(matches!(lost, Err(StoreError::Lost { .. })));
    let adopted = store.adopt_changes().await.unwrap();
    assert_eq!(adopted[0].executor, Some(json!({"pid": 1})));
    store.finish_change("c".into(), json!(1), at(3)).await.unwrap();
    assert_eq!(store.unfinished_change("db-1".into()).await.unwrap(), None);
    assert_eq!(store.changes(Some("db-1".into()), 9).await.unwrap().len(), 1);
    assert_eq!(store.locked_targets().await.unwrap().len(), 1);
}
