//! Ingress as an agent: its card and its skills.

use a2a_types::{Message, Part, Role, Task, TaskState};
use incident::{OutcomeResult, Payload};
use rpc::a2a::{Client, ClientOptions, Send};
use serde_json::{Value, json};

use super::agents::Play;
use super::sample::firing;
use super::world::{PATIENCE, World};

fn client(world: &World) -> Client {
    Client::new(world.url("").parse().unwrap(), ClientOptions::default()).unwrap()
}

async fn say(client: &Client, parts: Vec<Part>) -> Task {
    let message = Message::new("m-1", Role::User, parts);
    client
        .send(Send { message, idempotency_key: None, wait: Some(PATIENCE) })
        .await
        .unwrap()
        .into_task()
        .unwrap()
}

fn incidents(task: &Task) -> Value {
    task.artifact("incidents").unwrap().parts[0].as_data().unwrap()["incidents"].clone()
}

#[tokio::test]
async fn the_card_names_the_skills_and_the_extension() {
    let world = World::alone(|_| {}).await;
    let card = client(&world).card().await.unwrap();
    let skills: Vec<&str> = card.skills.iter().map(|skill| skill.id.as_str()).collect();
    assert_eq!(skills, ["report_incident", "incident_status", "approve"]);
    assert_eq!(card.capabilities.extensions[0].uri, incident::EXTENSION_URI);
    assert_eq!(card.supported_interfaces[0].url, world.url("/a2a"));
}

#[tokio::test]
async fn a_sentence_opens_an_incident_and_a_question_is_answered() {
    let world = World::new().await;
    let client = client(&world);
    let task = say(&client, vec![Part::text("the shop is down")]).await;
    assert_eq!(task.status.state, TaskState::Completed, "{}", task.status_text());
    let id = incidents(&task)[0].as_str().unwrap().to_owned();
    assert_eq!(world.incident(&id).await["title"], "the shop is down");
    let answer = say(&client, vec![Part::text(format!("status of {id}, please"))]).await;
    assert!(answer.status_text().starts_with(&id), "{}", answer.status_text());
    assert_eq!(incidents(&answer)[0]["id"], id.as_str());
    let newest = say(&client, vec![Part::text("list incidents")]).await;
    assert_eq!(incidents(&newest).as_array().unwrap().len(), 1);
    let nobody = "status of inc_00000000000000000000000000000001";
    assert_eq!(say(&client, vec![Part::text(nobody)]).await.status_text(), "no such incident");
    assert_eq!(world.incidents().await.len(), 1, "a question opens nothing");
}

#[tokio::test]
async fn a_brief_opens_incidents_and_never_ends_what_another_source_reports() {
    let world = World::alone(|_| {}).await;
    let id = world.deliver_one(firing("db-1")).await;
    let mut incident: incident::Incident =
        serde_json::from_value(world.incident(&id).await).unwrap();
    incident.alerts[0].alert.status = incident::AlertStatus::Resolved;
    let task = say(&client(&world), vec![rpc::part(&Payload::Brief(incident.brief()))]).await;
    assert_eq!(incidents(&task), json!([]));
    assert_eq!(world.incident(&id).await["phase"]["name"], "diagnosing");
    incident.alerts[0].alert.status = incident::AlertStatus::Firing;
    incident.alerts[0].alert.starts_at = super::sample::at(60);
    let task = say(&client(&world), vec![rpc::part(&Payload::Brief(incident.brief()))]).await;
    let own = incidents(&task)[0].as_str().unwrap().to_owned();
    assert_ne!(own, id, "anybody may report here: that joins nothing on which something acts");
    assert_eq!(world.incident(&own).await["is_authenticated"], false);
}

#[tokio::test]
async fn what_is_no_request_is_rejected_with_the_reason() {
    let world = World::alone(|_| {}).await;
    let approval = Payload::Approval { plan_hash: "none".into(), approved: true, by: "ana".into() };
    for (part, why) in [
        (Part::text("  "), "holds no text and no data"),
        (Part::data(json!({"type": "Nonsense"})), "parts[0].data"),
        (rpc::part(&Payload::Progress { entries: Vec::new() }), "send a Brief"),
        (rpc::part(&approval), "no incident waits"),
    ] {
        let task = say(&client(&world), vec![part]).await;
        assert_eq!(task.status.state, TaskState::Rejected);
        assert!(task.status_text().contains(why), "{}", task.status_text());
    }
}

#[tokio::test]
async fn a_peer_can_approve_a_plan() {
    let world = World::new().await;
    let play = Play::Resolve { result: OutcomeResult::Proven, asks: true };
    world.resolution.player.set(play);
    let id = world.deliver_one(firing("db-1")).await;
    let waiting = world.until_phase(&id, "awaiting_approval").await;
    let plan_hash = waiting["phase"]["plan_hash"].as_str().unwrap().to_owned();
    let approval = Payload::Approval { plan_hash, approved: false, by: "ana".into() };
    let task = say(&client(&world), vec![rpc::part(&approval)]).await;
    assert_eq!(task.status.state, TaskState::Completed, "{}", task.status_text());
    let incident = world.until_phase(&id, "needs_human").await;
    assert_eq!(incident["outcome"]["result"], "refused");
}
