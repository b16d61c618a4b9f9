//! Tasks in PostgreSQL, on a real server: what every task store must do, and what several agents
//! and several processes of one agent can rely on.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use std::sync::Arc;
use std::time::Duration;

use a2a_types::{Delivery, Expiry, Inserted, NewTask, TaskState, TaskStore};
use futures::FutureExt;
use futures::future::join_all;
use postgres_server::Server;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor};
use store::{Batch, Delivered, OpenOptions, PostgresTasks};
use task_store_suite::Pair;
use task_store_suite::sample::{advance, at, config, new, put, query, record};

async fn connect(server: &Server, agent: &str) -> PostgresTasks {
    PostgresTasks::connect(&server.url(), agent, LEASE).await.unwrap()
}

/// Longer than any test.
const LEASE: Duration = Duration::from_secs(600);

/// Ends the lease of a replica, as if it had been silent for so long.
async fn silence(server: &Server, tasks: &PostgresTasks) {
    let mut raw = server.url().parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    let end = "UPDATE replica SET expires_at = now() - interval '1 second' WHERE id = $1";
    sqlx::query(end).bind(tasks.replica()).execute(&mut raw).await.unwrap();
}

/// One server for all behaviours, each as an agent of its own, which therefore sees an empty store.
macro_rules! on_postgres {
    ($($name:ident),+) => {
        #[tokio::test]
        async fn every_behaviour_holds() {
            let Some(server) = Server::start() else { return };
            $(
                println!("{}", stringify!($name));
                let tasks = connect(&server, stringify!($name)).await;
                task_store_suite::$name(&tasks).await;
                tasks.close().await;
            )+
        }
    };
}

task_store_suite::each_behaviour!(on_postgres);

/// The same for two processes of one agent.
macro_rules! of_replicas {
    ($($name:ident),+) => {
        #[tokio::test]
        async fn every_behaviour_of_replicas_holds() {
            let Some(server) = Server::start() else { return };
            $(
                println!("{}", stringify!($name));
                let agent = stringify!($name);
                let (one, other) = (connect(&server, agent).await, connect(&server, agent).await);
                let be_silent = || silence(&server, &one).boxed();
                let pair = Pair { one: &one, other: &other, silence: &be_silent };
                task_store_suite::$name(pair).await;
                one.close().await;
                other.close().await;
            )+
        }
    };
}

task_store_suite::each_behaviour_of_replicas!(of_replicas);

#[tokio::test]
async fn agents_that_share_a_database_do_not_mix() {
    let Some(server) = Server::start() else { return };
    let (one, other) = (connect(&server, "one").await, connect(&server, "other").await);
    let mut task = record("t-1", Some("k"));
    let new_task = NewTask { record: task.clone(), push: Some(config("t-1", "a")) };
    assert!(matches!(one.insert(new_task.clone()).await.unwrap(), Inserted::New));
    let event = advance(&mut task, TaskState::Completed, 1);
    one.save(task.clone(), vec![event.clone()]).await.unwrap();

    assert_eq!(other.load("t-1".into()).await.unwrap(), None);
    assert_eq!(other.claim("t-1".into()).await.unwrap(), None);
    assert_eq!(other.list(query(9)).await.unwrap().total, 0);
    assert_eq!(other.events("t-1".into(), 0, 9).await.unwrap(), []);
    assert_eq!(other.pushes("t-1".into()).await.unwrap(), []);
    assert_eq!(other.due_deliveries(at(9), 0, 9).await.unwrap().len(), 0);
    assert_eq!(other.next_delivery().await.unwrap(), None);
    other.delete_push("t-1".into(), "a".into()).await.unwrap();
    let delivery = one.due_deliveries(at(9), 0, 9).await.unwrap().remove(0);
    other.finish_delivery(delivery.id).await.unwrap();
    assert_eq!(one.due_deliveries(at(9), 0, 9).await.unwrap().len(), 1);
    one.finish_delivery(delivery.id).await.unwrap();
    let expiry = Expiry { ended_before: at(9), waiting_before: at(9) };
    assert_eq!(other.expire(expiry, 9).await.unwrap(), 0);
    assert!(matches!(other.insert(new_task).await.unwrap(), Inserted::New));
    assert_eq!(one.load("t-1".into()).await.unwrap(), Some(task));
}

