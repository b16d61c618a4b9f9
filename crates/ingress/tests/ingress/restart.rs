//! Ingress and its agents going away and coming back.

use std::path::Path;

use service::ManualClock;

use super::sample::{alert, at, body, firing, resolved};
use super::world::World;

#[tokio::test]
async fn a_restart_while_diagnosing_goes_on_with_the_same_incident() {
    let mut world = World::new().await;
    world.diagnostic.player.close();
    let id = world.deliver_one(firing("db-1")).await;
    world.diagnostic.player.was_asked(1).await;
    world.restart().await;
    assert_eq!(world.incident(&id).await["phase"]["name"], "diagnosing");
    world.diagnostic.player.open();
    world.until_phase(&id, "resolved").await;
    assert_eq!(world.diagnostic.player.asked().len(), 1, "the question is known by its key");
    assert_eq!(world.resolution.player.asked().len(), 1);
}

#[tokio::test]
async fn a_restart_while_resolving_follows_the_same_task() {
    let mut world = World::new().await;
    world.resolution.player.close();
    let id = world.deliver_one(firing("db-1")).await;
    world.until_phase(&id, "verifying").await;
    world.restart().await;
    assert_eq!(world.deliver_one(firing("db-1")).await, id, "a repetition is no news");
    world.restart().await;
    world.resolution.player.open();
    world.until_phase(&id, "resolved").await;
    world.deliver(resolved("db-1")).await;
    world.until_ticket(&id, "Closed").await;
    assert_eq!(world.incidents().await.len(), 1);
    assert_eq!(world.diagnostic.player.asked().len(), 1);
    assert_eq!(world.resolution.player.asked().len(), 1);
    let told = world.kinds(&id).await;
    for once in ["step_started", "concluded", "closed", "diagnosed", "incident_opened"] {
        let count = told.iter().filter(|kind| *kind == once).count();
        assert_eq!(count, 1, "{once} in {told:?}");
    }
}

#[tokio::test]
async fn agents_that_are_away_are_waited_for() {
    let world = World::alone(|_| {}).await;
    let id = world.deliver_one(firing("db-1")).await;
    assert_eq!(world.incident(&id).await["phase"]["name"], "diagnosing");
    world.diagnostic.come().await;
    world.until_phase(&id, "planned").await;
    world.resolution.come().await;
    world.until_phase(&id, "resolved").await;
    world.ticketing.come().await;
    world.until_ticket(&id, "Resolved").await;
    assert_eq!(world.diagnostic.player.asked().len(), 1);
    assert_eq!(world.resolution.player.asked().len(), 1);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_agents_or_consoles() {
    // Whoever waited for anybody would wait for ever.
    let world = World::by(&ManualClock::starting_at(at(600)), |_| {}).await;
    world.bring_agents().await;
    world.resolution.player.close();
    let id = world.deliver_one(firing("db-1")).await;
    world.until_phase(&id, "verifying").await;
    let _console = world.get(world.console("/events")).send().await.unwrap();
    world.stop().await;
}

/// Gives every incident that is stored a form that this version cannot read.
fn spoil_incidents(database: &Path) {
    let mut bytes = std::fs::read(database).unwrap();
    let (name, other) = (b"\"opened_at\":", b"\"opened_by\":");
    let places: Vec<usize> =
        (0..bytes.len()).filter(|place| bytes[*place..].starts_with(name)).collect();
    assert!(!places.is_empty());
    for place in places {
        bytes[place..place + other.len()].copy_from_slice(other);
    }
    std::fs::write(database, bytes).unwrap();
}

#[tokio::test]
async fn an_incident_that_cannot_be_read_holds_up_no_other_and_its_alerts_go_on_beside_it() {
    let mut world = World::alone(|_| {}).await;
    // More than there are places for tickets.
    let names: Vec<String> = (0..40).map(|number| format!("db-{number}")).collect();
    let alerts: Vec<_> = names.iter().map(|name| alert(name, "firing", 0)).collect();
    let unreadable = world.deliver(body(&alerts)).await;
    world.restart_after(spoil_incidents).await;
    world.bring_agents().await;

    let both = body(&[alert("db-1", "firing", 0), alert("app-1", "firing", 0)]);
    let ids = world.deliver(both.clone()).await;
    assert_eq!(ids.len(), 2);
    assert!(ids.iter().all(|id| !unreadable.contains(id)));
    assert_eq!(world.deliver(both).await, ids, "a repetition is no news");
    for id in &ids {
        world.until_phase(id, "resolved").await;
    }
    let beside = world.deliver_one(resolved("db-1")).await;
    assert!(ids.contains(&beside));
    world.until_ticket(&beside, "Closed").await;
    let told = world.incident(&beside).await;
    assert!(unreadable.iter().any(|id| told["follows"] == **id), "{told}");
}
