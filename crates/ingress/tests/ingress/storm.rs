//! Many deliveries at once: every alert is known once, every incident is the right one, and nobody is
//! answered with an error.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use service::ManualClock;

use super::sample::{alert, at, body, firing, resolved};
use super::world::World;

/// A hundred alerts on ten targets.
fn hundred() -> Vec<Value> {
    let one = |number: usize| {
        let mut one = alert(&format!("db-{}", number % 10), "firing", 0);
        one["fingerprint"] = json!(format!("f-{number}"));
        one
    };
    (0..100).map(one).collect()
}

/// Every alert of an incident, page by page.
async fn alerts_of(world: &World, id: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let after = all.last().map(|last| format!("&after={}", last["cursor"].as_str().unwrap()));
        let path = format!("/api/v1/incidents/{id}/alerts?limit=500{}", after.unwrap_or_default());
        let page = world.read(&path).await.as_array().unwrap().clone();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// How often each alert was reported, by its fingerprint, over all incidents.
async fn reports(world: &World) -> BTreeMap<String, i64> {
    let mut reports = BTreeMap::new();
    for incident in world.incidents().await {
        for alert in alerts_of(world, incident["id"].as_str().unwrap()).await {
            let fingerprint = alert["fingerprint"].as_str().unwrap().to_owned();
            let former = reports.insert(fingerprint, alert["reports"].as_i64().unwrap());
            assert_eq!(former, None, "an alert is in two incidents");
        }
    }
    reports
}

/// Sixty-four senders bring the same new alerts at the same time, most of them all at once, some one
/// by one.
pub(crate) async fn sixty_four_bring_the_same(worlds: &[&World]) {
    let all = hundred();
    let senders = (0..64).map(|sender| {
        let (world, all) = (worlds[sender % worlds.len()], &all);
        async move {
            if sender < 56 {
                return BTreeSet::from_iter(world.deliver(body(all)).await);
            }
            let mut ids = BTreeSet::new();
            for number in 0..all.len() {
                let one = all[(number + 7 * sender) % all.len()].clone();
                ids.insert(world.deliver_one(body(&[one])).await);
            }
            ids
        }
    });
    // A delivery that is not answered 200 panics.
    let told = join_all(senders).await;
    for world in worlds {
        let incidents: BTreeSet<String> = world
            .incidents()
            .await
            .iter()
            .map(|incident| incident["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(incidents.len(), 10);
        assert!(told.iter().all(|ids| *ids == incidents), "{told:?}");
        let reports = reports(world).await;
        assert_eq!(reports.len(), 100);
        assert!(reports.values().all(|count| *count == 64), "{reports:?}");
    }
}

#[tokio::test]
async fn sixty_four_senders_of_the_same_new_alerts_make_each_once() {
    let world = World::alone(|_| {}).await;
    sixty_four_bring_the_same(&[&world]).await;
    world.stop().await;
}

#[tokio::test]
async fn a_storm_on_one_target_is_one_incident_with_counts() {
    let world = World::alone(|_| {}).await;
    let of = |status: &str, number: usize| {
        let mut one = alert("db-1", status, 0);
        one["fingerprint"] = json!(format!("f-{number}"));
        if status == "resolved" {
            one["endsAt"] = json!(at(60));
        }
        one
    };
    let storm = |status: &'static str| {
        let world = &world;
        join_all((0..20).map(move |sender| async move {
            let mut ids = BTreeSet::new();
            for part in 0..5 {
                let first = sender * 500 + part * 100;
                let alerts: Vec<Value> =
                    (first..first + 100).map(|number| of(status, number)).collect();
                ids.extend(world.deliver(body(&alerts)).await);
            }
            ids
        }))
    };
    let ids: BTreeSet<String> = storm("firing").await.into_iter().flatten().collect();
    let [id] = &Vec::from_iter(ids)[..] else { panic!("more than one incident") };
    let incident = world.incident(id).await;
    assert_eq!(incident["alerts"].as_array().unwrap().len(), 25);
    assert_eq!(incident["others"]["total"], 9_975);
    assert_eq!(incident["others"]["firing"], 9_975);
    let told = world.kinds(id).await;
    assert!(told.len() < 60, "{} entries", told.len());
    let alerts = alerts_of(&world, id).await;
    assert_eq!(alerts.len(), 10_000);
    assert!(alerts.iter().all(|alert| alert["reports"] == 1 && alert["status"] == "firing"));

    storm("resolved").await;
    let incident = world.incident(id).await;
    assert_eq!(incident["others"]["firing"], 0, "{incident}");
    assert_eq!(incident["phase"]["name"], "resolved", "{incident}");
    assert_eq!(world.incidents().await.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_repeat_is_counted_and_changes_nothing_else() {
    let world = World::alone(|_| {}).await;
    let id = world.deliver_one(firing("db-1")).await;
    let before = world.incident(&id).await;
    let repeats = (0..50).map(|_| world.deliver_one(firing("db-1")));
    assert!(join_all(repeats).await.iter().all(|repeated| *repeated == id));
    assert_eq!(world.incident(&id).await, before);
    let alerts = alerts_of(&world, &id).await;
    assert_eq!(alerts[0]["reports"], 51, "{alerts:?}");
    assert!(alerts[0]["last_at"].as_str() > alerts[0]["first_at"].as_str(), "{alerts:?}");
    let metrics = world.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("firebreak_alert_repeats_total 50\n"), "{metrics}");
    world.stop().await;
}

#[tokio::test]
async fn an_alert_that_fires_on_reopens_what_a_person_closed() {
    let world = World::alone(|_| {}).await;
    let id = world.deliver_one(firing("db-1")).await;
    let close = json!({"by": "ana", "why": "a mistake"}).to_string();
    let closed = world.post(&format!("/api/v1/incidents/{id}/close"), close).send().await.unwrap();
    assert_eq!(closed.status(), 204);
    // What is remembered of the alert is history by now.
    assert_eq!(world.deliver_one(firing("db-1")).await, id);
    let told = world.kinds(&id).await;
    assert!(told.contains(&"incident_reopened".to_owned()), "{told:?}");
    assert_eq!(alerts_of(&world, &id).await[0]["reports"], 2);
    world.stop().await;
}

#[tokio::test]
async fn reports_out_of_order_come_to_the_same() {
    let world = World::alone(|_| {}).await;
    let report = |status: &str, starts_at: i64, ends_at: i64| {
        let mut one = alert("db-1", status, starts_at);
        if status == "resolved" {
            one["endsAt"] = json!(at(ends_at));
        }
        body(&[one])
    };
    // The end of an episode first: its beginning, which comes late, opens nothing.
    assert!(world.deliver(report("resolved", 0, 10)).await.is_empty());
    assert!(world.deliver(report("firing", 0, 0)).await.is_empty());
    // The next episode does.
    let id = world.deliver_one(report("firing", 20, 0)).await;
    // What comes late of the one before changes nothing.
    assert_eq!(world.deliver_one(report("resolved", 0, 10)).await, id);
    assert_eq!(world.deliver_one(report("firing", 0, 0)).await, id);
    assert_eq!(world.incident(&id).await["phase"]["name"], "diagnosing");
    // An end whose start was moved back is the end of what runs.
    assert_eq!(world.deliver_one(report("resolved", 15, 30)).await, id);
    assert_eq!(world.incident(&id).await["phase"]["name"], "resolved");
    assert_eq!(world.deliver_one(report("firing", 15, 0)).await, id, "it came late");
    assert_eq!(world.incident(&id).await["phase"]["name"], "resolved");
    assert_eq!(world.incidents().await.len(), 1);
    assert_eq!(alerts_of(&world, &id).await[0]["reports"], 7);
    world.stop().await;
}

#[tokio::test]
async fn alerts_of_an_incident_are_read_page_by_page() {
    let world = World::alone(|_| {}).await;
    let alerts: Vec<Value> =
        hundred().into_iter().filter(|one| one["labels"]["server"] == "db-1").collect();
    let id = world.deliver_one(body(&alerts)).await;
    let path = format!("/api/v1/incidents/{id}/alerts");
    let first = world.read(&format!("{path}?limit=6")).await;
    let cursor = first[5]["cursor"].as_str().unwrap();
    let second = world.read(&format!("{path}?limit=6&after={cursor}")).await;
    let fingerprints: BTreeSet<String> = [first, second]
        .iter()
        .flat_map(|page| page.as_array().unwrap())
        .map(|alert| alert["fingerprint"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(fingerprints.len(), 10);
    for (query, status) in [("?limit=0", 400), ("?after=x", 400), ("?limit=501", 400)] {
        let answer = world.get(world.url(&format!("{path}{query}"))).send().await.unwrap();
        assert_eq!(answer.status(), status, "{query}");
    }
    let nobody = world.url("/api/v1/incidents/inc_0192d3f0a1b2c3d4e5f60718293a4b5c/alerts");
    assert_eq!(world.get(nobody).send().await.unwrap().status(), 404);
    // One that never fired here is in none.
    assert!(world.deliver(resolved("db-77")).await.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn an_alert_that_is_repeated_after_the_proof_goes_to_a_person() {
    let clock = ManualClock::starting_at(at(600));
    let world = World::by(&clock, |config| config.limits.quiet_seconds = 2).await;
    world.bring_agents().await;
    let ids = [world.deliver_one(firing("db-1")).await, world.deliver_one(firing("db-2")).await];
    for id in &ids {
        world.until_phase(id, "resolved").await;
    }
    // A repeat is not told to the incident, until its quiet time is over.
    let before = world.incident(&ids[0]).await;
    clock.advance(Duration::from_secs(1));
    assert_eq!(world.deliver_one(firing("db-1")).await, ids[0]);
    assert_eq!(world.incident(&ids[0]).await["alerts"], before["alerts"]);
    clock.advance(Duration::from_secs(1));
    let incident = world.until_phase(&ids[0], "needs_human").await;
    let why = incident["phase"]["reason"]["why"].as_str().unwrap();
    assert!(why.contains("still reports the alert"), "{why}");
    world.until_phase(&ids[1], "closed").await;
    world.stop().await;
}
