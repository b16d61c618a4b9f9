//! Tasks in SQLite: what every task store must do, and what a file and a group commit promise.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use a2a_types::{Artifact, Expiry, Inserted, NewTask, Part, TaskState, TaskStore, TaskStoreError};
use futures::future::{join, join_all};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};
use store::{OpenOptions, Opened, Replica, Store};
use task_store_suite::sample::{advance, at, config, ids, new, owner, put, query, record};

async fn open(directory: &Path) -> (Arc<dyn Store>, Arc<dyn TaskStore>) {
    let options = OpenOptions {
        replica: Replica { id: "one".into(), host: String::new(), pid: 0, start_time: 0 },
        lease: Duration::from_secs(60),
        is_dead: Arc::new(|_| false),
        time: Arc::new(|| at(0)),
    };
    let path = directory.join("test.db").display().to_string();
    let Opened { store, tasks } = store::open(&path, "agent", options).await.unwrap();
    (store, tasks)
}

macro_rules! on_sqlite {
    ($($name:ident),+) => {$(
        #[tokio::test]
        async fn $name() {
            let directory = tempfile::tempdir().unwrap();
            let (store, tasks) = open(directory.path()).await;
            task_store_suite::$name(&*tasks).await;
            store.close().await;
        }
    )+};
}

task_store_suite::each_behaviour!(on_sqlite);

#[tokio::test]
async fn a_reopened_file_has_tasks_events_and_deliveries() {
    let directory = tempfile::tempdir().unwrap();
    let (store, tasks) = open(directory.path()).await;
    let mut task = record("t-1", Some("k"));
    let push = Some(config("t-1", "a"));
    tasks.insert(NewTask { record: task.clone(), push }).await.unwrap();
    let event = advance(&mut task, TaskState::Working, 1);
    tasks.save(task.clone(), vec![event.clone()]).await.unwrap();
    drop((store, tasks));
    let (_store, tasks) = open(directory.path()).await;
    assert_eq!(tasks.adopt(9).await.unwrap().tasks, [task]);
    assert_eq!(tasks.events("t-1".into(), 0, 9).await.unwrap(), std::slice::from_ref(&event));
    let due = tasks.due_deliveries(at(1), 0, 9).await.unwrap();
    assert_eq!((&due[0].config, &due[0].event), (&config("t-1", "a"), &event));
}

#[tokio::test]
async fn one_bad_write_spoils_no_other_of_its_batch() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, tasks) = open(directory.path()).await;
    put(&*tasks, "t-7", TaskState::Working, 1).await;
    let inserts = (0..20).map(|number| tasks.insert(new(record(&format!("t-{number}"), None))));
    let outcomes = join_all(inserts).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(_) => assert_ne!(number, 7),
            Err(error) => {
                let expected = "task store: a task of the same id exists already";
                assert_eq!((number, error.to_string().as_str()), (7, expected));
            }
        }
    }
    assert_eq!(tasks.list(query(99)).await.unwrap().total, 20);
}

#[tokio::test]
async fn a_save_is_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, tasks) = open(directory.path()).await;
    let before = put(&*tasks, "t-1", TaskState::Working, 1).await;
    tasks.put_push(config("t-1", "a")).await.unwrap();
    let mut after = before.clone();
    let next = advance(&mut after, TaskState::Completed, 2);
    let mut repeated = next.clone();
    repeated.sequence = 1;
    assert!(tasks.save(after, vec![next, repeated]).await.is_err());
    assert_eq!(tasks.load("t-1".into()).await.unwrap(), Some(before));
    assert_eq!(tasks.events("t-1".into(), 0, 9).await.unwrap().len(), 1);
    assert_eq!(tasks.next_delivery().await.unwrap(), None);
}

