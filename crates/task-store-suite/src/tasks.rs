//! Tasks and their events.

use a2a_types::{Artifact, Inserted, Message, Part, Role, TaskState, TaskStore};
use futures::future::join_all;

use crate::sample::{advance, ids, new, owner, put, record};

pub async fn a_task_reads_back_as_it_was_saved(tasks: &dyn TaskStore) {
    assert_eq!(tasks.load("t-1".into()).await.unwrap(), None);
    let mut record = record("t-1", Some("k"));
    record.owner = owner("acme", "alice");
    assert!(matches!(tasks.insert(new(record.clone())).await.unwrap(), Inserted::New));
    assert_eq!(tasks.load("t-1".into()).await.unwrap(), Some(record.clone()));
    let event = advance(&mut record, TaskState::Working, 1);
    record.message = Message::new("m-2", Role::User, vec![Part::text("nul \0, quote \" and 火")]);
    record.task.put_artifact(Artifact::new("a", vec![Part::text("found")]));
    tasks.save(record.clone(), vec![event]).await.unwrap();
    assert_eq!(tasks.load("t-1".into()).await.unwrap(), Some(record));
}

pub async fn saving_an_unknown_task_changes_nothing(tasks: &dyn TaskStore) {
    let mut record = record("t-1", None);
    let event = advance(&mut record, TaskState::Working, 1);
    tasks.save(record, vec![event]).await.unwrap();
    assert_eq!(tasks.load("t-1".into()).await.unwrap(), None);
    assert_eq!(tasks.events("t-1".into(), 0, 9).await.unwrap(), []);
}

pub async fn the_same_key_finds_the_same_task(tasks: &dyn TaskStore) {
    let mut first = record("t-1", Some("k"));
    tasks.insert(new(first.clone())).await.unwrap();
    let event = advance(&mut first, TaskState::Completed, 1);
    tasks.save(first.clone(), vec![event]).await.unwrap();
    let Inserted::Existing(known) = tasks.insert(new(record("t-2", Some("k")))).await.unwrap()
    else {
        panic!("a second task under one key");
    };
    assert_eq!(*known, first);
    assert_eq!(tasks.load("t-2".into()).await.unwrap(), None);
    let again = tasks.insert(new(record("t-1", Some("k")))).await.unwrap();
    assert!(matches!(again, Inserted::Existing(_)), "the id too may be repeated with its key");
}

pub async fn the_same_key_of_another_owner_makes_another_task(tasks: &dyn TaskStore) {
    let owners = [("", ""), ("acme", "alice"), ("acme", "bob"), ("beta", "alice")];
    for (index, (tenant, principal)) in owners.into_iter().enumerate() {
        let mut record = record(&format!("t-{index}"), Some("k"));
        record.owner = owner(tenant, principal);
        assert!(matches!(tasks.insert(new(record)).await.unwrap(), Inserted::New));
    }
}

pub async fn without_a_key_every_task_is_new(tasks: &dyn TaskStore) {
    for id in ["t-1", "t-2"] {
        assert!(matches!(tasks.insert(new(record(id, None))).await.unwrap(), Inserted::New));
    }
}

pub async fn racing_inserts_of_one_key_make_one_task(tasks: &dyn TaskStore) {
    let inserts = (0..16).map(|number| {
        let id = format!("t-{number:02}");
        let insert = tasks.insert(new(record(&id, Some("k"))));
        async move { (id, insert.await.unwrap()) }
    });
    let inserted = join_all(inserts).await;
    let made: Vec<&String> = inserted
        .iter()
        .filter(|(_, inserted)| matches!(inserted, Inserted::New))
        .map(|(id, _)| id)
        .collect();
    let [made] = made[..] else { panic!("{} tasks of one key", made.len()) };
    for (id, inserted) in &inserted {
        if let Inserted::Existing(known) = inserted {
            assert_eq!(known.task.id, *made);
            assert_eq!(tasks.load(id.clone()).await.unwrap(), None);
        }
    }
}

pub async fn finished_and_waiting_tasks_are_not_taken_up(tasks: &dyn TaskStore) {
    let states = [
        ("t-9", TaskState::Working),
        ("t-2", TaskState::Completed),
        ("t-3", TaskState::InputRequired),
        ("t-4", TaskState::Failed),
        ("t-5", TaskState::Submitted),
        ("t-6", TaskState::Canceled),
        ("t-7", TaskState::Rejected),
        ("t-8", TaskState::AuthRequired),
    ];
    for (id, state) in states {
        put(tasks, id, state, 1).await;
        tasks.release(id.into()).await.unwrap();
    }
    let adopted = tasks.adopt(9).await.unwrap();
    assert_eq!(ids(&adopted), ["t-9", "t-5"], "the oldest first");
}

