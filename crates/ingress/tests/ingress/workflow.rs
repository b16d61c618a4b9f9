//! From alert to end.

use std::time::Duration;

use incident::{OutcomeResult, Payload};
use serde_json::json;
use service::ManualClock;

use super::agents::{Play, ticket_update};
use super::sample::{alert, at, body, firing, resolved};
use super::world::World;

#[tokio::test]
async fn an_alert_becomes_a_closed_incident_with_nobody_woken() {
    let world = World::new().await;
    let id = world.deliver_one(firing("db-1")).await;
    let incident = world.until_phase(&id, "resolved").await;
    assert_eq!(incident["phase"]["by"], "proof");
    assert_eq!(incident["title"], "db-1 refuses connections");
    assert_eq!(incident["severity"], "critical");
    assert_eq!(incident["affected_systems"], json!(["db-1"]));
    assert_eq!(world.deliver_one(resolved("db-1")).await, id);
    let incident = world.until_ticket(&id, "Closed").await;
    assert_eq!(incident["phase"]["name"], "closed");
    assert_eq!(incident["phase"]["by"], "proof_and_source");
    assert_eq!(incident["deadline"], json!(null));
    let mut kinds = world.kinds(&id).await;
    kinds.retain(|kind| kind != "ticket_synced");
    let told = [
        "incident_opened",
        "alert_fired",
        "diagnosis_started",
        "diagnosed",
        "planned",
        "step_started",
        "step_finished",
        "verification_started",
        "concluded",
        "resolved",
        "alert_resolved",
        "closed",
    ];
    assert_eq!(kinds, told);
    assert_eq!(world.diagnostic.player.asked().len(), 1);
    assert_eq!(world.resolution.player.asked().len(), 1);
    let last = ticket_update(world.ticketing.player.asked().last().unwrap());
    assert_eq!(last.incident_id.to_string(), id);
    assert!(last.comments.iter().any(|comment| comment.text.contains("the fix ended Proven")));
}

#[tokio::test]
async fn a_source_that_is_first_to_see_the_end_does_not_close_without_proof() {
    let world = World::new().await;
    world.resolution.player.close();
    let id = world.deliver_one(firing("db-1")).await;
    world.until_phase(&id, "verifying").await;
    world.deliver(resolved("db-1")).await;
    assert_eq!(world.incident(&id).await["phase"]["name"], "verifying");
    world.resolution.player.open();
    let incident = world.until_phase(&id, "closed").await;
    assert_eq!(incident["phase"]["by"], "proof_and_source");
}

#[tokio::test]
async fn an_alert_that_ends_by_itself_needs_no_fix() {
    let world = World::new().await;
    world.diagnostic.player.close();
    let id = world.deliver_one(firing("db-1")).await;
    world.until_phase(&id, "diagnosing").await;
    world.deliver(resolved("db-1")).await;
    let incident = world.until_phase(&id, "resolved").await;
    assert_eq!(incident["phase"]["by"], "source");
    world.diagnostic.player.open();
    world.until_ticket(&id, "Resolved").await;
    assert_eq!(world.resolution.player.asked().len(), 0);
}

#[tokio::test]
async fn every_end_without_proof_needs_a_human() {
    use OutcomeResult::*;
    for result in [Undone, UndoFailed, Refused, NoRunbook, StepFailed] {
        let world = World::new().await;
        world.resolution.player.set(Play::Resolve { result, asks: false });
        let id = world.deliver_one(firing("db-1")).await;
        let incident = world.until_ticket(&id, "NeedsHuman").await;
        let why = &incident["phase"]["reason"]["why"];
        assert_eq!(*why, format!("the fix ended {result:?}"));
        assert!(incident["deadline"].is_string(), "a person is reminded");
        assert_eq!(world.resolution.player.asked().len(), 1);
    }
}

