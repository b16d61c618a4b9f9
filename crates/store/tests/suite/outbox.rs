//! Effects that wait: claimed, confirmed, put off, given up and replayed.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use store::{NewEffect, OutboxEnd, Store};

use super::harness::Harness;
use super::sample::{
    LATE, again, at, batch, buried, claim, effect, ends, finished, id, incident, incident_ids,
    push, put, refused, row_ids, stored,
};

/// Two incidents, and effects of them.
async fn with(h: &Harness, effects: &[(u128, &'static str)]) -> Arc<dyn Store> {
    let store = h.open().await;
    put(&store, [incident(1, "k"), incident(2, "l")]).await;
    push(&store, effects).await;
    store
}

pub(crate) async fn rows_come_in_the_order_of_their_kind_until_finished(h: &Harness) {
    let store = with(h, &[(2, "resolve"), (1, "ticket"), (1, "resolve")]).await;
    let rows = claim(&store, "resolve").await;
    assert_eq!(incident_ids(&rows), [id(2), id(1)]);
    let first = &rows[0];
    assert_eq!((first.round, first.attempt, first.tries), (1, 0, 0));
    assert_eq!((first.kind.as_str(), first.last), ("resolve", first.id));
    assert!(rows[0].id < rows[1].id);
    store.commit(finished(&rows[0])).await.unwrap();
    store.release_outbox(vec![rows[1].id]).await.unwrap();
    assert_eq!(incident_ids(&claim(&store, "resolve").await), [id(1)]);
    assert_eq!(claim(&store, "ticket").await.len(), 1);
    assert!(claim(&store, "none").await.is_empty());
}

pub(crate) async fn effects_of_one_write_keep_their_order_and_round(h: &Harness) {
    let store = with(h, &[]).await;
    let mut write = again(&stored(&store, 1).await);
    for round in 1..=3 {
        write.effects.push(NewEffect { kind: "resolve", round, not_before: at(0) });
    }
    store.commit(batch([write])).await.unwrap();
    let rows = claim(&store, "resolve").await;
    assert_eq!(rows.iter().map(|row| row.round).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(row_ids(&rows).is_sorted());
    assert!(rows.iter().all(|row| row.last == rows[2].id), "the newest of the incident");
}

pub(crate) async fn a_claim_takes_no_more_than_its_limit(h: &Harness) {
    let store = with(h, &[(1, "resolve"), (2, "resolve"), (1, "resolve")]).await;
    let first = store.claim_outbox("resolve", at(0), 2, false).await.unwrap();
    let rest = store.claim_outbox("resolve", at(0), 2, false).await.unwrap();
    assert_eq!((first.len(), rest.len()), (2, 1));
    assert!(first[1].id < rest[0].id, "oldest first");
    assert!(claim(&store, "resolve").await.is_empty(), "a claimed row is not claimed again");
    assert!(store.claim_outbox("resolve", at(0), 0, false).await.unwrap().is_empty());
}

pub(crate) async fn racing_claims_take_each_row_once(h: &Harness) {
    let store = with(h, &[]).await;
    push(&store, &[(1, "resolve"); 30]).await;
    let claims = (0..10).map(|_| store.claim_outbox("resolve", at(0), 4, false));
    let claimed: Vec<i64> =
        join_all(claims).await.into_iter().flat_map(|rows| row_ids(&rows.unwrap())).collect();
    let distinct: BTreeSet<i64> = claimed.iter().copied().collect();
    assert_eq!((claimed.len(), distinct.len()), (30, 30));
}

pub(crate) async fn one_each_takes_the_oldest_row_of_an_incident(h: &Harness) {
    let store = with(h, &[(1, "ticket"), (1, "ticket"), (2, "ticket"), (1, "ticket")]).await;
    let rows = store.claim_outbox("ticket", at(0), 9, true).await.unwrap();
    assert_eq!(incident_ids(&rows), [id(1), id(2)]);
    assert_eq!(rows[0].last, rows[0].id + 3, "the newest of its incident");
    assert_eq!(rows[1].last, rows[1].id);
}

pub(crate) async fn one_each_waits_for_the_row_that_is_claimed(h: &Harness) {
    let store = with(h, &[(1, "ticket"), (1, "ticket"), (2, "ticket"), (1, "resolve")]).await;
    let one_each = |kind| store.claim_outbox(kind, at(0), 1, true);
    let first = one_each("ticket").await.unwrap();
    assert_eq!(incident_ids(&first), [id(1)]);
    assert_eq!(incident_ids(&one_each("ticket").await.unwrap()), [id(2)]);
    assert!(one_each("ticket").await.unwrap().is_empty());
    assert_eq!(one_each("resolve").await.unwrap().len(), 1, "another kind does not wait");
    store.commit(finished(&first[0])).await.unwrap();
    let second = one_each("ticket").await.unwrap();
    assert_eq!(incident_ids(&second), [id(1)]);
    assert!(second[0].id > first[0].id);
}

pub(crate) async fn a_finished_row_ends_those_it_serves_too(h: &Harness) {
    let store = with(h, &[(1, "ticket"), (1, "ticket"), (2, "ticket"), (1, "resolve")]).await;
    let row = store.claim_outbox("ticket", at(0), 1, true).await.unwrap().remove(0);
    push(&store, &[(1, "ticket")]).await;
    let end = OutboxEnd::Finished { id: row.id, last: row.last };
    store.commit(ends(end)).await.unwrap();
    let left = claim(&store, "ticket").await;
    assert_eq!(incident_ids(&left), [id(2), id(1)], "what came later is not served");
    assert!(left[1].id > row.last);
    assert_eq!(claim(&store, "resolve").await.len(), 1);
}

pub(crate) async fn a_finished_row_leaves_claimed_ones_alone(h: &Harness) {
    let store = with(h, &[(1, "ticket"), (1, "ticket")]).await;
    let rows = claim(&store, "ticket").await;
    let end = OutboxEnd::Finished { id: rows[0].id, last: rows[1].id };
    store.commit(ends(end)).await.unwrap();
    store.commit(finished(&rows[1])).await.unwrap();
}

pub(crate) async fn a_delayed_row_waits_and_counts_definite_failures(h: &Harness) {
    let store = with(h, &[(1, "resolve"), (2, "resolve")]).await;
    let claim_at = async |seconds| {
        let rows = store.claim_outbox("resolve", at(seconds), 9, false).await.unwrap();
        rows.into_iter().find(|row| row.incident_id == id(1))
    };
    let first = claim_at(0).await.unwrap();
    store.delay_outbox(first.id, false, "away".into(), at(10)).await.unwrap();
    assert!(claim_at(9).await.is_none());
    let again = claim_at(10).await.unwrap();
    assert_eq!((again.id, again.attempt, again.tries), (first.id, 0, 1));
    store.delay_outbox(first.id, true, "refused".into(), at(20)).await.unwrap();
    let again = claim_at(20).await.unwrap();
    assert_eq!((again.attempt, again.tries), (1, 2));
}

pub(crate) async fn the_next_row_to_fall_due_is_known(h: &Harness) {
    let store = with(h, &[(1, "resolve"), (2, "resolve"), (1, "ticket")]).await;
    assert_eq!(store.next_outbox(at(0)).await.unwrap(), None, "what is due does not fall due");
    let rows = claim(&store, "resolve").await;
    store.delay_outbox(rows[0].id, false, "away".into(), at(30)).await.unwrap();
    store.delay_outbox(rows[1].id, false, "away".into(), at(20)).await.unwrap();
    assert_eq!(store.next_outbox(at(0)).await.unwrap(), Some(at(20)));
    assert_eq!(store.next_outbox(at(20)).await.unwrap(), Some(at(30)));
    assert_eq!(store.next_outbox(at(30)).await.unwrap(), None);
    assert_eq!(store.claim_outbox("resolve", at(20), 9, false).await.unwrap().len(), 1);
    assert_eq!(store.next_outbox(at(0)).await.unwrap(), Some(at(30)), "a claimed row is at work");
}

pub(crate) async fn an_effect_for_later_waits(h: &Harness) {
    let store = with(h, &[]).await;
    let mut write = again(&stored(&store, 1).await);
    write.effects.push(NewEffect { not_before: at(60), ..effect("verify") });
    store.commit(batch([write])).await.unwrap();
    assert!(store.claim_outbox("verify", at(59), 9, false).await.unwrap().is_empty());
    assert_eq!(store.next_outbox(at(0)).await.unwrap(), Some(at(60)));
    assert_eq!(store.claim_outbox("verify", at(60), 9, false).await.unwrap().len(), 1);
}

pub(crate) async fn released_rows_come_back_as_they_were(h: &Harness) {
    let store = with(h, &[(1, "resolve"), (2, "resolve")]).await;
    let rows = claim(&store, "resolve").await;
    let mut claimed = store.claimed_outbox("resolve").await.unwrap();
    claimed.sort_unstable();
    assert_eq!(claimed, row_ids(&rows), "what it has is known without the answer of the claim");
    assert!(store.claimed_outbox("diagnose").await.unwrap().is_empty());
    store.release_outbox(row_ids(&rows)).await.unwrap();
    assert!(store.claimed_outbox("resolve").await.unwrap().is_empty());
    assert_eq!(claim(&store, "resolve").await, rows);
    store.release_outbox(vec![4_711]).await.unwrap();
    store.release_outbox(Vec::new()).await.unwrap();
}

pub(crate) async fn only_a_claimed_row_is_ended_or_delayed(h: &Harness) {
    let store = with(h, &[(1, "resolve")]).await;
    let row = claim(&store, "resolve").await.remove(0);
    store.release_outbox(vec![row.id]).await.unwrap();
    refused!(store.commit(finished(&row)).await, Lost);
    refused!(store.commit(buried(&row, "never")).await, Lost);
    refused!(store.delay_outbox(row.id, true, "away".into(), at(9)).await, Lost);
    assert!(store.dead_letters(9, None).await.unwrap().is_empty());
    assert_eq!(claim(&store, "resolve").await, [row]);
}

pub(crate) async fn a_row_ends_once(h: &Harness) {
    let store = with(h, &[(1, "resolve"), (1, "resolve")]).await;
    let rows = claim(&store, "resolve").await;
    store.commit(finished(&rows[0])).await.unwrap();
    refused!(store.commit(finished(&rows[0])).await, Lost);
    refused!(store.commit(buried(&rows[0], "never")).await, Lost);
    store.commit(buried(&rows[1], "never")).await.unwrap();
    refused!(store.commit(buried(&rows[1], "never")).await, Lost);
    refused!(store.delay_outbox(rows[1].id, true, "away".into(), at(9)).await, Lost);
    assert_eq!(store.dead_letters(9, None).await.unwrap().len(), 1);
}

pub(crate) async fn a_result_and_the_end_of_its_row_are_one(h: &Harness) {
    let store = with(h, &[(1, "resolve")]).await;
    let stale = again(&stored(&store, 1).await);
    put(&store, [incident(1, "k")]).await;
    let row = claim(&store, "resolve").await.remove(0);
    let with_result = |write| store::Batch { incidents: vec![write], ..finished(&row) };
    refused!(store.commit(with_result(stale)).await, Conflict);
    let fresh = again(&stored(&store, 1).await);
    store.commit(with_result(fresh)).await.unwrap();
    let version = stored(&store, 1).await.base.version;
    let late = again(&stored(&store, 1).await);
    refused!(store.commit(with_result(late)).await, Lost);
    assert_eq!(stored(&store, 1).await.base.version, version, "nothing of it is stored");
}

pub(crate) async fn a_buried_row_is_a_dead_letter(h: &Harness) {
    let store = with(h, &[(1, "resolve")]).await;
    let row = claim(&store, "resolve").await.remove(0);
    store.delay_outbox(row.id, true, "refused".into(), at(5)).await.unwrap();
    let row = claim(&store, "resolve").await.remove(0);
    store.commit(buried(&row, "it's no use")).await.unwrap();
    assert!(claim(&store, "resolve").await.is_empty());
    let letter = store.dead_letters(9, None).await.unwrap().remove(0);
    assert_eq!((letter.incident_id, letter.kind.as_str()), (id(1), "resolve"));
    assert_eq!((letter.round, letter.attempt, letter.died_at), (1, 1, at(3)));
    assert_eq!(letter.error, "it's no use");
}

pub(crate) async fn a_dead_letter_is_replayed_once(h: &Harness) {
    let store = with(h, &[(1, "resolve")]).await;
    let row = claim(&store, "resolve").await.remove(0);
    store.delay_outbox(row.id, true, "refused".into(), at(5)).await.unwrap();
    let row = claim(&store, "resolve").await.remove(0);
    store.commit(buried(&row, "never")).await.unwrap();
    let letter = store.dead_letters(9, None).await.unwrap().remove(0);
    let replays = (0..3).map(|_| store.replay_dead_letter(letter.id, at(50)));
    let replayed: Vec<_> = join_all(replays).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(replayed.as_slice(), std::slice::from_ref(&letter));
    assert_eq!(store.replay_dead_letter(letter.id, at(50)).await.unwrap(), None);
    assert!(store.dead_letters(9, None).await.unwrap().is_empty());
    assert!(store.claim_outbox("resolve", at(49), 9, false).await.unwrap().is_empty());
    let again = store.claim_outbox("resolve", at(50), 9, false).await.unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].incident_id, again[0].round), (id(1), 1));
    assert_eq!((again[0].attempt, again[0].tries), (0, 0));
    assert!(again[0].id > row.id, "an id means one row for ever");
}