pub async fn tasks_that_nobody_has_are_taken_page_by_page(tasks: &dyn TaskStore) {
    for number in 1..=5 {
        let id = format!("t-{number}");
        put(tasks, &id, TaskState::Working, 1).await;
        assert!(tasks.adopt(9).await.unwrap().tasks.is_empty(), "it is this replica's");
        assert_eq!(tasks.held(vec![id.clone(), "t-0".into()]).await.unwrap(), [id]);
    }
    assert_eq!(tasks.mine().await.unwrap().len(), 5);
    for number in 1..=5 {
        tasks.release(format!("t-{number}")).await.unwrap();
    }
    assert_eq!(tasks.mine().await.unwrap(), [""; 0]);
    for page in [&["t-1", "t-2"][..], &["t-3", "t-4"], &["t-5"], &[]] {
        assert_eq!(ids(&tasks.adopt(2).await.unwrap()), page);
    }
    tasks.release("t-4".into()).await.unwrap();
    assert_eq!(ids(&tasks.adopt(2).await.unwrap()), ["t-4"]);
}

pub async fn a_task_is_claimed_by_its_id_until_it_ends(tasks: &dyn TaskStore) {
    assert_eq!(tasks.claim("t-1".into()).await.unwrap(), None, "unknown");
    let mut record = put(tasks, "t-1", TaskState::InputRequired, 1).await;
    assert_eq!(tasks.held(vec!["t-1".into()]).await.unwrap(), [""; 0], "it waits");
    assert_eq!(tasks.claim("t-1".into()).await.unwrap(), Some(record.clone()));
    assert_eq!(tasks.claim("t-1".into()).await.unwrap(), Some(record.clone()), "it has it");
    assert_eq!(tasks.held(vec!["t-1".into()]).await.unwrap(), ["t-1"]);
    assert!(tasks.adopt(9).await.unwrap().tasks.is_empty());
    for state in [TaskState::Working, TaskState::Completed] {
        let event = advance(&mut record, state, 2);
        tasks.save(record.clone(), vec![event]).await.unwrap();
    }
    assert_eq!(tasks.claim("t-1".into()).await.unwrap(), None, "it has ended");
    assert_eq!(tasks.mine().await.unwrap(), [""; 0]);
}

pub async fn what_was_asked_of_a_task_at_work_is_known(tasks: &dyn TaskStore) {
    let mut record = put(tasks, "t-1", TaskState::Working, 1).await;
    put(tasks, "t-2", TaskState::Working, 1).await;
    assert_eq!(tasks.cancel_asked().await.unwrap(), [""; 0]);
    for id in ["t-0", "t-1"] {
        tasks.ask_cancel(id.into()).await.unwrap();
    }
    assert_eq!(tasks.cancel_asked().await.unwrap(), ["t-1"]);
    let event = advance(&mut record, TaskState::Canceled, 2);
    tasks.save(record.clone(), vec![event]).await.unwrap();
    assert_eq!(tasks.cancel_asked().await.unwrap(), [""; 0]);
    let seen = vec![("t-0".into(), 0), ("t-1".into(), 1), ("t-2".into(), 1)];
    assert_eq!(tasks.progress(seen).await.unwrap(), [record]);
}

pub async fn events_are_read_back_in_order(tasks: &dyn TaskStore) {
    let mut record = record("t-1", None);
    tasks.insert(new(record.clone())).await.unwrap();
    put(tasks, "t-2", TaskState::Working, 1).await;
    let mut told = Vec::new();
    for size in [1, 3, 2] {
        let events: Vec<_> =
            (0..size).map(|_| advance(&mut record, TaskState::Working, 1)).collect();
        told.extend(events.clone());
        tasks.save(record.clone(), events).await.unwrap();
    }
    assert_eq!(told.iter().map(|one| one.sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(tasks.events("t-1".into(), 0, 99).await.unwrap(), told);
    assert_eq!(tasks.events("t-1".into(), 2, 3).await.unwrap(), told[2..5]);
    assert_eq!(tasks.events("t-1".into(), 6, 9).await.unwrap(), []);
    assert_eq!(tasks.load("t-1".into()).await.unwrap().unwrap().sequence, 6);
}

pub async fn many_writers_lose_nothing(tasks: &dyn TaskStore) {
    let writers = (0..50).map(|number| async move {
        let mut record = record(&format!("t-{number}"), Some(&format!("k-{number}")));
        assert!(matches!(tasks.insert(new(record.clone())).await.unwrap(), Inserted::New));
        for second in 1..=4 {
            let event = advance(&mut record, TaskState::Working, second);
            tasks.save(record.clone(), vec![event]).await.unwrap();
        }
        record
    });
    for record in join_all(writers).await {
        let id = record.task.id.clone();
        let events = tasks.events(id.clone(), 0, 99).await.unwrap();
        assert_eq!(events.iter().map(|one| one.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(tasks.load(id).await.unwrap(), Some(record));
    }
}