#[tokio::test]
async fn no_cause_and_broken_agents_need_a_human() {
    let world = World::new().await;
    world.diagnostic.player.set(Play::Diagnose { cause: None });
    let id = world.deliver_one(firing("db-1")).await;
    let incident = world.until_phase(&id, "needs_human").await;
    let why = incident["phase"]["reason"]["why"].as_str().unwrap();
    assert!(why.starts_with("no cause found"), "{why}");
    world.diagnostic.player.set(Play::Fail);
    let id = world.deliver_one(firing("db-2")).await;
    let incident = world.until_phase(&id, "needs_human").await;
    let why = incident["phase"]["reason"]["why"].as_str().unwrap();
    assert!(why.starts_with("diagnostic-agent failed") && why.contains("out of order"), "{why}");
}

#[tokio::test]
async fn repeated_and_parallel_deliveries_are_one_incident() {
    let world = World::new().await;
    let delivered = (0..64).map(|_| world.deliver_one(firing("db-1")));
    let ids = futures::future::join_all(delivered).await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let two = body(&[alert("db-1", "firing", 0), alert("db-2", "firing", 0)]);
    assert_eq!(world.deliver(two).await.len(), 2);
    assert_eq!(world.incidents().await.len(), 2);
    world.until_phase(&ids[0], "resolved").await;
    let fired = world.kinds(&ids[0]).await.into_iter().filter(|kind| kind == "alert_fired");
    assert_eq!(fired.count(), 1);
}

#[tokio::test]
async fn an_end_that_comes_before_its_beginning_opens_nothing() {
    let world = World::new().await;
    assert!(world.deliver(resolved("db-1")).await.is_empty());
    assert!(world.deliver(body(&[])).await.is_empty());
    assert!(world.incidents().await.is_empty());
}

#[tokio::test]
async fn a_fault_that_comes_back_reopens_and_then_needs_a_human() {
    let world = World::new().await;
    let id = world.deliver_one(firing("db-1")).await;
    world.until_phase(&id, "resolved").await;
    world.deliver(resolved("db-1")).await;
    world.until_phase(&id, "closed").await;
    let again = |starts_at| body(&[alert("db-1", "firing", starts_at)]);
    assert_eq!(world.deliver_one(again(60)).await, id);
    let is_second = |incident: &serde_json::Value| {
        incident["round"] == 2 && incident["phase"]["name"] == "resolved"
    };
    world.until(&id, "resolved in the second round", is_second).await;
    assert_eq!(world.resolution.player.asked().len(), 2);
    world.deliver(again(120)).await;
    world.until_phase(&id, "needs_human").await;
    assert_eq!(world.resolution.player.asked().len(), 2);
}

