//! A task is followed to its end whatever breaks, and a message is never sent twice unsafely.

use std::time::Duration;

use a2a_types::{SendMessageResponse, TaskState};
use futures::StreamExt;
use rpc::a2a::{Client, ClientError, ClientOptions, Send};
use serde_json::{Value, json};

use super::peer::{Answer, Asked, End, Peer, artifact, card_with, status, task};
use super::{PATIENCE, client, over, say, task_of};

/// The end of the task, in full.
fn finished() -> Value {
    let mut task = task("t", "COMPLETED");
    task["artifacts"] = json!([{"artifactId": "a", "parts": [{"text": "one"}, {"text": "two"}]}]);
    task["metadata"] = json!({"only": "here"});
    task
}

fn first() -> Value {
    json!({"task": task("t", "WORKING")})
}

async fn run(peer: &Peer) -> Result<SendMessageResponse, ClientError> {
    client(&peer.url).run(say("x", None), PATIENCE).await
}

fn is_finished(answer: Result<SendMessageResponse, ClientError>) {
    let task = task_of(answer.unwrap());
    assert_eq!(serde_json::to_value(task).unwrap()["metadata"], finished()["metadata"]);
}

#[tokio::test]
async fn a_real_task_is_followed_over_both_bindings() {
    for binding in ["JSONRPC", "HTTP+JSON"] {
        let (_served, client) = over(binding).await;
        let task = task_of(client.run(say("echo x", None), PATIENCE).await.unwrap());
        assert_eq!(task.status.state, TaskState::Completed);
        assert_eq!(task.artifacts.len(), 1);
        let asking = Send { idempotency_key: None, ..say("ask", None) };
        let asks = task_of(client.run(asking, PATIENCE).await.unwrap());
        assert_eq!(asks.status.state, TaskState::InputRequired, "settled, for its caller");
        let rejected = Send { idempotency_key: None, ..say("reject why", None) };
        let rejected = task_of(client.run(rejected, PATIENCE).await.unwrap());
        assert_eq!(rejected.status_text(), "why");
    }
}

