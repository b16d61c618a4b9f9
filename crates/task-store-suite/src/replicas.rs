//! Two replicas of one agent.

use std::collections::BTreeSet;

use a2a_types::{Inserted, TaskRecord, TaskState, TaskStore, TaskStoreError};
use futures::future::{BoxFuture, join, join_all};

use crate::sample::{advance, at, config, ids, new, put, record};

/// Two replicas over the same empty store.
pub struct Pair<'a> {
    pub one: &'a dyn TaskStore,
    pub other: &'a dyn TaskStore,
    /// Lets the first one be silent for longer than its lease.
    pub silence: &'a (dyn Fn() -> BoxFuture<'a, ()> + Sync),
}

impl std::fmt::Debug for Pair<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("one", &self.one).field("other", &self.other).finish()
    }
}

async fn held(tasks: &dyn TaskStore, id: &str) -> bool {
    !tasks.held(vec![id.into()]).await.unwrap().is_empty()
}

/// Moves a task on and tries to save it.
async fn save(
    tasks: &dyn TaskStore,
    record: &mut TaskRecord,
    state: TaskState,
) -> Result<(), TaskStoreError> {
    let event = advance(record, state, 5);
    tasks.save(record.clone(), vec![event]).await
}

fn lost(id: &str) -> Result<(), TaskStoreError> {
    Err(TaskStoreError::Lost { id: id.into() })
}

pub async fn tasks_of_a_living_replica_are_its_own(Pair { one, other, .. }: Pair<'_>) {
    assert!(one.lease().is_some() && other.lease().is_some());
    let mut record = put(one, "t-1", TaskState::Working, 1).await;
    assert!(other.adopt(9).await.unwrap().tasks.is_empty());
    assert_eq!(other.claim("t-1".into()).await.unwrap(), None);
    other.release("t-1".into()).await.unwrap();
    assert!(held(one, "t-1").await && !held(other, "t-1").await);
    assert_eq!(other.mine().await.unwrap(), [""; 0]);
    let mut theirs = record.clone();
    assert_eq!(save(other, &mut theirs, TaskState::Failed).await, lost("t-1"));
    assert_eq!(one.load("t-1".into()).await.unwrap(), Some(record.clone()));
    assert_eq!(one.events("t-1".into(), 1, 9).await.unwrap(), []);
    save(one, &mut record, TaskState::Completed).await.unwrap();
}

pub async fn racing_replicas_take_each_task_once(Pair { one, other, .. }: Pair<'_>) {
    for number in 0..60 {
        let id = format!("t-{number:02}");
        put(one, &id, TaskState::Working, 1).await;
        one.release(id).await.unwrap();
    }
    let racing = (0..6).map(|number| take_all(if number % 2 == 0 { one } else { other }));
    let taken: Vec<String> = join_all(racing).await.into_iter().flatten().collect();
    assert_eq!(taken.len(), 60, "{taken:?}");
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 60);
    let (mine, theirs) = (one.mine().await.unwrap(), other.mine().await.unwrap());
    assert_eq!(mine.len() + theirs.len(), 60);
}

async fn take_all(tasks: &dyn TaskStore) -> Vec<String> {
    let mut taken = Vec::new();
    loop {
        let page = tasks.adopt(7).await.unwrap().tasks;
        let is_last = page.len() < 7;
        taken.extend(page.into_iter().map(|record| record.task.id));
        if is_last {
            return taken;
        }
    }
}

pub async fn a_silent_replica_loses_its_tasks(Pair { one, other, silence }: Pair<'_>) {
    let mut record = put(one, "t-1", TaskState::Working, 1).await;
    silence().await;
    assert_eq!(ids(&other.adopt(9).await.unwrap()), ["t-1"]);
    let mut theirs = record.clone();
    one.heartbeat().await.unwrap();
    assert!(!held(one, "t-1").await && held(other, "t-1").await);
    assert_eq!(save(one, &mut record, TaskState::Completed).await, lost("t-1"));
    assert_eq!(one.load("t-1".into()).await.unwrap(), Some(theirs.clone()));
    assert!(one.adopt(9).await.unwrap().tasks.is_empty());
    one.release("t-1".into()).await.unwrap();
    save(other, &mut theirs, TaskState::Completed).await.unwrap();
    assert_eq!(save(one, &mut record, TaskState::Failed).await, lost("t-1"));
    assert_eq!(one.events("t-1".into(), 0, 9).await.unwrap().len(), 2);
}

pub async fn a_silent_replica_keeps_what_nobody_took(Pair { one, other, silence }: Pair<'_>) {
    let mut record = put(one, "t-1", TaskState::Working, 1).await;
    silence().await;
    one.heartbeat().await.unwrap();
    assert!(other.adopt(9).await.unwrap().tasks.is_empty());
    save(one, &mut record, TaskState::Completed).await.unwrap();
}

pub async fn a_released_task_is_taken_at_once(Pair { one, other, .. }: Pair<'_>) {
    let mut record = put(one, "t-1", TaskState::Working, 1).await;
    one.release("t-1".into()).await.unwrap();
    let mut early = record.clone();
    assert_eq!(save(one, &mut early, TaskState::Working).await, lost("t-1"), "nobody has it");
    assert_eq!(ids(&other.adopt(9).await.unwrap()), ["t-1"]);
    save(other, &mut record, TaskState::Completed).await.unwrap();
}

