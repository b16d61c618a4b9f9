//! Changes of deployment-system, and tickets.

use incident::TicketRef;
use serde_json::json;
use store::{Change, FileStore, StoreError};

use super::sample::{at, id};

fn change(id: &str, key: &str, grant: Option<&str>) -> Change {
    Change {
        id: id.into(),
        idempotency_key: key.into(),
        grant_id: grant.map(str::to_owned),
        arguments_sha256: "00".into(),
        target: "db-1".into(),
        action: "restart_service".into(),
        request: json!({"target": "db-1"}),
        started_at: at(0),
    }
}

fn is_refused(result: Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Exists { .. }))
}

pub(crate) async fn a_change_is_found_by_id_and_key(store: FileStore) {
    let change = change("c-1", "k-1", Some("g-1"));
    store.begin_change(&change).await.unwrap();
    let begun = store.change("c-1").await.unwrap().unwrap();
    assert_eq!((&begun.change, begun.outcome, begun.finished_at), (&change, None, None));
    store.finish_change("c-1", &json!({"ok": true}), at(3)).await.unwrap();
    let done = store.change_by_key("k-1").await.unwrap().unwrap();
    assert_eq!((done.change, done.finished_at), (change, Some(at(3))));
    assert_eq!(done.outcome, Some(json!({"ok": true})));
    assert!(store.change("c-2").await.unwrap().is_none());
    assert!(store.change_by_key("k-2").await.unwrap().is_none());
}

pub(crate) async fn a_key_makes_one_change(store: FileStore) {
    store.begin_change(&change("c-1", "k-1", None)).await.unwrap();
    assert!(is_refused(store.begin_change(&change("c-2", "k-1", None)).await));
    store.begin_change(&change("c-2", "k-2", None)).await.unwrap();
}

pub(crate) async fn a_grant_is_used_once(store: FileStore) {
    store.begin_change(&change("c-1", "k-1", Some("g-1"))).await.unwrap();
    assert!(is_refused(store.begin_change(&change("c-2", "k-2", Some("g-1"))).await));
    assert!(store.change("c-2").await.unwrap().is_none(), "nothing was begun");
}

pub(crate) async fn a_ticket_belongs_to_its_incident(store: FileStore) {
    assert_eq!(store.ticket(id(1)).await.unwrap(), None);
    let (key, url) = ("FB-1".to_owned(), "file:///FB-1".to_owned());
    let mut ticket = TicketRef { key, url, status: "To Do".into(), sequence: 1 };
    store.put_ticket(id(1), &ticket).await.unwrap();
    ticket.status = "Done".into();
    store.put_ticket(id(1), &ticket).await.unwrap();
    assert_eq!(store.ticket(id(1)).await.unwrap(), Some(ticket));
    assert_eq!(store.ticket(id(2)).await.unwrap(), None);
}