#[tokio::test]
async fn saves_of_one_task_are_committed_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, tasks) = open(directory.path()).await;
    let mut task = put(&*tasks, "t-1", TaskState::Working, 0).await;
    let saves: Vec<_> = (1..=30)
        .map(|second| {
            let event = advance(&mut task, TaskState::Working, second);
            tasks.save(task.clone(), vec![event])
        })
        .collect();
    for outcome in join_all(saves).await {
        outcome.unwrap();
    }
    assert_eq!(tasks.load("t-1".into()).await.unwrap(), Some(task));
}

#[tokio::test]
async fn task_writes_and_transactions_take_turns() {
    let directory = tempfile::tempdir().unwrap();
    let (store, tasks) = open(directory.path()).await;
    let inserts = (0..200).map(|number| tasks.insert(new(record(&format!("t-{number}"), None))));
    let locks = (0..50).map(|number| {
        let store = store.clone();
        async move { store.lock_target(format!("db-{number}"), "t-1".into()).await }
    });
    let (inserted, locked) = join(join_all(inserts), join_all(locks)).await;
    assert!(inserted.iter().all(Result::is_ok));
    assert!(locked.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_closed_store_answers_everyone_and_keeps_what_it_promised() {
    let directory = tempfile::tempdir().unwrap();
    let (store, tasks) = open(directory.path()).await;
    let inserts = (0..2_000).map(|number| tasks.insert(new(record(&format!("t-{number}"), None))));
    let (outcomes, ()) = join(join_all(inserts), store.close()).await;
    let promised = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let refused = tasks.insert(new(record("t-x", None))).await.unwrap_err();
    assert_eq!(refused.to_string(), "task store: the database is closed");
    drop((store, tasks));
    let (_store, tasks) = open(directory.path()).await;
    assert_eq!(tasks.list(query(1)).await.unwrap().total, promised as u64);
}

#[tokio::test]
async fn texts_that_no_database_holds_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, tasks) = open(directory.path()).await;
    let mut task = record("t-1", None);
    task.owner = owner("nul \0", "");
    let error = tasks.insert(new(task)).await.unwrap_err();
    assert_eq!(error.to_string(), "task store: the tenant holds a NUL character");
    let error = tasks.insert(new(record("t-1", Some(&"k".repeat(513))))).await.unwrap_err();
    assert_eq!(error.to_string(), "task store: the idempotency key is longer than 512 bytes");
}

fn ended_before(second: i64) -> Expiry {
    Expiry { ended_before: at(second), waiting_before: at(0) }
}

#[tokio::test]
async fn a_task_that_cannot_be_read_holds_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (store, tasks) = open(directory.path()).await;
    for number in 1..=5 {
        put(&*tasks, &format!("t-{number}"), TaskState::Working, 1).await;
    }
    drop((store, tasks));
    let spoil = "UPDATE task SET task = '{}' WHERE id IN ('t-1', 't-4')";
    sqlx::query(spoil).execute(&mut raw(&directory.path().join("test.db")).await).await.unwrap();
    let (_store, tasks) = open(directory.path()).await;
    let first = tasks.adopt(2).await.unwrap();
    assert_eq!((first.unreadable[0].id.as_str(), ids(&first)), ("t-1", vec!["t-2"]));
    let second = tasks.adopt(2).await.unwrap();
    assert_eq!((second.unreadable[0].id.as_str(), ids(&second)), ("t-4", vec!["t-3"]));
    assert!(second.unreadable[0].why.contains("a form this version cannot read"));
    assert_eq!(ids(&tasks.adopt(2).await.unwrap()), ["t-5"]);
}

#[tokio::test]
async fn a_notification_that_cannot_be_read_holds_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, tasks) = open(directory.path()).await;
    for number in 1..=2 {
        let mut task = put(&*tasks, &format!("t-{number}"), TaskState::Working, 1).await;
        tasks.put_push(config(&task.task.id, "a")).await.unwrap();
        let event = advance(&mut task, TaskState::Completed, 2);
        tasks.save(task, vec![event]).await.unwrap();
    }
    let spoil = "UPDATE push_config SET config = '{' \
                 WHERE task = (SELECT number FROM task WHERE id = 't-1')";
    sqlx::query(spoil).execute(&mut raw(&directory.path().join("test.db")).await).await.unwrap();
    let due = tasks.due_deliveries(at(2), 0, 9).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].config.task_id, "t-2");
}

