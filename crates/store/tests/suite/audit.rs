//! Timelines, and every way to edit one behind the back of the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use store::{AuditText, Store, StoreError};

use super::harness::Harness;
use super::sample::{again, batch, entry, id, incident, put, stored, tell};

pub(crate) async fn a_timeline_grows_and_verifies(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k"), incident(2, "l")]).await;
    assert_eq!(store.verify_audit(id(1)).await.unwrap(), 0);
    tell(&store, 1, &["one", "two"]).await;
    tell(&store, 2, &["other"]).await;
    tell(&store, 1, &["three"]).await;
    let rows = store.timeline(id(1), 0, 9).await.unwrap();
    let told: Vec<(i64, &str)> =
        rows.iter().map(|row| (row.sequence, row.entry.summary.as_str())).collect();
    assert_eq!(told, [(1, "one"), (2, "two"), (3, "three")]);
    assert_eq!(store.verify_audit(id(1)).await.unwrap(), 3);
    assert_eq!(store.verify_audit(id(2)).await.unwrap(), 1);
}

pub(crate) async fn a_timeline_is_read_in_pages(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k")]).await;
    let names: Vec<String> = (1..=25).map(|number| format!("row {number}")).collect();
    tell(&store, 1, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut read = Vec::new();
    while let Some(last) = read.len().checked_sub(0).filter(|read| *read < 25) {
        let page = store.timeline(id(1), i64::try_from(last).unwrap(), 10).await.unwrap();
        assert!(page.len() <= 10 && !page.is_empty());
        read.extend(page.into_iter().map(|row| row.entry.summary));
    }
    assert_eq!(read, names);
    assert!(store.timeline(id(1), 25, 10).await.unwrap().is_empty());
}

pub(crate) async fn the_end_of_the_chain_is_in_the_base(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k")]).await;
    tell(&store, 1, &["one", "two"]).await;
    let base = stored(&store, 1).await.base;
    assert_eq!((base.version, base.sequence, base.hash.len()), (2, 2, 64));
    put(&store, [incident(1, "k")]).await;
    let same = stored(&store, 1).await.base;
    assert_eq!((same.version, same.sequence, same.hash), (3, 2, base.hash), "no row was added");
}

pub(crate) async fn an_unknown_incident_has_no_timeline(h: &Harness) {
    let store = h.open().await;
    assert!(store.timeline(id(1), 0, 9).await.unwrap().is_empty());
    assert_eq!(store.verify_audit(id(1)).await.unwrap(), 0);
}

pub(crate) async fn a_long_chain_verifies(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k")]).await;
    let names: Vec<String> = (0..3_000).map(|number| number.to_string()).collect();
    tell(&store, 1, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(store.verify_audit(id(1)).await.unwrap(), 3_000);
    edited(h, |rows| rows.get_mut(&2_718).unwrap().body.push(' ')).await;
    assert_eq!(first_bad(&store).await, 2_718);
}

/// A chain of five rows.
async fn chain(h: &Harness) -> Arc<dyn Store> {
    let store = h.open().await;
    put(&store, [incident(1, "k"), incident(2, "l")]).await;
    tell(&store, 1, &["row 1", "row 2", "row 3", "row 4", "row 5"]).await;
    tell(&store, 2, &["other"]).await;
    assert_eq!(store.verify_audit(id(1)).await.unwrap(), 5);
    store
}

async fn edited(h: &Harness, edit: impl FnOnce(&mut BTreeMap<i64, AuditText>)) {
    h.edit(id(1), edit).await;
}

async fn first_bad(store: &Arc<dyn Store>) -> i64 {
    match store.verify_audit(id(1)).await {
        Err(StoreError::BrokenChain { incident, sequence }) => {
            assert_eq!(incident, id(1).to_string());
            sequence
        }
        other => panic!("the edit was not found: {other:?}"),
    }
}

/// As the store does it, which is no secret.
fn hash(previous: &str, body: &str) -> String {
    hex::encode(Sha256::new().chain_update(previous).chain_update(body).finalize())
}

/// Gives every row from `from` on the hash that fits.
fn rehash(rows: &mut BTreeMap<i64, AuditText>, from: i64) {
    let mut previous = rows.get(&(from - 1)).map_or(String::new(), |row| row.hash.clone());
    for (_, row) in rows.range_mut(from..) {
        row.hash = hash(&previous, &row.body);
        previous.clone_from(&row.hash);
    }
}

pub(crate) async fn a_changed_row_is_named(h: &Harness) {
    let store = chain(h).await;
    edited(h, |rows| rows.get_mut(&3).unwrap().body = rows[&3].body.replace("row", "raw")).await;
    assert_eq!(first_bad(&store).await, 3);
    assert_eq!(store.verify_audit(id(2)).await.unwrap(), 1, "another chain is whole");
}

pub(crate) async fn a_changed_hash_is_named(h: &Harness) {
    let store = chain(h).await;
    edited(h, |rows| rows.get_mut(&2).unwrap().hash = rows[&4].hash.clone()).await;
    assert_eq!(first_bad(&store).await, 2);
}

pub(crate) async fn an_inserted_row_is_named(h: &Harness) {
    let store = chain(h).await;
    edited(h, |rows| {
        let later = rows.split_off(&3);
        let body = rows[&2].body.replace("row 2", "forged");
        rows.insert(3, AuditText { body, hash: "forged".into() });
        rows.extend(later.into_iter().map(|(sequence, row)| (sequence + 1, row)));
    })
    .await;
    assert_eq!(first_bad(&store).await, 3);
}

pub(crate) async fn a_row_deleted_in_the_middle_is_named(h: &Harness) {
    let store = chain(h).await;
    edited(h, |rows| {
        rows.remove(&2);
    })
    .await;
    assert_eq!(first_bad(&store).await, 2);
    // Also when the rest moves up.
    edited(h, |rows| {
        let later = rows.split_off(&3);
        rows.extend(later.into_iter().map(|(sequence, row)| (sequence - 1, row)));
    })
    .await;
    assert_eq!(first_bad(&store).await, 2);
}

pub(crate) async fn deleted_last_rows_are_named(h: &Harness) {
    let store = chain(h).await;
    edited(h, |rows| {
        rows.remove(&5);
    })
    .await;
    assert_eq!(first_bad(&store).await, 5);
    edited(h, |rows| {
        rows.remove(&4);
    })
    .await;
    assert_eq!(first_bad(&store).await, 4);
}

pub(crate) async fn a_deleted_timeline_is_named(h: &Harness) {
    let store = chain(h).await;
    edited(h, BTreeMap::clear).await;
    assert_eq!(first_bad(&store).await, 1);
}

pub(crate) async fn an_appended_row_is_named_though_its_hash_fits(h: &Harness) {
    let store = chain(h).await;
    edited(h, |rows| {
        let body = rows[&5].body.replace("row 5", "forged");
        rows.insert(6, AuditText { body, hash: String::new() });
        rehash(rows, 6);
    })
    .await;
    assert_eq!(first_bad(&store).await, 6);
}

pub(crate) async fn swapped_rows_are_named(h: &Harness) {
    let store = chain(h).await;
    edited(h, |rows| {
        let (two, four) = (rows[&2].clone(), rows[&4].clone());
        rows.insert(2, four);
        rows.insert(4, two);
    })
    .await;
    assert_eq!(first_bad(&store).await, 2);
}

pub(crate) async fn a_chain_that_was_made_anew_does_not_fit_its_incident(h: &Harness) {
    let store = chain(h).await;
    edited(h, |rows| {
        rows.get_mut(&2).unwrap().body = rows[&2].body.replace("row 2", "forged");
        rehash(rows, 2);
    })
    .await;
    assert_eq!(first_bad(&store).await, 5, "no row contradicts another: the end is wrong");
}

pub(crate) async fn a_broken_chain_stays_broken_and_stops_nobody(h: &Harness) {
    let store = chain(h).await;
    edited(h, |rows| rows.get_mut(&4).unwrap().body.push(' ')).await;
    tell(&store, 1, &["row 6"]).await;
    tell(&store, 2, &["another"]).await;
    assert_eq!(first_bad(&store).await, 4);
    assert_eq!(store.verify_audit(id(2)).await.unwrap(), 2);
    assert_eq!(store.timeline(id(1), 0, 9).await.unwrap().len(), 6);
}

pub(crate) async fn a_chain_goes_on_after_a_restart(h: &Harness) {
    let store = chain(h).await;
    let store = h.restart(store).await;
    let mut write = again(&stored(&store, 1).await);
    write.entries.push(entry("row 6"));
    store.commit(batch([write])).await.unwrap();
    assert_eq!(store.verify_audit(id(1)).await.unwrap(), 6);
}

pub(crate) async fn a_reader_beside_the_store_sees_the_same(h: &Harness) {
    let store = chain(h).await;
    let reader = h.reader().await;
    let (one, two) = (id(1).to_string(), id(2).to_string());
    assert_eq!(reader.incidents("", 9).await.unwrap(), [one.clone(), two.clone()]);
    assert_eq!(reader.incidents("", 1).await.unwrap(), std::slice::from_ref(&one));
    assert_eq!(reader.incidents(&one, 9).await.unwrap(), std::slice::from_ref(&two));
    assert!(reader.incidents(&two, 9).await.unwrap().is_empty());
    assert_eq!(reader.verify(&one).await.unwrap(), 5);
    tell(&store, 1, &["row 6"]).await;
    assert_eq!(reader.verify(&one).await.unwrap(), 6, "what is written meanwhile too");
    edited(h, |rows| {
        rows.remove(&6);
    })
    .await;
    let named = reader.verify(&one).await;
    assert!(matches!(named, Err(StoreError::BrokenChain { sequence: 6, .. })), "{named:?}");
    assert_eq!(reader.verify(&two).await.unwrap(), 1);
    reader.close().await;
}

pub(crate) async fn a_timeline_without_its_incident_is_found(h: &Harness) {
    let _store = chain(h).await;
    let reader = h.reader().await;
    assert!(reader.orphans(9).await.unwrap().is_empty());
    h.delete_alone(id(1)).await;
    assert_eq!(reader.orphans(9).await.unwrap(), [(id(1).to_string(), 1)]);
    assert_eq!(reader.incidents("", 9).await.unwrap(), [id(2).to_string()]);
    reader.close().await;
}
