//! Several replicas of one agent: leases, claims that are taken over, and who is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use store::{Batch, Claim, OutboxRow, Store};

use super::harness::{Harness, LONG};
use super::sample::{
    again, at, batch, buried, claim, effect, entry, finished, first, id, incident, is_conflict,
    push, put, refused, row_ids, stored,
};

async fn two_with(
    h: &Harness,
    effects: &[(u128, &'static str)],
) -> (Arc<dyn Store>, Arc<dyn Store>) {
    let (one, two) = h.two().await;
    put(&one, [incident(1, "k"), incident(2, "l")]).await;
    push(&one, effects).await;
    (one, two)
}

async fn claim_if_free(store: &Arc<dyn Store>) -> Option<Vec<OutboxRow>> {
    Some(claim(store, "resolve").await).filter(|rows| !rows.is_empty())
}

pub(crate) async fn racing_replicas_claim_each_row_once(h: &Harness) {
    let (one, two) = two_with(h, &[]).await;
    for _ in 0..10 {
        let mut write = again(&stored(&one, 1).await);
        write.effects = vec![effect("resolve"); 20];
        one.commit(batch([write])).await.unwrap();
    }
    let take = async |store: &Arc<dyn Store>| {
        let mut taken = Vec::new();
        loop {
            let rows = store.claim_outbox("resolve", at(0), 7, false).await.unwrap();
            if rows.is_empty() {
                return taken;
            }
            assert!(rows.len() <= 7);
            taken.extend(row_ids(&rows));
        }
    };
    let (first, second) = join(take(&one), take(&two)).await;
    let mut all: BTreeSet<i64> = first.iter().chain(&second).copied().collect();
    // A row that both looked at in one moment may have been passed over by the one who got none.
    all.extend(row_ids(&claim(&one, "resolve").await));
    assert_eq!(all.len(), 200, "none is lost");
    assert!(first.len() + second.len() <= 200, "none is taken twice");
    assert!(first.iter().all(|id| !second.contains(id)));
}

pub(crate) async fn the_row_of_a_living_replica_stays_its_own(h: &Harness) {
    let (one, two) = two_with(h, &[(1, "resolve")]).await;
    let row = claim(&one, "resolve").await.remove(0);
    assert!(claim(&two, "resolve").await.is_empty());
    refused!(two.commit(finished(&row)).await, Lost);
    refused!(two.commit(buried(&row, "never")).await, Lost);
    refused!(two.delay_outbox(row.id, true, "away".into(), at(9)).await, Lost);
    two.release_outbox(vec![row.id]).await.unwrap();
    assert!(claim(&two, "resolve").await.is_empty(), "it is not his to release");
    one.commit(finished(&row)).await.unwrap();
}

pub(crate) async fn a_lease_that_runs_out_frees_its_rows(h: &Harness) {
    let (one, two) = two_with(h, &[(1, "resolve"), (2, "resolve")]).await;
    let rows = claim(&one, "resolve").await;
    let taken = h.when_lost(&one, async || claim_if_free(&two).await).await;
    assert_eq!(taken, rows);
    two.commit(finished(&rows[0])).await.unwrap();
}

pub(crate) async fn a_replica_that_wakes_late_can_end_nothing(h: &Harness) {
    let (one, two) = two_with(h, &[(1, "resolve")]).await;
    let row = claim(&one, "resolve").await.remove(0);
    let decided_on = stored(&one, 1).await;
    h.when_lost(&one, async || claim_if_free(&two).await).await;
    let late = Batch { incidents: vec![again(&decided_on)], ..finished(&row) };
    refused!(one.commit(late).await, Lost);
    refused!(one.commit(buried(&row, "never")).await, Lost);
    refused!(one.delay_outbox(row.id, true, "away".into(), at(9)).await, Lost);
    one.release_outbox(vec![row.id]).await.unwrap();
    assert_eq!(stored(&two, 1).await.base, decided_on.base, "nothing of it is stored");
    assert!(two.dead_letters(9, None).await.unwrap().is_empty());
    two.commit(finished(&row)).await.unwrap();
}

pub(crate) async fn a_late_heartbeat_is_lost_and_begins_anew(h: &Harness) {
    let (one, two) = two_with(h, &[(1, "resolve")]).await;
    let row = claim(&one, "resolve").await.remove(0);
    h.when_lost(&one, async || claim_if_free(&two).await).await;
    refused!(one.heartbeat(LONG).await, Lost);
    refused!(one.commit(finished(&row)).await, Lost);
    one.heartbeat(LONG).await.unwrap();
    push(&one, &[(2, "resolve")]).await;
    let own = claim(&one, "resolve").await;
    assert_eq!(own.len(), 1, "it has a lease again");
    assert!(claim(&two, "resolve").await.is_empty());
    one.commit(finished(&own[0])).await.unwrap();
    two.commit(finished(&row)).await.unwrap();
}

pub(crate) async fn a_replica_whose_lease_ran_out_unseen_has_lost_its_rows(h: &Harness) {
    let (one, two) = two_with(h, &[(1, "resolve"), (2, "ticket")]).await;
    let row = claim(&one, "resolve").await.remove(0);
    // Seen by another in something else: the row itself is not taken by anybody.
    assert_eq!(one.claim("name".into()).await.unwrap(), Claim::Held);
    h.when_lost(&one, async || {
        (two.claim("name".into()).await.unwrap() == Claim::Held).then_some(())
    })
    .await;
    refused!(one.heartbeat(LONG).await, Lost);
    refused!(one.commit(finished(&row)).await, Lost);
    assert_eq!(claim(&two, "resolve").await, [row]);
}

pub(crate) async fn heartbeats_keep_a_lease(h: &Harness) {
    let (one, two) = two_with(h, &[(1, "resolve")]).await;
    let row = claim(&one, "resolve").await.remove(0);
    // Together longer than the lease that each of them gives.
    for _ in 0..6 {
        one.heartbeat(Duration::from_secs(5)).await.unwrap();
        h.pass(Duration::from_secs(1)).await;
        assert!(claim(&two, "resolve").await.is_empty());
    }
    one.commit(finished(&row)).await.unwrap();
}

pub(crate) async fn a_replica_that_ends_gives_its_rows_to_the_other(h: &Harness) {
    let (one, two) = two_with(h, &[(1, "resolve")]).await;
    let rows = claim(&one, "resolve").await;
    assert_eq!(one.claim("name".into()).await.unwrap(), Claim::Held);
    one.close().await;
    assert_eq!(claim(&two, "resolve").await, rows);
    assert_eq!(two.claim("name".into()).await.unwrap(), Claim::Held);
    refused!(one.commit(finished(&rows[0])).await, Closed);
}

pub(crate) async fn a_dead_replica_is_not_waited_for(h: &Harness) {
    let (one, two) = two_with(h, &[(1, "resolve"), (2, "resolve")]).await;
    let first = one.claim_outbox("resolve", at(0), 1, false).await.unwrap();
    let second = two.claim_outbox("resolve", at(0), 1, false).await.unwrap();
    h.kill(one);
    let next = h.open().await;
    assert_eq!(claim(&next, "resolve").await, first, "what the dead one had, at once");
    two.commit(finished(&second[0])).await.unwrap();
}

pub(crate) async fn one_each_holds_for_all_replicas_together(h: &Harness) {
    let (one, two) = two_with(h, &[(1, "ticket"), (1, "ticket"), (1, "ticket")]).await;
    let one_each = |store: &Arc<dyn Store>| {
        let store = store.clone();
        async move { store.claim_outbox("ticket", at(0), 9, true).await.unwrap() }
    };
    for left in [3, 2, 1] {
        let claims = join_all([one_each(&one), one_each(&two), one_each(&one)]).await;
        let claimed: Vec<(usize, OutboxRow)> = (claims.into_iter().enumerate())
            .flat_map(|(who, rows)| rows.into_iter().map(move |row| (who, row)))
            .collect();
        assert_eq!(claimed.len(), 1, "{left} left");
        let owner = if claimed[0].0 == 1 { &two } else { &one };
        owner.commit(finished(&claimed[0].1)).await.unwrap();
    }
    assert!(one_each(&one).await.is_empty());
}

pub(crate) async fn a_dead_letter_is_replayed_by_one_replica(h: &Harness) {
    let (one, two) = two_with(h, &[(1, "resolve")]).await;
    let row = claim(&one, "resolve").await.remove(0);
    one.commit(buried(&row, "never")).await.unwrap();
    let letter = two.dead_letters(9, None).await.unwrap().remove(0);
    let replays = [&one, &two].map(|store| store.replay_dead_letter(letter.id, at(50)));
    let replayed = join_all(replays).await;
    assert_eq!(replayed.iter().filter(|one| matches!(one, Ok(Some(_)))).count(), 1);
    assert_eq!(claim(&one, "resolve").await.len(), 1);
}

pub(crate) async fn an_effect_is_hinted_to_the_other(h: &Harness) {
    let (one, two) = two_with(h, &[]).await;
    let (hint, ()) = join(
        tokio::time::timeout(Duration::from_secs(20), two.hint()),
        push(&one, &[(1, "resolve")]),
    )
    .await;
    hint.unwrap();
    assert_eq!(claim(&two, "resolve").await.len(), 1);
}

pub(crate) async fn a_name_is_claimed_until_it_is_given_back(h: &Harness) {
    let store = h.open().await;
    for _ in 0..2 {
        assert_eq!(store.claim("reconcile".into()).await.unwrap(), Claim::Held);
    }
    store.unclaim("reconcile".into()).await.unwrap();
    store.unclaim("reconcile".into()).await.unwrap();
    assert_eq!(store.claim("reconcile".into()).await.unwrap(), Claim::Held);
    let store = h.restart(store).await;
    assert_eq!(store.claim("reconcile".into()).await.unwrap(), Claim::Held);
    store.heartbeat(LONG).await.unwrap();
    h.kill(store);
    assert_eq!(h.open().await.claim("reconcile".into()).await.unwrap(), Claim::Held);
}

pub(crate) async fn a_name_has_one_replica(h: &Harness) {
    let (one, two) = h.two().await;
    assert_eq!(one.claim("reconcile".into()).await.unwrap(), Claim::Held);
    assert_eq!(two.claim("reconcile".into()).await.unwrap(), Claim::Busy);
    assert_eq!(two.claim("another".into()).await.unwrap(), Claim::Held);
    two.unclaim("reconcile".into()).await.unwrap();
    assert_eq!(two.claim("reconcile".into()).await.unwrap(), Claim::Busy, "it is not his to give");
    one.unclaim("reconcile".into()).await.unwrap();
    assert_eq!(two.claim("reconcile".into()).await.unwrap(), Claim::Held);
    assert_eq!(one.claim("reconcile".into()).await.unwrap(), Claim::Busy);
}

pub(crate) async fn racing_replicas_get_a_name_once(h: &Harness) {
    let (one, two) = h.two().await;
    for round in 0..20 {
        let name = format!("name-{round}");
        let claims = join_all([&one, &two].map(|store| store.claim(name.clone()))).await;
        let held = claims.iter().filter(|claim| matches!(claim, Ok(Claim::Held))).count();
        let busy = claims.iter().filter(|claim| matches!(claim, Ok(Claim::Busy))).count();
        assert_eq!((held, busy), (1, 1));
    }
}

pub(crate) async fn a_name_is_free_when_the_lease_has_run_out(h: &Harness) {
    let (one, two) = h.two().await;
    assert_eq!(one.claim("reconcile".into()).await.unwrap(), Claim::Held);
    h.when_lost(&one, async || {
        (two.claim("reconcile".into()).await.unwrap() == Claim::Held).then_some(())
    })
    .await;
    refused!(one.heartbeat(LONG).await, Lost);
    assert_eq!(one.claim("reconcile".into()).await.unwrap(), Claim::Busy);
}

pub(crate) async fn agents_have_tables_of_their_own(h: &Harness) {
    let (one, other) = (h.open().await, h.open_as("another-agent").await);
    put(&one, [incident(1, "k")]).await;
    push(&one, &[(1, "resolve")]).await;
    one.lock_target("db-1".into(), "t-1".into()).await.unwrap();
    assert_eq!(one.claim("name".into()).await.unwrap(), Claim::Held);
    assert!(other.incident(id(1)).await.unwrap().is_none());
    assert!(claim(&other, "resolve").await.is_empty());
    assert!(other.locked_targets().await.unwrap().is_empty());
    assert_eq!(other.claim("name".into()).await.unwrap(), Claim::Held);
    put(&other, [incident(1, "k")]).await;
    assert_eq!(stored(&other, 1).await.base.version, 1);
}

pub(crate) async fn a_closed_store_takes_nothing(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k")]).await;
    let write = again(&stored(&store, 1).await);
    store.close().await;
    store.close().await;
    store.commit(batch([write])).await.unwrap_err();
    store.incident(id(1)).await.unwrap_err();
    assert_eq!(stored(&h.restart(store).await, 1).await.base.version, 1);
}

pub(crate) async fn writes_of_every_kind_at_once_have_their_own_answers(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k"), incident(2, "l")]).await;
    push(&store, &[(1, "resolve"), (2, "resolve")]).await;
    let rows = claim(&store, "resolve").await;
    let stale = again(&stored(&store, 2).await);
    put(&store, [incident(2, "l")]).await;
    let fresh = again(&stored(&store, 1).await);
    let approve = || store.put_approval("hash".into(), true, "ana".into(), at(0));
    let (committed, conflict, delayed, lost, decided, again, locked, fence) = futures::join!(
        store.commit(batch([fresh])),
        store.commit(batch([stale])),
        store.delay_outbox(rows[0].id, true, "away".into(), at(9)),
        store.record_executor("c-1".into(), serde_json::json!(7)),
        approve(),
        approve(),
        store.lock_target("db-1".into(), "t-1".into()),
        store.raise_fence("db-1".into(), 3),
    );
    refused!(conflict, Conflict);
    refused!(lost, Lost);
    assert_eq!(usize::from(decided.is_ok()) + usize::from(again.is_ok()), 1);
    refused!(decided.and(again), Exists);
    committed.and(delayed).unwrap();
    assert_eq!(locked.unwrap(), store::TargetLock::Held { token: 1 });
    assert_eq!(fence.unwrap(), 3);
    assert_eq!(
        (stored(&store, 1).await.base.version, stored(&store, 2).await.base.version),
        (3, 3)
    );
}

pub(crate) async fn a_caller_that_goes_away_leaves_all_or_nothing(h: &Harness) {
    let store = h.open().await;
    for number in 1..=30 {
        let key = number.to_string();
        let mut write = first(incident(number, &key));
        write.entries.push(entry("opened"));
        write.effects.push(effect("resolve"));
        let mut commit = store.commit(batch([write.clone()]));
        for _ in 0..number % 6 {
            if futures::poll!(&mut commit).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(commit);
        // Whoever comes again either finds it, or does it.
        let again = store.commit(batch([write])).await;
        assert!(again.is_ok() || is_conflict(&again), "{again:?}");
        let base = stored(&store, number).await.base;
        assert_eq!((base.version, base.sequence), (1, 1));
        assert_eq!(store.verify_audit(id(number)).await.unwrap(), 1);
    }
    assert_eq!(claim(&store, "resolve").await.len(), 30);
}