pub(crate) async fn dead_letters_are_listed_newest_first_and_in_pages(h: &Harness) {
    let store = with(h, &[(1, "resolve"); 5]).await;
    for (row, error) in claim(&store, "resolve").await.iter().zip(["1", "2", "3", "4", "5"]) {
        store.commit(buried(row, error)).await.unwrap();
    }
    let first = store.dead_letters(2, None).await.unwrap();
    let rest = store.dead_letters(9, Some(first[1].id)).await.unwrap();
    let errors: Vec<&str> = first.iter().chain(&rest).map(|one| one.error.as_str()).collect();
    assert_eq!(errors, ["5", "4", "3", "2", "1"]);
    let newest = first[0].id;
    store.replay_dead_letter(newest, at(LATE)).await.unwrap().unwrap();
    let row = claim(&store, "resolve").await.remove(0);
    store.commit(buried(&row, "6")).await.unwrap();
    let letter = store.dead_letters(1, None).await.unwrap().remove(0);
    assert!(letter.id > newest, "an id means one letter for ever");
}

pub(crate) async fn a_process_that_ends_gives_its_rows_back(h: &Harness) {
    let store = with(h, &[(1, "resolve"), (2, "resolve")]).await;
    let rows = claim(&store, "resolve").await;
    store.commit(finished(&rows[0])).await.unwrap();
    let store = h.restart(store).await;
    assert_eq!(claim(&store, "resolve").await, rows[1..]);
}

pub(crate) async fn the_rows_of_a_killed_process_are_free_for_the_next(h: &Harness) {
    let store = with(h, &[(1, "resolve"), (2, "resolve")]).await;
    let rows = claim(&store, "resolve").await;
    h.kill(store);
    let store = h.open().await;
    assert_eq!(claim(&store, "resolve").await, rows, "at once: it is proven dead");
    store.commit(finished(&rows[0])).await.unwrap();
}