#[tokio::test]
async fn an_event_that_is_there_already_means_that_the_task_was_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, tasks) = open(directory.path()).await;
    let mut task = put(&*tasks, "t-1", TaskState::Working, 1).await;
    let mut stale = task.clone();
    let event = advance(&mut task, TaskState::Working, 2);
    tasks.save(task.clone(), vec![event]).await.unwrap();
    let event = advance(&mut stale, TaskState::Failed, 3);
    let lost = TaskStoreError::Lost { id: "t-1".into() };
    assert_eq!(tasks.save(stale, vec![event]).await, Err(lost));
    assert_eq!(tasks.load("t-1".into()).await.unwrap(), Some(task));
}

#[tokio::test]
async fn expired_tasks_leave_room_for_new_ones() {
    let directory = tempfile::tempdir().unwrap();
    let (store, tasks) = open(directory.path()).await;
    let mut pages = Vec::new();
    for round in 0..4 {
        let writers = (0..300).map(|number| {
            let tasks = tasks.clone();
            async move {
                let mut task = record(&format!("t-{round}-{number}"), Some(&format!("{number}")));
                tasks.insert(new(task.clone())).await.unwrap();
                task.task.put_artifact(Artifact::new("a", vec![Part::text("x".repeat(2_000))]));
                let event = advance(&mut task, TaskState::Completed, round);
                tasks.save(task, vec![event]).await.unwrap();
            }
        });
        join_all(writers).await;
        assert_eq!(tasks.expire(ended_before(round + 1), 999).await.unwrap(), 300);
        pages.push(size(directory.path()).await);
    }
    // The first round makes the file, and no later one does.
    assert!(pages[3] <= pages[0] + pages[0] / 10, "{pages:?}");
    store.close().await;
}

/// Pages of the file.
async fn size(directory: &Path) -> i64 {
    let mut file = raw(&directory.join("test.db")).await;
    sqlx::query("PRAGMA page_count").fetch_one(&mut file).await.unwrap().get(0)
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

#[tokio::test]
async fn tasks_of_the_first_version_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("first");
    std::fs::create_dir(&first).unwrap();
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite/0001_tables.sql");
    std::fs::copy(tables, first.join("0001_tables.sql")).unwrap();
    let migrator = sqlx::migrate::Migrator::new(first.as_path()).await.unwrap();
    let mut old = raw(&directory.path().join("test.db")).await;
    migrator.run(&mut old).await.unwrap();
    let mut ended = record("t-1", Some("k"));
    advance(&mut ended, TaskState::Completed, 7);
    let going = record("t-2", None);
    for (task, is_unfinished) in [(&ended, 0), (&going, 1)] {
        sqlx::query(
            "INSERT INTO task (id, idempotency_key, is_unfinished, task, message) \
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&task.task.id)
        .bind(&task.idempotency_key)
        .bind(is_unfinished)
        .bind(serde_json::to_string(&task.task).unwrap())
        .bind(serde_json::to_string(&task.message).unwrap())
        .execute(&mut old)
        .await
        .unwrap();
    }
    drop(old);

    let (_store, tasks) = open(directory.path()).await;
    ended.sequence = 0;
    assert_eq!(tasks.adopt(9).await.unwrap().tasks, [going]);
    let listed = tasks.list(query(9)).await.unwrap();
    assert_eq!(listed.tasks[0], ended.task);
    assert_eq!(listed.total, 2);
    let again = tasks.insert(new(record("t-3", Some("k")))).await.unwrap();
    assert!(matches!(again, Inserted::Existing(known) if *known == ended));
    assert_eq!(tasks.expire(ended_before(7), 9).await.unwrap(), 0);
    assert_eq!(tasks.expire(ended_before(8), 9).await.unwrap(), 1);
}
