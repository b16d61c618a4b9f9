//! Streams as they come from good servers and from others.

use std::time::Duration;

use a2a_types::{StreamResponse, TaskState};
use rpc::a2a::{Client, ClientError, ClientOptions};
use serde_json::json;

use super::peer::{End, Peer, artifact, status, stream_of, task};
use super::{PATIENCE, over, say, task_of};

#[tokio::test]
async fn both_bindings_stream_a_task_to_its_end() {
    for binding in ["JSONRPC", "HTTP+JSON"] {
        let (served, client) = over(binding).await;
        let mut stream = client.stream(say("gate", None)).await.unwrap();
        let first = stream.next().await.unwrap().unwrap();
        let StreamResponse::Task(task) = first else { panic!("{binding}: {first:?}") };
        let mut joined = client.subscribe(&task.id, None).await.unwrap();
        let same = joined.next().await.unwrap().unwrap();
        assert!(matches!(same, StreamResponse::Task(same) if same.id == task.id));
        served.script.gate.add_permits(1);
        for stream in [&mut stream, &mut joined] {
            let mut last = None;
            while let Some(event) = stream.next().await.unwrap() {
                last = Some(event);
            }
            let Some(StreamResponse::StatusUpdate(update)) = last else { panic!("{last:?}") };
            assert_eq!(update.status.state, TaskState::Completed);
            assert!(stream.last_event_id().is_some());
        }
        let ended = client.subscribe(&task.id, None).await.unwrap_err();
        assert!(matches!(&ended, ClientError::Refused { error, .. } if error.code == -32004));
    }
}

fn impatient(url: &str) -> Client {
    let options = ClientOptions {
        idle: Duration::from_secs(2),
        event_bytes: 1000,
        ..ClientOptions::default()
    };
    Client::new(url.parse().unwrap(), options).unwrap()
}

#[tokio::test]
async fn a_silent_stream_is_dead_and_comments_are_life() {
    let silent =
        Peer::new(|asked| asked.events(&[json!({"task": task("t", "WORKING")})], End::Never)).await;
    let mut stream = impatient(&silent.url).subscribe("t", Some("41")).await.unwrap();
    assert!(matches!(stream.next().await, Ok(Some(StreamResponse::Task(_)))));
    let error = stream.next().await.unwrap_err();
    assert!(matches!(error, ClientError::Interrupted { .. }) && error.is_transient(), "{error}");
    assert_eq!(silent.asked()[0].header("last-event-id"), "41");

    let living = Peer::new(|asked| {
        let id = &asked.json()["id"];
        let last = json!({"jsonrpc": "2.0", "id": id, "result": status("t", "COMPLETED")});
        let beats = (0..10).map(|_| ": alive\n\n".to_owned());
        slowly(beats.chain([format!("data: {last}\n\n")]).collect())
    })
    .await;
    let mut stream = impatient(&living.url).subscribe("t", None).await.unwrap();
    assert!(matches!(stream.next().await, Ok(Some(StreamResponse::StatusUpdate(_)))));
    assert!(matches!(stream.next().await, Ok(None)));
}

/// Chunks with a pause before each, all together longer than the client would wait for one.
fn slowly(chunks: Vec<String>) -> super::peer::Answer {
    use futures::StreamExt;
    let chunks = futures::stream::iter(chunks).then(|chunk| async {
        tokio::time::sleep(Duration::from_millis(250)).await;
        Ok::<_, std::io::Error>(chunk)
    });
    let answer: super::peer::Answer = (200, axum::body::Body::from_stream(chunks)).into();
    answer.with("content-type", "text/event-stream")
}

#[tokio::test]
async fn events_are_bounded_and_must_be_answers_to_us() {
    let endless = Peer::new(|_| stream_of(vec!["data: x".repeat(300)], End::Never)).await;
    let mut stream = impatient(&endless.url).subscribe("t", None).await.unwrap();
    let error = stream.next().await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { limit: 1000, .. }), "{error}");

    for data in [
        "not json".to_owned(),
        json!({"jsonrpc": "2.0", "id": 99, "result": status("t", "WORKING")}).to_string(),
        json!({"jsonrpc": "2.0", "id": 1, "result": {"surprise": {}}}).to_string(),
    ] {
        let chunk = format!("data: {data}\n\n");
        let peer = Peer::new(move |_| stream_of(vec![chunk.clone()], End::Well)).await;
        let mut stream = impatient(&peer.url).subscribe("t", None).await.unwrap();
        let error = stream.next().await.unwrap_err();
        assert!(matches!(error, ClientError::InvalidAnswer { .. }), "{data}: {error}");
    }
    let broken = Peer::new(|asked| asked.events(&[artifact("t", "x", false)], End::Broken)).await;
    let mut stream = impatient(&broken.url).subscribe("t", None).await.unwrap();
    assert!(matches!(stream.next().await, Ok(Some(StreamResponse::ArtifactUpdate(_)))));
    assert!(matches!(stream.next().await, Err(ClientError::Interrupted { .. })));
}

#[tokio::test]
async fn an_error_before_the_first_event_is_that_error() {
    let (_served, client) = over("JSONRPC").await;
    let error = client.subscribe("nobody", None).await.unwrap_err();
    assert!(error.is_task_not_found(), "{error}");
    let (_served, client) = over("HTTP+JSON").await;
    let error = client.subscribe("nobody", None).await.unwrap_err();
    assert!(error.is_task_not_found(), "{error}");
    let peer = Peer::new(|asked| asked.result(json!({"task": task("t", "COMPLETED")}))).await;
    let mut stream = impatient(&peer.url).stream(say("x", None)).await.unwrap();
    assert!(matches!(stream.next().await, Ok(Some(StreamResponse::Task(_)))), "one plain answer");
    assert!(matches!(stream.next().await, Ok(None)));
}

#[tokio::test]
async fn a_stream_outlives_the_deadline_of_a_call() {
    let (served, _) = over("JSONRPC").await;
    let deadline = Duration::from_secs(2);
    let client = super::client_within(&served.url("/"), deadline);
    let answers = client.run(say("gate", None), PATIENCE);
    let gate = async {
        served.script.started(1).await;
        // A call that began after the stream, and gets no answer, has met its deadline.
        let unanswered = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", unanswered.local_addr().unwrap());
        let error = super::client_within(&url, deadline).card().await.unwrap_err();
        assert!(matches!(error, ClientError::Deadline { .. }), "{error}");
        served.script.gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(answers, gate);
    assert_eq!(task_of(answer.unwrap()).status.state, TaskState::Completed);
}
