//! Maintenance windows, storms, flapping, and sources that may be anybody, by webhooks.

use std::collections::BTreeSet;
use std::time::Duration;

use ingress::{Matcher, Once, SourceConfig, StormConfig, WindowConfig};
use jiff::Timestamp;
use serde_json::{Value, json};
use service::ManualClock;
use webhooks::Format;

use super::sample::{alert, at, body, firing, resolved};
use super::world::{PATIENCE, World};

/// A window of one server that is open until then.
fn window(server: &str, until: Timestamp) -> WindowConfig {
    WindowConfig {
        name: "patching".into(),
        labels: [("server".to_owned(), Matcher::Regex { regex: server.into() })].into(),
        once: Some(Once { from: at(-60), until }),
        weekly: None,
    }
}

fn for_ever() -> Timestamp {
    "2999-01-01T00:00:00Z".parse().unwrap()
}

/// The titles of all incidents, once there are so many.
async fn until_there_are(world: &World, count: usize) -> BTreeSet<String> {
    let waiting = async {
        let mut events = world.get(world.console("/events")).send().await.unwrap();
        loop {
            let incidents = world.incidents().await;
            if incidents.len() >= count {
                let title = |incident: &Value| incident["title"].as_str().unwrap().to_owned();
                return incidents.iter().map(title).collect();
            }
            events.chunk().await.unwrap().unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("never so many incidents")
}

fn titles(servers: &[&str]) -> BTreeSet<String> {
    servers.iter().map(|server| format!("{server} refuses connections")).collect()
}

#[tokio::test]
async fn a_window_holds_back_what_fires_and_a_start_without_it_lets_go_what_fires_still() {
    let window = window("db-[135]", for_ever());
    let mut world = World::alone(|config| config.maintenance = vec![window]).await;
    for _ in 0..3 {
        assert!(world.deliver(firing("db-1")).await.is_empty());
        assert!(world.deliver(body(&[alert("db-3", "firing", 0)])).await.is_empty());
    }
    assert!(world.deliver(firing("db-5")).await.is_empty());
    world.deliver_one(firing("db-2")).await;
    assert_eq!(world.incidents().await.len(), 1);
    // What is held back may end.
    assert!(world.deliver(resolved("db-3")).await.is_empty());
    world.config.maintenance.clear();
    world.restart().await;
    let all = until_there_are(&world, 3).await;
    assert_eq!(all, titles(&["db-1", "db-2", "db-5"]));
    assert!(world.deliver(resolved("db-3")).await.is_empty());
    world.deliver_one(firing("db-1")).await;
    assert_eq!(world.incidents().await.len(), 3);
    world.stop().await;
}

#[tokio::test]
async fn the_end_of_a_window_lets_go_by_itself() {
    let clock = ManualClock::starting_at(at(600));
    let hour = Duration::from_secs(3_600);
    let window = window("db-1", clock.now() + hour);
    let world = World::by(&clock, |config| config.maintenance = vec![window]).await;
    assert!(world.deliver(firing("db-1")).await.is_empty());
    clock.advance(hour);
    assert_eq!(until_there_are(&world, 1).await, titles(&["db-1"]));
    world.stop().await;
}

#[tokio::test]
async fn an_open_incident_goes_on_in_a_window_and_its_alerts_may_end() {
    let mut world = World::alone(|_| {}).await;
    let id = world.deliver_one(firing("db-1")).await;
    world.config.maintenance = vec![window(".+", for_ever())];
    world.restart().await;
    assert_eq!(world.deliver_one(firing("db-1")).await, id);
    let mut other = alert("db-1", "firing", 5);
    other["fingerprint"] = json!("other");
    assert!(world.deliver(body(&[other])).await.is_empty(), "it is not of the incident yet");
    assert_eq!(world.deliver_one(resolved("db-1")).await, id);
    world.until_phase(&id, "resolved").await;
    assert!(world.deliver(body(&[alert("db-2", "firing", 9)])).await.is_empty());
    world.stop().await;
}

/// So many servers down at once.
fn servers(range: std::ops::Range<usize>, status: &str) -> String {
    let one = |number: usize| {
        let mut one = alert(&format!("db-{number}"), status, 0);
        if status == "resolved" {
            one["endsAt"] = json!(at(60));
        }
        one
    };
    body(&range.map(one).collect::<Vec<_>>())
}

#[tokio::test]
async fn a_storm_is_one_incident_with_counts_that_a_person_has_and_that_ends_with_its_alerts() {
    let storm = StormConfig { incidents: 5, seconds: 3_600 };
    let mut world = World::alone(|config| config.storm = storm).await;
    let ids = world.deliver(servers(0..150, "firing")).await;
    assert_eq!(ids.len(), 6);
    let all = world.incidents().await;
    let is_storm = |incident: &&Value| incident["is_storm"] == true;
    let id = all.iter().find(is_storm).unwrap()["id"].as_str().unwrap().to_owned();
    let incident = world.incident(&id).await;
    assert_eq!(incident["title"], "Storm: 145 alerts");
    assert_eq!(incident["others"]["total"], 137);
    let phase = &incident["phase"];
    assert_eq!(phase["name"], "needs_human");
    assert_eq!(phase["reason"]["why"], "more than 5 incidents opened within 3600 s");
    let described = incident["description"].as_str().unwrap();
    assert!(described.contains("by name: DatabaseConnectionTimeout (8)"), "{described}");
    let kinds = world.kinds(&id).await;
    assert!(!kinds.contains(&"diagnosis_started".to_owned()), "{kinds:?}");
    // It goes on after a restart, and tells what it has grown to when that has doubled.
    world.restart().await;
    assert_eq!(world.deliver_one(servers(150..151, "firing")).await, id);
    assert_eq!(world.incident(&id).await["title"], "Storm: 145 alerts");
    assert_eq!(world.deliver_one(servers(151..270, "firing")).await, id);
    assert_eq!(world.incident(&id).await["title"], "Storm: 265 alerts");
    assert_eq!(world.incidents().await.len(), 6);
    // What has an open incident goes there, storm or not.
    let mut other = alert("db-2", "firing", 5);
    other["fingerprint"] = json!("other");
    let own = world.deliver_one(body(&[other])).await;
    assert_ne!(own, id);
    world.deliver(servers(0..270, "resolved")).await;
    let over = world.incident(&id).await;
    assert_eq!(over["phase"]["name"], "resolved", "{}", over["phase"]);
    assert_eq!(over["others"]["firing"], 0);
    world.stop().await;
}

#[tokio::test]
async fn what_flaps_is_told_once_and_uses_no_round_up() {
    let world = World::alone(|_| {}).await;
    let id = world.deliver_one(firing("db-1")).await;
    let mut ends = Vec::new();
    for flip in 0..20 {
        let mut end = alert("db-1", "resolved", flip * 10);
        end["endsAt"] = json!(at(flip * 10 + 5));
        ends.push(world.deliver_one(body(&[end])).await);
        ends.push(world.deliver_one(body(&[alert("db-1", "firing", flip * 10 + 10)])).await);
    }
    assert!(ends.iter().all(|one| *one == id), "{ends:?}");
    let kinds = world.kinds(&id).await;
    let count = |kind: &str| kinds.iter().filter(|known| *known == kind).count();
    assert_eq!((count("flapping_began"), count("flapping_ended")), (1, 0), "{kinds:?}");
    assert_eq!(count("alert_fired") + count("alert_resolved"), 6, "{kinds:?}");
    let incident = world.incident(&id).await;
    assert_eq!(incident["phase"]["name"], "diagnosing", "{incident}");
    assert_eq!(incident["round"].as_u64().unwrap() - incident["spared"].as_u64().unwrap(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_source_that_may_be_anybody_is_diagnosed_and_never_leads_to_an_act() {
    let window = window("db-9", for_ever());
    let mut world = World::alone(|config| {
        let anybody = SourceConfig::unauthenticated(Format::Alertmanager);
        config.sources.insert("lab".to_owned(), anybody);
        config.maintenance = vec![window];
    })
    .await;
    world.bring_agents().await;
    let from_anybody = async |world: &World, body: String| {
        let answer = world.post("/webhooks/lab", body).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["incidents"].as_array().unwrap().clone()
    };
    let told = from_anybody(&world, firing("db-1")).await;
    let id = told[0].as_str().unwrap().to_owned();
    let incident = world.until_phase(&id, "needs_human").await;
    assert_eq!(
        incident["phase"]["reason"]["why"],
        "the source lab does not prove who it is, so nothing acts by itself; found: the pool is \
         exhausted"
    );
    assert_eq!(incident["diagnosis"]["cause"], "db.pool");
    assert!(world.resolution.player.asked().is_empty());
    // Its neighbour that proves who it is has an incident of its own, and is helped.
    let proven = world.deliver_one(firing("db-1")).await;
    assert_ne!(proven, id);
    world.until_phase(&proven, "resolved").await;
    world.deliver(resolved("db-1")).await;
    world.until_phase(&proven, "closed").await;
    let asked = world.resolution.player.asked().len();
    // What was held back is as little known afterwards.
    assert!(from_anybody(&world, firing("db-9")).await.is_empty());
    // The same name may be anybody from now on: it opens nothing anew on which something acts.
    let anybody = SourceConfig::unauthenticated(Format::Alertmanager);
    world.config.sources.insert("alertmanager".to_owned(), anybody);
    world.config.maintenance.clear();
    world.restart().await;
    let again = world.deliver_one(body(&[alert("db-1", "firing", 50)])).await;
    assert_ne!(again, proven);
    world.until_phase(&again, "needs_human").await;
    assert_eq!(world.incident(&proven).await["phase"]["name"], "closed");
    until_there_are(&world, 4).await;
    for incident in world.incidents().await {
        let id = incident["id"].as_str().unwrap();
        if id != proven {
            world.until_phase(id, "needs_human").await;
        }
    }
    assert_eq!(world.resolution.player.asked().len(), asked);
    world.stop().await;
}
