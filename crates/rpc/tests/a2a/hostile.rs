//! Callers that mean harm: what they hold up, fill or read is bounded.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{PATIENCE, Served, memory};

/// A request whose body never ends.
async fn half_a_request(served: &Served) -> TcpStream {
    let mut connection = TcpStream::connect(served.address).await.unwrap();
    let head = "POST /a2a HTTP/1.1\r\nhost: agent\r\ncontent-type: application/json\r\n\
                a2a-version: 1.0\r\ncontent-length: 100\r\n\r\n{";
    connection.write_all(head.as_bytes()).await.unwrap();
    connection
}

async fn answer_of(mut connection: TcpStream) -> String {
    let mut answer = String::new();
    let reading = connection.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let served = Served::configured(memory(), |_, options| {
        options.body_deadline = Duration::from_millis(50);
    })
    .await;
    let answer = answer_of(half_a_request(&served).await).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_body() {
    let served = Served::new().await;
    let waiting = half_a_request(&served).await;
    served.send("echo x").await;
    served.shut_down().await;
    let answer = answer_of(waiting).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn push_configurations_that_come_at_once_stay_within_their_number() {
    let served = Served::configured(memory(), |card, _| {
        card.capabilities.push_notifications = Some(true);
    })
    .await;
    let task = served.send("ask").await;
    let puts = (0..64).map(|number| {
        let config = json!({"taskId": task["id"], "id": format!("c-{number}"),
            "url": "https://1.1.1.1/a"});
        served.call("CreateTaskPushNotificationConfig", config)
    });
    join_all(puts).await;
    let listed =
        served.result("ListTaskPushNotificationConfigs", json!({"taskId": task["id"]})).await;
    assert_eq!(listed["configs"].as_array().unwrap().len(), 16);
}

/// What is logged, whole.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_level_of_logging_shows_what_a_receiver_is_to_be_told() {
    let log = Log::default();
    let writer = log.clone();
    let everything = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(everything);
    let served = Served::configured(memory(), |card, _| {
        card.capabilities.push_notifications = Some(true);
    })
    .await;
    let task = served.send("ask").await;
    let config = json!({"taskId": task["id"], "id": "c", "url": "https://1.1.1.1/a?key=s3cret",
        "token": "s3cret", "authentication": {"scheme": "Bearer", "credentials": "s3cret"}});
    let made = served.result("CreateTaskPushNotificationConfig", config).await;
    assert_eq!(made["token"], "s3cret");
    let one = json!({"taskId": task["id"], "id": "c"});
    served.result("GetTaskPushNotificationConfig", one).await;
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let told = logged.lines().find(|line| line.contains("s3cret"));
    assert_eq!(told, None);
    assert!(logged.contains("jsonrpsee") || logged.contains("raw_json_request"), "it listens");
}
