//! Incidents, alerts, the timeline and deadlines.

use incident::{Incident, Phase};
use store::{FileStore, StoreError};

use super::sample::{alert, at, closed, entry, id, incident, put, tell};

pub(crate) async fn an_incident_reads_back_and_is_replaced(store: FileStore) {
    assert!(store.incident(id(1)).await.unwrap().is_none());
    let mut incident = incident(1, "k");
    put(&store, std::slice::from_ref(&incident)).await;
    incident.phase = Phase::AwaitingApproval { plan_hash: "h".into() };
    incident.deadline = Some(at(5));
    put(&store, std::slice::from_ref(&incident)).await;
    let stored = store.incident(id(1)).await.unwrap().unwrap();
    assert_eq!((stored.incident, stored.changed_at), (incident, at(2)));
}

pub(crate) async fn one_incident_of_a_key_is_open(store: FileStore) {
    let first = incident(1, "k");
    put(&store, &[first.clone(), incident(2, "other")]).await;
    let mut transaction = store.begin().await.unwrap();
    let refused = transaction.put_incident(&incident(3, "k"), at(2)).await;
    assert!(matches!(refused, Err(StoreError::Exists { .. })), "{refused:?}");
    drop(transaction);
    put(&store, &[closed(first), incident(3, "k")]).await;
    let mut transaction = store.begin().await.unwrap();
    let open = transaction.open_incident(&"k".to_owned().into()).await.unwrap().unwrap();
    assert_eq!(open, id(3));
    assert!(transaction.open_incident(&"none".to_owned().into()).await.unwrap().is_none());
}

pub(crate) async fn the_newest_incident_of_a_key_is_found(store: FileStore) {
    put(&store, &[closed(incident(1, "k")), closed(incident(2, "k")), incident(3, "l")]).await;
    let mut transaction = store.begin().await.unwrap();
    let latest = transaction.latest_incident(&"k".to_owned().into()).await.unwrap().unwrap();
    assert_eq!(latest, id(2));
}

pub(crate) async fn an_alert_leads_to_its_incident(store: FileStore) {
    put(&store, &[closed(incident(1, "k")), incident(2, "k")]).await;
    let mut transaction = store.begin().await.unwrap();
    assert!(transaction.incident_of_alert(&alert("f")).await.unwrap().is_none());
    transaction.link_alert(&alert("f"), id(1)).await.unwrap();
    transaction.link_alert(&alert("f"), id(2)).await.unwrap();
    let found = transaction.incident_of_alert(&alert("f")).await.unwrap().unwrap();
    assert_eq!(found, id(2));
    let mut foreign = alert("f");
    foreign.source = "grafana".into();
    assert!(transaction.incident_of_alert(&foreign).await.unwrap().is_none());
    assert!(transaction.link_alert(&alert("g"), id(9)).await.is_err(), "no such incident");
}

pub(crate) async fn incidents_are_listed_newest_first_and_in_pages(store: FileStore) {
    let all: Vec<Incident> =
        (1..=5).map(|number| incident(number, &format!("k{number}"))).collect();
    put(&store, &all).await;
    let page = async |limit, before| {
        let page = store.incidents(limit, before).await.unwrap();
        page.into_iter().map(|stored| stored.incident.id).collect::<Vec<_>>()
    };
    assert_eq!(page(2, None).await, [id(5), id(4)]);
    assert_eq!(page(2, Some(id(4))).await, [id(3), id(2)]);
    assert_eq!(page(9, Some(id(2))).await, [id(1)]);
    assert_eq!(page(9, Some(id(1))).await, []);
}

pub(crate) async fn a_timeline_grows_and_verifies(store: FileStore) {
    put(&store, &[incident(1, "k"), incident(2, "l")]).await;
    assert_eq!(store.verify_audit(id(1)).await.unwrap(), 0);
    tell(&store, id(1), &["one", "two"]).await;
    tell(&store, id(2), &["other"]).await;
    tell(&store, id(1), &["three"]).await;
    let rows = store.timeline(id(1), 0).await.unwrap();
    let told: Vec<(i64, &str)> =
        rows.iter().map(|row| (row.sequence, row.entry.summary.as_str())).collect();
    assert_eq!(told, [(1, "one"), (2, "two"), (3, "three")]);
    assert_eq!(store.timeline(id(1), 2).await.unwrap().len(), 1);
    assert_eq!(store.verify_audit(id(1)).await.unwrap(), 3);
    assert_eq!(store.verify_audit(id(2)).await.unwrap(), 1);
}

pub(crate) async fn deadlines_come_in_order(store: FileStore) {
    assert_eq!(store.next_deadline().await.unwrap(), None);
    let due = |number, seconds| {
        let deadline = Some(at(seconds));
        Incident { deadline, ..incident(number, &format!("k{number}")) }
    };
    put(&store, &[due(1, 30), due(2, 10), due(3, 20), incident(4, "none")]).await;
    assert_eq!(store.next_deadline().await.unwrap(), Some(at(10)));
    assert_eq!(store.overdue(at(9)).await.unwrap(), []);
    assert_eq!(store.overdue(at(20)).await.unwrap(), [id(2), id(3)]);
}

pub(crate) async fn what_is_not_committed_is_gone(store: FileStore) {
    put(&store, &[incident(1, "k")]).await;
    let mut transaction = store.begin().await.unwrap();
    transaction.put_incident(&incident(2, "l"), at(2)).await.unwrap();
    transaction.append_audit(id(1), &entry("never")).await.unwrap();
    transaction.put_delivery("alertmanager", "{}", at(2)).await.unwrap();
    assert!(transaction.incident(id(2)).await.unwrap().is_some(), "it sees its own writes");
    assert!(store.incident(id(2)).await.unwrap().is_none(), "nobody else does");
    drop(transaction);
    tell(&store, id(1), &["after"]).await;
    assert!(store.incident(id(2)).await.unwrap().is_none());
    let rows = store.timeline(id(1), 0).await.unwrap();
    assert_eq!((rows.len(), rows[0].entry.summary.as_str()), (1, "after"));
}

pub(crate) async fn a_commit_is_seen_by_the_next_read(store: FileStore) {
    for number in 1..=50 {
        put(&store, &[incident(number, &format!("k{number}"))]).await;
        assert!(store.incident(id(number)).await.unwrap().is_some(), "{number}");
    }
}
