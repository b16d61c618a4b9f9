//! Effects that wait.

use store::{FileStore, OutboxRow};

use super::sample::{at, id, incident, put};

/// Commits rows `(incident, kind)` and returns nothing: their order is their id.
async fn push(store: &FileStore, rows: &[(u128, &str)]) {
    let mut transaction = store.begin().await.unwrap();
    for (number, kind) in rows {
        transaction.push_outbox(id(*number), kind, 1, at(0)).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

async fn two_incidents(store: &FileStore) {
    put(store, &[incident(1, "k"), incident(2, "l")]).await;
}

fn incidents(rows: &[OutboxRow]) -> Vec<incident::IncidentId> {
    rows.iter().map(|row| row.incident_id).collect()
}

pub(crate) async fn rows_come_in_order_of_kind_until_finished(store: FileStore) {
    two_incidents(&store).await;
    push(&store, &[(2, "resolve"), (1, "ticket"), (1, "resolve")]).await;
    let rows = store.due_outbox("resolve", at(0), 9).await.unwrap();
    assert_eq!(incidents(&rows), [id(2), id(1)]);
    assert_eq!((rows[0].round, rows[0].attempt, rows[0].kind.as_str()), (1, 0, "resolve"));
    assert_eq!(store.due_outbox("resolve", at(0), 1).await.unwrap().len(), 1);
    let mut transaction = store.begin().await.unwrap();
    transaction.finish_outbox(rows[0].id).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(incidents(&store.due_outbox("resolve", at(0), 9).await.unwrap()), [id(1)]);
    assert_eq!(store.due_outbox("ticket", at(0), 9).await.unwrap().len(), 1);
}

pub(crate) async fn the_oldest_row_of_each_incident_comes_first(store: FileStore) {
    two_incidents(&store).await;
    push(&store, &[(1, "ticket"), (1, "ticket"), (1, "ticket"), (2, "ticket")]).await;
    let rows = store.due_outbox_by_incident("ticket", at(0), 9).await.unwrap();
    assert_eq!(incidents(&rows), [id(1), id(2)]);
    let all = store.due_outbox("ticket", at(0), 9).await.unwrap();
    assert_eq!((rows[0].id, rows[1].id), (all[0].id, all[3].id));
}

pub(crate) async fn a_delayed_row_waits_and_counts_definite_failures(store: FileStore) {
    two_incidents(&store).await;
    push(&store, &[(1, "resolve"), (2, "resolve")]).await;
    let first = store.due_outbox("resolve", at(0), 1).await.unwrap().remove(0);
    store.delay_outbox(first.id, false, "away", at(10)).await.unwrap();
    assert_eq!(incidents(&store.due_outbox("resolve", at(9), 9).await.unwrap()), [id(2)]);
    let next = store.next_outbox(at(5)).await.unwrap();
    assert_eq!(next, Some(at(10)), "a row that is due does not hide the one that will be");
    let again = store.due_outbox("resolve", at(10), 1).await.unwrap().remove(0);
    assert_eq!((again.id, again.attempt, again.tries), (first.id, 0, 1));
    store.delay_outbox(first.id, true, "refused", at(20)).await.unwrap();
    let again = store.due_outbox("resolve", at(20), 1).await.unwrap().remove(0);
    assert_eq!((again.attempt, again.tries), (1, 2));
    assert_eq!(store.next_outbox(at(20)).await.unwrap(), None);
}

pub(crate) async fn a_buried_row_is_a_dead_letter(store: FileStore) {
    two_incidents(&store).await;
    push(&store, &[(1, "resolve")]).await;
    let row = store.due_outbox("resolve", at(0), 1).await.unwrap().remove(0);
    let mut transaction = store.begin().await.unwrap();
    transaction.bury_outbox(&row, "never", at(3)).await.unwrap();
    transaction.commit().await.unwrap();
    assert!(store.due_outbox("resolve", at(9), 9).await.unwrap().is_empty());
    let dead = store.dead_letters(9).await.unwrap();
    assert_eq!(dead, [(id(1).to_string(), "resolve".to_owned(), "never".to_owned())]);
}

pub(crate) async fn an_uncommitted_effect_is_not_performed(store: FileStore) {
    two_incidents(&store).await;
    let mut transaction = store.begin().await.unwrap();
    transaction.push_outbox(id(1), "resolve", 1, at(0)).await.unwrap();
    drop(transaction);
    assert!(store.due_outbox("resolve", at(9), 9).await.unwrap().is_empty());
}
