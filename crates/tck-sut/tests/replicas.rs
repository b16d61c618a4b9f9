//! Two processes of one agent over one PostgreSQL database: each answers for the tasks of the other.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use std::time::Duration;

use a2a_types::{Artifact, Message, Part, Role, Task, TaskState};
use postgres_server::Server;
use rpc::a2a::{Client, ClientOptions, Send};
use service::Process;
use tck_sut::{Offer, Settings};

const PATIENCE: Duration = Duration::from_secs(30);

struct Replica {
    process: Process,
    client: Client,
}

async fn start(server: &Server) -> Replica {
    let process = Process::new("tck-sut");
    let listen = service::own_loopback_address();
    let settings = Settings {
        listen: listen.clone(),
        public_url: None,
        database: Some(server.url()),
        authentication: None,
        push_to_loopback: false,
        offer: Offer::default(),
    };
    tck_sut::start(settings, process.clone()).await.unwrap();
    let base = format!("http://{listen}").parse().unwrap();
    Replica { process, client: Client::new(base, ClientOptions::default()).unwrap() }
}

fn message(id: &str, text: &str) -> Message {
    Message::new(id, Role::User, vec![Part::text(text)])
}

fn send(message: Message) -> Send {
    Send { message, idempotency_key: Some("k".into()), wait: None }
}

async fn begin(replica: &Replica, message: Message) -> Task {
    replica.client.send(send(message)).await.unwrap().into_task().unwrap()
}

fn pieces(task: &Task) -> Vec<String> {
    let parts = task.artifact("output").map(|Artifact { parts, .. }| parts.clone());
    parts.unwrap_or_default().iter().filter_map(Part::as_text).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_task_is_answered_for_by_every_replica_and_outlives_each() {
    let Some(server) = Server::start() else { return };
    let (one, other) = (start(&server).await, start(&server).await);

    let counted = begin(&one, message("firebreak-count", "150")).await;
    let again = send(message("firebreak-count", "150"));
    let followed = other.client.run(again, PATIENCE);
    let stopped = async {
        while pieces(&other.client.task(&counted.id).await.unwrap()).len() < 20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        one.process.shut_down(PATIENCE).await.unwrap();
    };
    let (done, ()) = tokio::join!(followed, stopped);
    let done = done.unwrap().into_task().unwrap();
    assert_eq!((&done.id, done.status.state.clone()), (&counted.id, TaskState::Completed));
    let expected: Vec<String> = (1..=150).map(|piece| format!("{piece} ")).collect();
    assert_eq!(pieces(&other.client.task(&counted.id).await.unwrap()), expected);

    let third = start(&server).await;
    let asked = begin(&other, message("tck-input-required", "which?")).await;
    let mut turn = message("tck-complete-task", "this one");
    turn.task_id.clone_from(&asked.id);
    let turn = Send { message: turn, idempotency_key: None, wait: Some(PATIENCE) };
    let answered = third.client.send(turn).await.unwrap().into_task().unwrap();
    assert_eq!((answered.id, answered.status.state), (asked.id, TaskState::Completed));

    let long = begin(&other, message("firebreak-count-on", "10000")).await;
    let canceled = third.client.cancel(&long.id).await.unwrap();
    assert_eq!(canceled.status.state, TaskState::Canceled);
    for replica in [other, third] {
        replica.process.shut_down(PATIENCE).await.unwrap();
    }
}