#[tokio::test]
async fn an_approval_passes_on_and_only_once() {
    let world = World::new().await;
    let play = Play::Resolve { result: OutcomeResult::Proven, asks: true };
    world.resolution.player.set(play);
    let id = world.deliver_one(firing("db-1")).await;
    let incident = world.until_phase(&id, "awaiting_approval").await;
    let hash = incident["phase"]["plan_hash"].as_str().unwrap();
    let path = format!("/api/v1/incidents/{id}/approval");
    let decide = async |hash: &str, by: &str| {
        let body = json!({"plan_hash": hash, "approved": true, "by": by}).to_string();
        world.post(&path, body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(decide("another", "ana").await, 409);
    assert_eq!(decide(hash, " ").await, 400);
    assert_eq!(world.resolution.player.asked().len(), 1, "nothing was passed on");
    assert_eq!(decide(hash, "ana").await, 202);
    world.until_phase(&id, "resolved").await;
    assert_eq!(decide(hash, "ana").await, 409);
    let asked = world.resolution.player.asked();
    let passed = rpc::payloads(&asked[1].parts).unwrap().remove(0);
    let approval = Payload::Approval { plan_hash: hash.into(), approved: true, by: "ana".into() };
    assert_eq!((passed, asked.len()), (approval, 2));
    assert!(world.kinds(&id).await.contains(&"approved".to_owned()));
}

#[tokio::test]
async fn a_storm_on_one_target_is_one_incident_with_a_diagnosis_and_a_ticket() {
    let world = World::new().await;
    world.diagnostic.player.set(Play::Diagnose { cause: None });
    // More than the agents take in one request.
    let storm: Vec<serde_json::Value> = (0..1_600)
        .map(|number| {
            let mut one = alert("db-1", "firing", 0);
            one["fingerprint"] = json!(format!("f{number}"));
            one["labels"]["alertname"] = json!(format!("{number} {}", "x".repeat(1_500)));
            one
        })
        .collect();
    let ids = world.deliver(body(&storm)).await;
    let [id] = ids.as_slice() else { panic!("{} incidents", ids.len()) };
    let incident = world.until_ticket(id, "NeedsHuman").await;
    assert_eq!(incident["alerts"].as_array().unwrap().len(), 25);
    assert_eq!(incident["others"]["total"], 1_575);
    let why = incident["phase"]["reason"]["why"].as_str().unwrap();
    assert!(why.starts_with("no cause found"), "{why}");
}

#[tokio::test]
async fn an_approval_that_was_refused_does_not_stand_in_the_way_of_another() {
    let world = World::new().await;
    world.resolution.player.set(Play::Resolve { result: OutcomeResult::Proven, asks: true });
    let id = world.deliver_one(firing("db-1")).await;
    let incident = world.until_phase(&id, "awaiting_approval").await;
    let hash = incident["phase"]["plan_hash"].as_str().unwrap();
    let decide = async |by: &str| {
        let body = json!({"plan_hash": hash, "approved": true, "by": by}).to_string();
        let path = format!("/api/v1/incidents/{id}/approval");
        world.post(&path, body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(decide("resolution-agent").await, 202);
    world.resolution.player.was_asked(2).await;
    // Until the question is asked again, an answer to it is refused.
    while decide("ana").await != 202 {}
    world.resolution.player.was_asked(3).await;
    world.until_phase(&id, "resolved").await;
}

#[tokio::test]
async fn a_person_closes_and_what_runs_is_stopped() {
    let world = World::new().await;
    world.resolution.player.close();
    let id = world.deliver_one(firing("db-1")).await;
    world.until_phase(&id, "verifying").await;
    let path = format!("/api/v1/incidents/{id}/close");
    let close = async |body: serde_json::Value| {
        let answer = world.post(&path, body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, why) = close(json!({"by": "ana"})).await;
    assert!(status == 400 && why.contains("why"), "{why}");
    let good = json!({"by": "ana", "why": "replaced the disk"});
    assert_eq!(close(good.clone()).await.0, 204);
    assert_eq!(close(good).await.0, 409);
    let incident = world.incident(&id).await;
    assert_eq!(
        (&incident["phase"]["name"], &incident["phase"]["by"]),
        (&json!("closed"), &json!("person"))
    );
    world.resolution.player.was_stopped().await;
    world.until_ticket(&id, "Closed").await;
}

#[tokio::test]
async fn a_resolution_past_its_deadline_is_stopped_and_its_undo_is_told() {
    let clock = ManualClock::starting_at(at(600));
    let world = World::by(&clock, |config| config.limits.resolution_seconds = 1).await;
    world.bring_agents().await;
    world.resolution.player.close();
    let id = world.deliver_one(firing("db-1")).await;
    world.until_phase(&id, "verifying").await;
    clock.advance(Duration::from_secs(1));
    let incident = world.until(&id, "undone", |incident| !incident["outcome"].is_null()).await;
    assert_eq!(incident["phase"]["name"], "needs_human");
    assert_eq!(incident["outcome"]["result"], "undone");
    let told = world.kinds(&id).await;
    assert!(told.contains(&"concluded".to_owned()), "{told:?}");
}

#[tokio::test]
async fn a_tracker_that_hangs_blocks_no_incident() {
    let world = World::new().await;
    world.ticketing.player.close();
    let names: Vec<String> = (0..40).map(|number| format!("db-{number}")).collect();
    let alerts: Vec<_> = names.iter().map(|name| alert(name, "firing", 0)).collect();
    let ids = world.deliver(body(&alerts)).await;
    assert_eq!(ids.len(), 40);
    for id in &ids {
        world.until_phase(id, "resolved").await;
    }
}
