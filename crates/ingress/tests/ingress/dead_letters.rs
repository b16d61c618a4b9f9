//! Effects that were given up: seen, replayed by people, and where a person must be told, tried
//! again without them.

use serde_json::{Value, json};

use super::agents::Play;
use super::sample::firing;
use super::world::World;

async fn letters(world: &World) -> Vec<Value> {
    world.read("/api/v1/dead-letters").await.as_array().unwrap().clone()
}

async fn replay(world: &World, id: &Value, body: Value) -> u16 {
    let path = format!("/api/v1/dead-letters/{id}/replay");
    world.post(&path, body.to_string()).send().await.unwrap().status().as_u16()
}

/// Nobody finds a cause, and the tracker takes nothing.
async fn without_a_tracker(change: impl FnOnce(&mut ingress::Config)) -> (World, String) {
    let world = World::alone(change).await;
    world.bring_agents().await;
    world.diagnostic.player.set(Play::Diagnose { cause: None });
    world.ticketing.player.set(Play::Fail);
    let id = world.deliver_one(firing("db-1")).await;
    (world, id)
}

fn handoff(incident: &Value, is: &str) -> bool {
    incident["phase"]["handoff"] == is
}

#[tokio::test]
async fn a_hand_over_nobody_was_told_of_is_seen_and_replayed_by_name() {
    let (world, id) = without_a_tracker(|_| {}).await;
    let incident = world.until(&id, "failed", |incident| handoff(incident, "failed")).await;
    assert_eq!(incident["next_step"]["owner"], "ticketing-agent");
    let letters = letters(&world).await;
    let letter = letters.last().unwrap();
    assert_eq!((&letter["kind"], &letter["incident_id"]), (&json!("sync_ticket"), &json!(id)));
    assert!(letter["error"].as_str().unwrap().contains("out of order"), "{letter}");
    let console = world.get(world.console("/api/v1/dead-letters")).send().await.unwrap();
    assert_eq!(console.json::<Value>().await.unwrap(), json!(letters));
    let metrics = world.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("firebreak_dead_letters{work=\"sync_ticket\"}"), "{metrics}");

    world.ticketing.player.set(Play::Ticket);
    assert_eq!(replay(&world, &letter["id"], json!({"by": " "})).await, 400);
    assert_eq!(replay(&world, &json!(999), json!({"by": "ana"})).await, 404);
    assert_eq!(replay(&world, &json!("x"), json!({"by": "ana"})).await, 400);
    let forged = world.post(&format!("/api/v1/dead-letters/{}/replay", letter["id"]), "{}");
    let forged = forged.header("content-type", "text/plain").send().await.unwrap();
    assert_eq!(forged.status().as_u16(), 415);
    assert_eq!(replay(&world, &letter["id"], json!({"by": "ana"})).await, 202);
    let incident = world.until(&id, "delivered", |incident| handoff(incident, "delivered")).await;
    assert_eq!(incident["next_step"]["owner"], "a person");
    let again = replay(&world, &letter["id"], json!({"by": "ana"})).await;
    assert_eq!(again, 404, "a letter is replayed once");
    let timeline = world.read(&format!("/api/v1/incidents/{id}/timeline")).await;
    let by_ana = timeline.as_array().unwrap().iter().find(|entry| entry["actor"] == "ana").unwrap();
    assert!(by_ana["summary"].as_str().unwrap().contains("sync_ticket"), "{by_ana}");
}

#[tokio::test]
async fn a_hand_over_is_told_again_without_anybody_asking() {
    let (world, id) = without_a_tracker(|config| config.ticket_retry_seconds = 1).await;
    world.until(&id, "failed", |incident| handoff(incident, "failed")).await;
    world.ticketing.player.set(Play::Ticket);
    world.until(&id, "delivered", |incident| handoff(incident, "delivered")).await;
    world.until_ticket(&id, "NeedsHuman").await;
}

#[tokio::test]
async fn a_replayed_effect_that_no_longer_fits_ends_quietly() {
    let world = World::new().await;
    world.diagnostic.player.set(Play::Fail);
    let id = world.deliver_one(firing("db-1")).await;
    world.until_ticket(&id, "NeedsHuman").await;
    let letters = letters(&world).await;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((&letter["kind"], &letter["round"]), (&json!("diagnose"), &json!(1)));
    world.diagnostic.player.set(Play::Diagnose { cause: Some("db.pool") });
    assert_eq!(replay(&world, &letter["id"], json!({"by": "ana"})).await, 202);
    // What is delivered after it is done after it.
    let other = world.deliver_one(firing("db-2")).await;
    world.until_phase(&other, "resolved").await;
    assert_eq!(world.incident(&id).await["phase"]["name"], "needs_human");
    assert_eq!(world.diagnostic.player.asked().len(), 2, "nobody was asked about it again");
    assert_eq!(self::letters(&world).await, Vec::<Value>::new());
}
