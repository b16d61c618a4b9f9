//! Several replicas of ingress on one database, with the same agents.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use jiff::SignedDuration;
use serde_json::Value;
use service::Clock;
use store::{Fault, Faults, MemoryDatabase, OpenOptions, Replica, Store};

use super::sample::{alert, body, firing, resolved};
use super::world::{PATIENCE, World};

/// Two replicas, the database they share, and its clock.
struct Pair {
    a: World,
    b: World,
    database: MemoryDatabase,
    /// Seconds by which the database's clock is ahead.
    ahead: Arc<AtomicI64>,
    /// No sign of life comes from `a`.
    is_frozen: Arc<AtomicBool>,
}

impl Pair {
    /// Replicas whose leases outlast the test, unless the clock is moved.
    async fn new() -> Self {
        let settings = World::alone(|config| {
            config.lease_seconds = 3_600;
            config.beat_seconds = 1;
        })
        .await;
        settings.stop().await;
        settings.bring_agents().await;
        let (database, ahead) = (MemoryDatabase::new(), Arc::new(AtomicI64::new(0)));
        let is_frozen = Arc::new(AtomicBool::new(false));
        let a_is_frozen = is_frozen.clone();
        database.set_faults(Faults::new(move |call| {
            let is_lost = call.replica == "a" && call.name == "heartbeat";
            (is_lost && a_is_frozen.load(Ordering::SeqCst)).then_some(Fault::Away)
        }));
        let a = settings.replica(open(&database, "a", &ahead)).await;
        let b = settings.replica(open(&database, "b", &ahead)).await;
        Self { a, b, database, ahead, is_frozen }
    }

    fn both(&self) -> [&World; 2] {
        [&self.a, &self.b]
    }
}

fn open(database: &MemoryDatabase, id: &str, ahead: &Arc<AtomicI64>) -> Arc<dyn Store> {
    let ahead = ahead.clone();
    let time =
        move || Clock::System.now() + SignedDuration::from_secs(ahead.load(Ordering::SeqCst));
    let replica = Replica { id: id.into(), host: String::new(), pid: 0, start_time: 0 };
    let options = OpenOptions {
        replica,
        lease: Duration::from_secs(3_600),
        is_dead: Arc::new(|_| false),
        time: Arc::new(time),
    };
    database.open("ingress", options)
}

fn count(kinds: &[String], kind: &str) -> usize {
    kinds.iter().filter(|told| *told == kind).count()
}

#[tokio::test]
async fn one_alert_at_two_replicas_at_once_is_one_incident() {
    let pair = Pair::new().await;
    pair.a.diagnostic.player.close();
    let deliveries = (0..32).map(|number| pair.both()[number % 2].deliver_one(firing("db-1")));
    let ids: BTreeSet<String> = join_all(deliveries).await.into_iter().collect();
    let [id] = &Vec::from_iter(ids)[..] else { panic!("more than one incident") };
    for world in pair.both() {
        assert_eq!(world.incidents().await.len(), 1);
        let told = world.kinds(id).await;
        for once in ["incident_opened", "alert_fired", "diagnosis_started"] {
            assert_eq!(count(&told, once), 1, "{told:?}");
        }
    }
}

#[tokio::test]
async fn a_delivery_of_many_alerts_is_taken_whole_beside_others() {
    let pair = Pair::new().await;
    pair.a.diagnostic.player.close();
    let names: Vec<String> = (0..30).map(|number| format!("db-{number}")).collect();
    let alerts: Vec<Value> = names.iter().map(|name| alert(name, "firing", 0)).collect();
    let all = body(&alerts);
    let whole = join_all((0..4).map(|number| pair.both()[number % 2].deliver(all.clone())));
    let single = names
        .iter()
        .enumerate()
        .map(|(number, name)| pair.both()[number % 2].deliver_one(firing(name)));
    let (whole, single) = tokio::join!(whole, join_all(single));
    assert_eq!(pair.a.incidents().await.len(), 30);
    let single: BTreeSet<String> = single.into_iter().collect();
    for ids in whole {
        assert_eq!(BTreeSet::from_iter(ids), single);
    }
}

