//! How many tasks a second a database takes, from one caller and from many at once. By hand:
//! `cargo run --release -p store --example task_writes -- [a new SQLite path or an empty
//! postgres:// database]`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use a2a_types::{
    Message, NewTask, Part, Role, Task, TaskEvent, TaskOwner, TaskRecord, TaskState, TaskStatus,
    TaskStatusUpdateEvent, TaskStore,
};
use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use store::OpenOptions;

const LENGTH: Duration = Duration::from_secs(3);
/// Longer than the whole run.
const LEASE: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let local = directory.path().join("tasks.db");
    let database = std::env::args().nth(1).unwrap_or_else(|| local.display().to_string());
    let time = Arc::new(|| Timestamp::UNIX_EPOCH);
    let this = (String::new(), 0, 0);
    let options = OpenOptions::of_process("one".into(), this, |_, _, _| false, LEASE, time);
    let tasks = store::open(&database, "task-writes", options).await?.tasks;
    println!("{:>8} {:>10} {:>10}", "callers", "inserts/s", "saves/s");
    for callers in [1, 32, 256] {
        let inserts = rate(callers, |number| insert(&*tasks, callers, number)).await?;
        let saves = rate(callers, |number| save(&*tasks, callers, number, inserts.0)).await?;
        println!("{callers:>8} {:>10.0} {:>10.0}", inserts.1, saves.1);
    }
    Ok(())
}

/// Calls as often as it can from this many callers at once: how often, and how often a second.
async fn rate<F>(
    callers: usize,
    call: impl Fn(u64) -> F,
) -> Result<(u64, f64), a2a_types::TaskStoreError>
where
    F: Future<Output = Result<(), a2a_types::TaskStoreError>>,
{
    let started = Instant::now();
    let numbers = (0..).take_while(|_| started.elapsed() < LENGTH);
    let mut calls = stream::iter(numbers).map(call).buffer_unordered(callers);
    let mut done = 0;
    while let Some(outcome) = calls.next().await {
        outcome?;
        done += 1;
    }
    Ok((done, done as f64 / started.elapsed().as_secs_f64()))
}

async fn insert(
    tasks: &dyn TaskStore,
    callers: usize,
    number: u64,
) -> Result<(), a2a_types::TaskStoreError> {
    let record = record(callers, number, TaskState::Submitted);
    tasks.insert(NewTask { record, push: None }).await.map(drop)
}

async fn save(
    tasks: &dyn TaskStore,
    callers: usize,
    number: u64,
    inserted: u64,
) -> Result<(), a2a_types::TaskStoreError> {
    let sequence = number / inserted + 1;
    let mut record = record(callers, number % inserted, TaskState::Working);
    record.sequence = sequence;
    let event = a2a_types::StreamResponse::StatusUpdate(TaskStatusUpdateEvent {
        task_id: record.task.id.clone(),
        context_id: record.task.context_id.clone(),
        status: record.task.status.clone(),
        metadata: serde_json::Map::new(),
        ..Default::default()
    });
    tasks.save(record, vec![TaskEvent { sequence, event }]).await
}

fn record(callers: usize, number: u64, state: TaskState) -> TaskRecord {
    let message =
        Message::new("m-1", Role::User, vec![Part::text("db-1 refuses connections ".repeat(10))]);
    let timestamp = Some(Timestamp::UNIX_EPOCH + Duration::from_millis(number));
    let task = Task {
        id: format!("tsk_{callers:04}_{number:012}"),
        context_id: format!("ctx_{callers:04}_{number:012}"),
        status: TaskStatus { state, message: None, timestamp, ..Default::default() },
        artifacts: Vec::new(),
        history: vec![message.clone()],
        metadata: serde_json::Map::new(),
        ..Default::default()
    };
    let idempotency_key = Some(format!("key_{callers:04}_{number:012}"));
    TaskRecord { task, message, owner: TaskOwner::default(), idempotency_key, sequence: 0 }
}
