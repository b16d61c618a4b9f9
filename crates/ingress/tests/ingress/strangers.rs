//! Agents that others wrote in the diagnostic role: what counts is the data part, wherever it stands,
//! and words alone lead to a person.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::routing::{get, post};
use axum::{Json, Router};
use incident::{Brief, Payload};
use serde_json::{Value, json};
use service::Process;

use super::sample::{diagnosis, firing};
use super::world::World;

/// A stranger without streams that answers a brief with a result of `SendMessage`.
struct Stranger {
    url: url::Url,
    asked: Arc<AtomicUsize>,
    _process: Process,
}

impl Stranger {
    async fn new(answer: impl Fn(&Brief) -> Value + Send + Sync + 'static) -> Self {
        let address = service::own_loopback_address();
        let url: url::Url = format!("http://{address}").parse().unwrap();
        let card = json!({"name": "stranger", "description": "", "version": "1", "skills": [],
            "capabilities": {}, "defaultInputModes": [], "defaultOutputModes": [],
            "supportedInterfaces": [{"url": url.join("rpc").unwrap(), "protocolBinding": "JSONRPC",
                "protocolVersion": "1.0"}]});
        let asked = Arc::new(AtomicUsize::new(0));
        // A task that was answered is as it was.
        let (counted, last) = (asked.clone(), Mutex::new(Value::Null));
        let rpc = move |body: Bytes| {
            let request: Value = serde_json::from_slice(&body).unwrap();
            let result = if request["method"] == "SendMessage" {
                counted.fetch_add(1, Ordering::SeqCst);
                let part = &request["params"]["message"]["parts"][0]["data"];
                let Payload::Brief(brief) = Payload::from_value(part).unwrap() else { panic!() };
                let result = answer(&brief);
                *last.lock().unwrap() = result["task"].clone();
                result
            } else {
                last.lock().unwrap().clone()
            };
            let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": result});
            std::future::ready(Json(answer))
        };
        let (rpc, card) = (Arc::new(rpc), Json(card));
        let routes = Router::new()
            .route(a2a_types::CARD_PATH, get(move || std::future::ready(card.clone())))
            .route("/rpc", post(move |body| rpc(body)));
        let process = Process::new("stranger");
        service::serve(&process, &address, "none", routes).await.unwrap();
        Self { url, asked, _process: process }
    }

    /// Ingress with the stranger as its diagnostic agent, by URL alone.
    async fn world(&self) -> World {
        let url = self.url.clone();
        let world = World::alone(|config| config.agents.diagnostic = url.into()).await;
        world.resolution.come().await;
        world
    }
}

fn found(brief: &Brief) -> Value {
    Payload::Diagnosis(diagnosis(brief.incident.id, Some("db.pool"))).to_value()
}

fn message(part: Value) -> Value {
    json!({"message": {"messageId": "m", "role": "ROLE_AGENT", "parts": [part]}})
}

fn completed(artifacts: Value, words: &str) -> Value {
    let message = json!({"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": words}]});
    json!({"task": {"id": "t", "contextId": "c", "artifacts": artifacts,
        "status": {"state": "TASK_STATE_COMPLETED", "message": message}}})
}

#[tokio::test]
async fn a_diagnosis_counts_wherever_it_stands() {
    let in_message: fn(&Brief) -> Value = |brief| message(json!({"data": found(brief)}));
    let in_any_artifact: fn(&Brief) -> Value = |brief| {
        let parts = json!([{"text": "see"}, {"data": {"rows": 7}}, {"data": found(brief)}]);
        completed(json!([{"artifactId": "findings", "parts": parts}]), "done")
    };
    let without_its_type: fn(&Brief) -> Value = |brief| {
        let mut bare = found(brief);
        bare.as_object_mut().unwrap().remove("type");
        completed(json!([{"artifactId": "x", "parts": [{"data": bare}]}]), "done")
    };
    for answer in [in_message, in_any_artifact, without_its_type] {
        let stranger = Stranger::new(answer).await;
        let world = stranger.world().await;
        let id = world.deliver_one(firing("db-1")).await;
        let incident = world.until_phase(&id, "resolved").await;
        assert_eq!(incident["diagnosis"]["cause"], "db.pool");
        assert_eq!(stranger.asked.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn words_alone_lead_to_a_person_who_can_read_them() {
    let text: fn(&Brief) -> Value = |_| message(json!({"text": "reboot it, I would say"}));
    let text_task: fn(&Brief) -> Value = |_| completed(json!([]), "reboot it, I would say");
    let unreadable: fn(&Brief) -> Value =
        |_| message(json!({"data": {"type": "Diagnosis", "cause": "x"}}));
    let of_another: fn(&Brief) -> Value = |_| {
        let id = "inc_00000000000000000000000000000001".parse().unwrap();
        let other = Payload::Diagnosis(diagnosis(id, Some("db.pool"))).to_value();
        message(json!({"data": other}))
    };
    for (answer, why) in [
        (text, "it answered with text and no Diagnosis: reboot it, I would say"),
        (text_task, "it answered with text and no Diagnosis: reboot it, I would say"),
        (unreadable, "its Diagnosis cannot be read: not an incident/v1 payload: missing field"),
        (of_another, "its Diagnosis is about inc_00000000000000000000000000000001"),
    ] {
        let stranger = Stranger::new(answer).await;
        let world = stranger.world().await;
        let id = world.deliver_one(firing("db-1")).await;
        world.until_phase(&id, "needs_human").await;
        let told = world.read(&format!("/api/v1/incidents/{id}/timeline")).await.to_string();
        assert!(told.contains(why), "{why}: {told}");
        assert_eq!(stranger.asked.load(Ordering::SeqCst), 1, "a definite answer: asked once");
    }
}