#[tokio::test]
async fn racing_processes_make_one_task_of_one_key() {
    let Some(server) = Server::start() else { return };
    let processes = join_all((0..3).map(|_| connect(&server, "agent"))).await;
    let inserts = (0..60).map(|number| {
        let task = record(&format!("t-{number}"), Some(&format!("k-{}", number % 20)));
        processes[number / 20].insert(new(task))
    });
    let outcomes = join_all(inserts).await;
    let is_new = |outcome: &Result<Inserted, _>| matches!(outcome, Ok(Inserted::New));
    assert_eq!(outcomes.iter().filter(|outcome| is_new(outcome)).count(), 20);
    assert!(outcomes.iter().all(Result::is_ok));
}

/// Ids of deliveries, in order.
fn ids(deliveries: &[Delivery]) -> Vec<i64> {
    deliveries.iter().map(|one| one.id).collect()
}

#[tokio::test]
async fn one_process_at_a_time_has_a_delivery_in_hand() {
    let Some(server) = Server::start() else { return };
    let (one, other) = (connect(&server, "agent").await, connect(&server, "agent").await);
    for number in 0..10 {
        let mut task = put(&one, &format!("t-{number}"), TaskState::Working, 1).await;
        one.put_push(config(&task.task.id, "a")).await.unwrap();
        let event = advance(&mut task, TaskState::Completed, 2);
        one.save(task, vec![event]).await.unwrap();
    }
    let first = ids(&one.due_deliveries(at(2), 0, 4).await.unwrap());
    let second = ids(&other.due_deliveries(at(2), 0, 99).await.unwrap());
    assert_eq!((first.len(), second.len()), (4, 6));
    assert!(first.iter().all(|id| !second.contains(id)));
    assert_eq!(ids(&one.due_deliveries(at(2), 0, 99).await.unwrap()), first, "still its own");

    one.delay_delivery(first[0], at(5)).await.unwrap();
    let retried = other.due_deliveries(at(5), 0, 1).await.unwrap();
    assert_eq!((retried[0].id, retried[0].attempt), (first[0], 1), "whoever comes first");
    // What others have in hand is due for this one when their claims run out, not before.
    for id in &first[1..] {
        one.finish_delivery(*id).await.unwrap();
    }
    assert!(one.next_delivery().await.unwrap().unwrap() > jiff::Timestamp::UNIX_EPOCH);
    assert!(one.due_deliveries(at(5), 0, 99).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_restarted_server_has_everything_and_is_used_again() {
    let Some(mut server) = Server::start() else { return };
    let tasks: Arc<dyn TaskStore> = Arc::new(connect(&server, "agent").await);
    let task = put(&*tasks, "t-1", TaskState::Working, 1).await;
    server.restart();
    assert_eq!(tasks.load("t-1".into()).await.unwrap(), Some(task.clone()));
    put(&*tasks, "t-2", TaskState::Working, 1).await;
    let again = connect(&server, "agent").await;
    assert_eq!(again.list(query(9)).await.unwrap().total, 2);
    assert_eq!(again.events("t-1".into(), 0, 9).await.unwrap().len(), 1);
}

async fn open(database: &str) -> Result<store::Opened, store::StoreError> {
    let time = Arc::new(|| jiff::Timestamp::UNIX_EPOCH);
    let this = (String::new(), 0, 0);
    let options = OpenOptions::of_process("one".into(), this, |_, _, _| true, LEASE, time);
    store::open(database, "agent", options).await
}

#[tokio::test]
async fn a_setting_names_the_server_and_a_restart_takes_the_tasks_of_the_dead_at_once() {
    let Some(server) = Server::start() else { return };
    let opened = open(&server.url()).await.unwrap();
    put(&*opened.tasks, "t-1", TaskState::Working, 1).await;
    let again = open(&server.url()).await.unwrap();
    assert_eq!(task_store_suite::sample::ids(&again.tasks.adopt(9).await.unwrap()), ["t-1"]);
    drop(server);
    let nowhere = open("postgres:///tasks?host=/nowhere").await;
    assert_eq!(nowhere.unwrap_err().to_string(), "setting `database` cannot be used");
}

#[tokio::test]
async fn one_bad_write_spoils_no_other_of_its_batch() {
    let Some(server) = Server::start() else { return };
    let tasks = connect(&server, "agent").await;
    put(&tasks, "t-7", TaskState::Working, 1).await;
    let inserts = (0..20).map(|number| tasks.insert(new(record(&format!("t-{number}"), None))));
    let failed: Vec<usize> = (join_all(inserts).await.iter().enumerate())
        .filter(|(_, outcome)| outcome.is_err())
        .map(|(number, _)| number)
        .collect();
    assert_eq!(failed, [7]);
}

#[tokio::test]
async fn a_task_that_cannot_be_read_holds_up_no_other() {
    let Some(server) = Server::start() else { return };
    let (one, other) = (connect(&server, "agent").await, connect(&server, "agent").await);
    for number in 1..=3 {
        put(&one, &format!("t-{number}"), TaskState::Working, 1).await;
    }
    let mut raw = server.url().parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    sqlx::query("UPDATE task SET task = '{}' WHERE id = 't-2'").execute(&mut raw).await.unwrap();
    silence(&server, &one).await;
    let adopted = other.adopt(9).await.unwrap();
    assert_eq!(task_store_suite::sample::ids(&adopted), ["t-1", "t-3"]);
    assert_eq!(adopted.unreadable[0].id, "t-2");
    assert!(other.adopt(9).await.unwrap().unreadable.is_empty(), "it is reported once");
    assert_eq!(other.claim("t-2".into()).await.unwrap(), None);
    let seen = (1..=3).map(|number| (format!("t-{number}"), 0)).collect();
    assert_eq!(other.progress(seen).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_newer_replica_may_add_a_column_while_an_older_one_is_at_work() {
    let Some(server) = Server::start() else { return };
    let (one, other) = (connect(&server, "agent").await, connect(&server, "agent").await);
    put(&one, "t-1", TaskState::Working, 1).await;
    let mut raw = server.url().parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    // Statements that are prepared go on, on every connection.
    for number in 0..2 {
        let works = async |tasks: &PostgresTasks| {
            tasks.load("t-1".into()).await.unwrap().unwrap();
            tasks.claim("t-1".into()).await.unwrap();
            tasks.progress(vec![("t-1".into(), 0)]).await.unwrap();
            tasks.adopt(9).await.unwrap();
            let known = NewTask { record: record("t-9", Some("k")), push: None };
            tasks.insert(known).await.unwrap();
        };
        for _ in 0..3 {
            works(&one).await;
            works(&other).await;
        }
        let alter = format!("ALTER TABLE task ADD COLUMN later_{number} TEXT");
        sqlx::query(sqlx::AssertSqlSafe(alter)).execute(&mut raw).await.unwrap();
    }
}

#[tokio::test]
async fn the_journal_has_no_gap_where_a_body_is_committed_late() {
    let Some(server) = Server::start() else { return };
    let store = open(&server.url()).await.unwrap().store;
    let mut raw = sqlx::PgConnection::connect(&server.url()).await.unwrap();
    raw.execute("SET search_path TO agent; BEGIN").await.unwrap();
    let first = "INSERT INTO delivery (source, received_at, body) VALUES ('a', 0, 'first')";
    raw.execute(first).await.unwrap();
    let second = Delivered { source: "a".into(), body: "second".into(), at: at(1) };
    store.commit(Batch { delivered: vec![second], ..Batch::default() }).await.unwrap();
    let mut reading = store.deliveries(0, 9);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut reading).await;
    assert!(early.is_err(), "the first may come yet: {early:?}");
    raw.execute("COMMIT").await.unwrap();
    let bodies: Vec<_> = reading.await.unwrap().into_iter().map(|row| row.body).collect();
    assert_eq!(bodies, ["first", "second"]);
    store.close().await;
}