#[tokio::test]
async fn a_question_and_its_answer_are_seen_on_one_follow() {
    let (_served, client) = over("JSONRPC").await;
    let mut answers = client.start(say("ask", None), PATIENCE);
    let mut waiting = task_of(answers.next().await.unwrap().unwrap());
    while !waiting.status.state.is_interrupted() {
        waiting = task_of(answers.next().await.unwrap().unwrap());
    }
    let mut reply = say("echo done", None);
    reply.message.task_id = waiting.id.clone();
    reply.message.message_id = "m-2".into();
    client.send(reply).await.unwrap();
    let mut last = waiting;
    while let Some(answer) = answers.next().await {
        last = task_of(answer.unwrap());
    }
    assert_eq!(last.status.state, TaskState::Completed);
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_where_it_broke() {
    let peer = Peer::new(|asked| match asked.rpc().as_str() {
        "SendStreamingMessage" => {
            asked.events(&[first(), artifact("t", "one", false)], End::Broken)
        }
        "SubscribeToTask" if asked.before == 1 => (502, "").into(),
        "SubscribeToTask" => {
            asked.events(&[artifact("t", "two", true), status("t", "COMPLETED")], End::Well)
        }
        _ => (404, "").into(),
    })
    .await;
    let task = task_of(run(&peer).await.unwrap());
    assert_eq!(task.status.state, TaskState::Completed);
    assert_eq!(task.artifacts[0].parts.len(), 2, "what its events told, when it is forgotten");
    let methods = ["SendStreamingMessage", "SubscribeToTask", "SubscribeToTask", "GetTask"];
    assert_eq!(peer.methods(), methods);
    assert_eq!(peer.asked()[2].header("last-event-id"), "2");
}

#[tokio::test]
async fn the_end_is_read_in_full_and_asked_for_until_it_is_there() {
    let peer = Peer::new(|asked| match (asked.rpc().as_str(), asked.before) {
        ("SendStreamingMessage", _) => {
            asked.events(&[first(), status("t", "COMPLETED")], End::Well)
        }
        ("GetTask", 1) => (503, "").into(),
        ("GetTask", _) => asked.result(finished()),
        _ => (404, "").into(),
    })
    .await;
    is_finished(run(&peer).await);
    assert_eq!(peer.methods(), ["SendStreamingMessage", "GetTask", "GetTask"]);
}

#[tokio::test]
async fn a_peer_without_streams_is_asked_until_the_end() {
    let answer = |asked: &Asked| match (asked.rpc().as_str(), asked.before) {
        ("SendMessage", _) => asked.result(first()),
        ("GetTask", 1) => asked.result(task("t", "WORKING")),
        ("GetTask", 2) => (500, "").into(),
        ("GetTask", _) => asked.result(finished()),
        _ => asked.error(-32004),
    };
    let without = |url: &str| card_with(&[("JSONRPC", "1.0", &format!("{url}/rpc"), "")], false);
    let peer = Peer::with_card(without, answer).await;
    is_finished(run(&peer).await);
    assert_eq!(peer.methods(), ["SendMessage", "GetTask", "GetTask", "GetTask"]);
    assert_eq!(peer.asked()[0].json()["params"]["configuration"]["returnImmediately"], true);
    // A card that claims streams which are not there leads to the same.
    let liar = Peer::new(move |asked| match asked.before {
        0 => asked.error(-32004),
        _ => answer(&Asked { before: asked.before - 1, ..asked.clone() }),
    })
    .await;
    is_finished(run(&liar).await);
    assert_eq!(liar.methods()[..2], ["SendStreamingMessage", "SendMessage"]);
}

#[tokio::test]
async fn a_peer_whose_streams_keep_failing_is_asked_instead() {
    for end in [End::Broken, End::Well] {
        let peer = Peer::new(move |asked| match (asked.rpc().as_str(), asked.before) {
            ("SendStreamingMessage" | "SubscribeToTask", _) => asked.events(&[first()], end),
            ("GetTask", 0..6) => asked.result(task("t", "WORKING")),
            ("GetTask", _) => asked.result(finished()),
            _ => (404, "").into(),
        })
        .await;
        is_finished(run(&peer).await);
        let methods = peer.methods();
        let asked = methods.iter().position(|method| method == "GetTask").unwrap();
        assert_eq!(methods[1..asked], vec!["SubscribeToTask"; asked - 1][..]);
        assert!((3..=4).contains(&asked), "{methods:?}");
        assert!(methods[asked..].iter().all(|method| method == "GetTask"), "{methods:?}");
    }
}

#[tokio::test]
async fn events_of_another_task_are_not_believed() {
    let peer = Peer::new(|asked| match asked.rpc().as_str() {
        "GetTask" => asked.result(finished()),
        _ => asked.events(&[first(), status("other", "FAILED")], End::Never),
    })
    .await;
    is_finished(run(&peer).await);
}

#[tokio::test]
async fn a_task_the_peer_has_forgotten_is_lost_and_may_be_sent_anew() {
    let peer = Peer::new(|asked| match asked.rpc().as_str() {
        "SendStreamingMessage" => asked.events(&[first()], End::Broken),
        _ => asked.error(-32001),
    })
    .await;
    let error = run(&peer).await.unwrap_err();
    assert!(matches!(&error, ClientError::TaskLost { task, .. } if task == "t"), "{error}");
    assert!(error.is_transient());
}

/// Fails `times` times before it works.
async fn flaky(times: usize, failure: fn(&Asked) -> Answer) -> Peer {
    Peer::new(move |asked| match asked.rpc().as_str() {
        "SendStreamingMessage" if asked.before < times => failure(asked),
        "SendStreamingMessage" => asked.events(&[first(), status("t", "COMPLETED")], End::Well),
        _ => asked.result(finished()),
    })
    .await
}

#[tokio::test]
async fn a_message_is_repeated_only_with_a_key_and_only_after_a_transient_error() {
    let silent: fn(&Asked) -> Answer = |asked| asked.events(&[], End::Broken);
    let busy: fn(&Asked) -> Answer = |_| Answer::from((503, "")).with("retry-after", "0");
    for failure in [silent, busy] {
        let peer = flaky(2, failure).await;
        is_finished(run(&peer).await);
        let sent = peer.asked();
        assert!(sent[..3].iter().all(|asked| asked.header("idempotency-key") == "k"));
        assert_eq!(sent[0].json()["params"], sent[2].json()["params"]);

        let peer = flaky(1, failure).await;
        let keyless = Send { idempotency_key: None, ..say("x", None) };
        let error = client(&peer.url).run(keyless, PATIENCE).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert_eq!(peer.asked().len(), 1, "never twice");

        let peer = flaky(3, failure).await;
        assert!(run(&peer).await.unwrap_err().is_transient());
        assert_eq!(peer.asked().len(), 3, "as often as allowed");
    }
    let peer = flaky(1, |asked| asked.error(-32602)).await;
    assert!(!run(&peer).await.unwrap_err().is_transient());
    assert_eq!(peer.asked().len(), 1, "a definite no");
}

#[tokio::test]
async fn a_message_in_place_of_a_task_is_the_whole_answer() {
    let message = json!({"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "42"}]});
    let peer = Peer::new(move |asked| asked.events(&[json!({"message": message})], End::Never));
    let answer = run(&peer.await).await.unwrap();
    assert!(matches!(answer, SendMessageResponse::Message(message) if message.text() == "42"));
}

#[tokio::test]
async fn one_deadline_stands_over_everything() {
    let peer = Peer::new(|asked| match asked.rpc().as_str() {
        "SendStreamingMessage" => asked.events(&[first()], End::Never),
        _ => (500, "").into(),
    })
    .await;
    let client = Client::new(peer.url.parse().unwrap(), ClientOptions::default()).unwrap();
    let within = Duration::from_secs(2);
    let mut answers = client.start(say("x", None), within);
    assert!(matches!(answers.next().await, Some(Ok(SendMessageResponse::Task(_)))));
    let error = answers.next().await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Deadline { deadline, .. } if deadline == within));
    assert!(answers.next().await.is_none());
}