pub async fn of_two_that_claim_a_waiting_task_one_has_it(Pair { one, other, .. }: Pair<'_>) {
    for number in 0..10 {
        let id = format!("t-{number}");
        let mut record = put(one, &id, TaskState::InputRequired, 1).await;
        let (mine, theirs) = join(one.claim(id.clone()), other.claim(id.clone())).await;
        let (mine, theirs) = (mine.unwrap(), theirs.unwrap());
        assert!(mine.is_some() != theirs.is_some(), "{mine:?} {theirs:?}");
        let (has, has_not) = if mine.is_some() { (one, other) } else { (other, one) };
        let mut late = record.clone();
        assert_eq!(save(has_not, &mut late, TaskState::Working).await, lost(&id));
        save(has, &mut record, TaskState::Working).await.unwrap();
        save(has, &mut record, TaskState::InputRequired).await.unwrap();
        assert!(has_not.claim(id).await.unwrap().is_some(), "it waits again");
    }
}

pub async fn a_silent_replica_loses_what_it_claimed(Pair { one, other, silence }: Pair<'_>) {
    let mut record = put(one, "t-1", TaskState::AuthRequired, 1).await;
    assert!(one.claim("t-1".into()).await.unwrap().is_some());
    assert_eq!(other.claim("t-1".into()).await.unwrap(), None);
    silence().await;
    assert!(other.adopt(9).await.unwrap().tasks.is_empty(), "it waits for its caller");
    assert!(other.claim("t-1".into()).await.unwrap().is_some());
    assert_eq!(save(one, &mut record, TaskState::Working).await, lost("t-1"));
}

pub async fn of_two_answers_to_one_question_the_first_stays(Pair { one, other, .. }: Pair<'_>) {
    let mut record = put(one, "t-1", TaskState::InputRequired, 1).await;
    let mut late = record.clone();
    save(other, &mut record, TaskState::Working).await.unwrap();
    assert!(held(other, "t-1").await);
    assert_eq!(save(one, &mut late, TaskState::Working).await, lost("t-1"));
    save(other, &mut record, TaskState::InputRequired).await.unwrap();
    assert_eq!(save(one, &mut late, TaskState::Working).await, lost("t-1"), "another question");
    assert_eq!(one.load("t-1".into()).await.unwrap(), Some(record));
}

pub async fn a_wish_to_cancel_reaches_whoever_has_the_task(Pair { one, other, silence }: Pair<'_>) {
    let mut record = put(one, "t-1", TaskState::Working, 1).await;
    other.ask_cancel("t-1".into()).await.unwrap();
    assert_eq!(one.cancel_asked().await.unwrap(), ["t-1"]);
    assert_eq!(other.cancel_asked().await.unwrap(), [""; 0]);
    silence().await;
    assert_eq!(ids(&other.adopt(9).await.unwrap()), ["t-1"]);
    assert_eq!(other.cancel_asked().await.unwrap(), ["t-1"]);
    assert_eq!(one.cancel_asked().await.unwrap(), [""; 0]);
    save(other, &mut record, TaskState::Canceled).await.unwrap();
    assert_eq!(other.cancel_asked().await.unwrap(), [""; 0]);
}

pub async fn a_key_finds_the_task_of_another_replica(Pair { one, other, .. }: Pair<'_>) {
    let first = record("t-1", Some("k"));
    assert!(matches!(one.insert(new(first.clone())).await.unwrap(), Inserted::New));
    let again = other.insert(new(record("t-2", Some("k")))).await.unwrap();
    assert!(matches!(again, Inserted::Existing(known) if *known == first));
    assert!(held(one, "t-1").await && !held(other, "t-1").await);
}

pub async fn what_one_stored_the_other_sees(Pair { one, other, .. }: Pair<'_>) {
    let mut record = put(one, "t-1", TaskState::Working, 1).await;
    assert_eq!(other.progress(vec![("t-1".into(), 1)]).await.unwrap(), []);
    save(one, &mut record, TaskState::Completed).await.unwrap();
    assert_eq!(other.progress(vec![("t-1".into(), 1)]).await.unwrap(), [record]);
    assert_eq!(other.events("t-1".into(), 1, 9).await.unwrap().len(), 1);
}

pub async fn one_replica_at_a_time_has_a_delivery_in_hand(Pair { one, other, .. }: Pair<'_>) {
    let mut record = put(one, "t-1", TaskState::Working, 1).await;
    other.put_push(config("t-1", "a")).await.unwrap();
    save(one, &mut record, TaskState::Completed).await.unwrap();
    let due = one.due_deliveries(at(9), 0, 9).await.unwrap();
    assert_eq!(due.len(), 1);
    assert!(other.due_deliveries(at(9), 0, 9).await.unwrap().is_empty());
    assert!(other.next_delivery().await.unwrap().is_some());
    assert_eq!(one.due_deliveries(at(9), 0, 9).await.unwrap().len(), 1, "still its own");
    one.delay_delivery(due[0].id, at(9)).await.unwrap();
    assert_eq!(other.due_deliveries(at(9), 0, 9).await.unwrap().len(), 1);
}