#[tokio::test]
async fn two_performers_do_everything_once() {
    let pair = Pair::new().await;
    let names: Vec<String> = (0..20).map(|number| format!("db-{number}")).collect();
    let deliveries = names
        .iter()
        .enumerate()
        .map(|(number, name)| pair.both()[number % 2].deliver_one(firing(name)));
    let ids = join_all(deliveries).await;
    join_all(ids.iter().map(|id| pair.b.until_phase(id, "resolved"))).await;
    let ends = names
        .iter()
        .enumerate()
        .map(|(number, name)| pair.both()[(number + 1) % 2].deliver_one(resolved(name)));
    assert_eq!(join_all(ends).await, ids);
    for id in &ids {
        pair.a.until_ticket(id, "Closed").await;
        let told = pair.a.kinds(id).await;
        for once in ["diagnosed", "step_started", "step_finished", "concluded", "closed"] {
            assert_eq!(count(&told, once), 1, "{once} in {told:?}");
        }
    }
    assert_eq!(pair.a.diagnostic.player.asked().len(), 20);
    assert_eq!(pair.a.resolution.player.asked().len(), 20);
    let tickets = pair.a.ticketing.player.asked().len();
    assert!((20..=120).contains(&tickets), "{tickets} updates of 20 tickets");
}

#[tokio::test]
async fn what_a_frozen_replica_was_doing_is_taken_over_and_its_own_result_is_dropped() {
    let pair = Pair::new().await;
    pair.b.stop().await;
    pair.a.diagnostic.player.close();
    let id = pair.a.deliver_one(firing("db-1")).await;
    pair.a.diagnostic.player.was_asked(1).await;
    // No sign of life of `a` for an hour; it does not know.
    pair.is_frozen.store(true, Ordering::SeqCst);
    pair.ahead.fetch_add(3_601, Ordering::SeqCst);
    let c = pair.a.replica(open(&pair.database, "c", &pair.ahead)).await;
    c.diagnostic.player.open();
    c.until_phase(&id, "resolved").await;
    let told = c.kinds(&id).await;
    for once in ["diagnosed", "step_started", "concluded"] {
        assert_eq!(count(&told, once), 1, "{once} in {told:?}");
    }
    assert_eq!(c.diagnostic.player.asked().len(), 1, "the question is known by its key");
    assert_eq!(c.resolution.player.asked().len(), 1);
    c.stop().await;
    // It wakes, learns that it has lost its lease, and works on with a new one.
    pair.is_frozen.store(false, Ordering::SeqCst);
    let second = pair.a.deliver_one(firing("db-2")).await;
    pair.a.until_phase(&second, "resolved").await;
}

#[tokio::test]
async fn a_replica_that_stops_hands_over_what_it_has_in_hand() {
    let pair = Pair::new().await;
    pair.a.resolution.player.close();
    let ids = join_all(
        (0..6).map(|number| pair.both()[number % 2].deliver_one(firing(&format!("db-{number}")))),
    )
    .await;
    join_all(ids.iter().map(|id| pair.b.until_phase(id, "verifying"))).await;
    // Its lease would last for an hour.
    pair.a.stop().await;
    pair.b.resolution.player.open();
    join_all(ids.iter().map(|id| pair.b.until_phase(id, "resolved"))).await;
    assert_eq!(pair.b.resolution.player.asked().len(), 6);
    let late = pair.a.webhook(firing("db-9")).send().await;
    assert!(late.is_err(), "a replica that has stopped takes nothing");
}

#[tokio::test]
async fn a_console_hears_of_what_other_replicas_commit() {
    let pair = Pair::new().await;
    let mut events = pair.b.get(pair.b.console("/events")).send().await.unwrap();
    pair.a.deliver_one(firing("db-1")).await;
    let event = tokio::time::timeout(PATIENCE, events.chunk()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&event).contains("event: change"));
}

#[tokio::test]
async fn a_delivery_whose_answer_is_lost_is_taken_once() {
    let pair = Pair::new().await;
    pair.a.diagnostic.player.close();
    let is_first = AtomicBool::new(true);
    pair.database.set_faults(Faults::new(move |call| {
        let is_lost = call.name == "commit" && is_first.swap(false, Ordering::SeqCst);
        is_lost.then_some(Fault::AnswerLost)
    }));
    let (status, _) = pair.a.try_deliver(firing("db-1")).await;
    assert_eq!(status, 503, "what may not be stored is not acknowledged");
    let id = pair.b.deliver_one(firing("db-1")).await;
    assert_eq!(count(&pair.b.kinds(&id).await, "alert_fired"), 1);
    assert_eq!(pair.b.incidents().await.len(), 1);
}

#[tokio::test]
async fn what_was_claimed_is_performed_though_the_answer_to_the_claim_was_lost() {
    let pair = Pair::new().await;
    pair.b.stop().await;
    let left = AtomicI64::new(8);
    pair.database.set_faults(Faults::new(move |call| {
        let is_lost = call.name == "claim_outbox" && left.fetch_sub(1, Ordering::SeqCst) > 0;
        is_lost.then_some(Fault::AnswerLost)
    }));
    let id = pair.a.deliver_one(firing("db-1")).await;
    pair.a.until_phase(&id, "resolved").await;
    assert_eq!(pair.a.diagnostic.player.asked().len(), 1);
}
