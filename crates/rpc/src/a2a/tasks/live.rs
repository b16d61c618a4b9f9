//! Tasks in memory: only those that somebody runs, waits for or listens to. The last one to let go
//! of a task takes it out of the registry, so what is finished or merely waits for its caller
//! leaves nothing behind; the store has it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, Weak};

use a2a_types::{StreamResponse, TaskEvent, TaskOwner, TaskRecord, TaskStore, TaskStoreError};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// Newest events of a live task that are kept in memory. Whoever is further behind reads the store.
const TAIL: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<HashMap<String, Weak<Live>>>);

#[derive(Debug)]
pub(super) struct Live {
    pub(super) owner: TaskOwner,
    /// The task as it was last committed, with the number of its last event.
    pub(super) seen: watch::Sender<Arc<TaskRecord>>,
    pub(super) cancelled: CancellationToken,
    /// Messages taken since it is live: the end of a run ends no later turn.
    pub(super) turn: AtomicU64,
    /// Held while the agent runs: turns do not overlap.
    pub(super) running: tokio::sync::Mutex<()>,
    /// One place for each subscriber.
    pub(super) places: Arc<Semaphore>,
    /// Somebody is to be notified of its events.
    pub(super) has_push: AtomicBool,
    /// Held while it changes: events are seen in the order they were committed.
    writing: tokio::sync::Mutex<()>,
    tail: Mutex<VecDeque<TaskEvent>>,
    registry: Weak<Registry>,
}

impl Registry {
    pub(super) fn len(&self) -> usize {
        self.tasks().len()
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Live>> {
        self.tasks().get(id).and_then(Weak::upgrade)
    }

    /// Makes a task live. The caller knows that it is not: it is new, or nobody else revives one.
    pub(super) fn add(
        self: &Arc<Self>,
        record: TaskRecord,
        subscribers: usize,
        cancelled: CancellationToken,
    ) -> Arc<Live> {
        let id = record.task.id.clone();
        let live = Arc::new(Live {
            owner: record.owner.clone(),
            seen: watch::Sender::new(Arc::new(record)),
            cancelled,
            turn: AtomicU64::new(0),
            running: tokio::sync::Mutex::default(),
            places: Arc::new(Semaphore::new(subscribers)),
            has_push: AtomicBool::new(false),
            writing: tokio::sync::Mutex::default(),
            tail: Mutex::default(),
            registry: Arc::downgrade(self),
        });
        self.tasks().insert(id, Arc::downgrade(&live));
        live
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weak<Live>>> {
        self.0.lock().expect("no panic while live tasks are held")
    }
}

impl Live {
    pub(super) fn record(&self) -> Arc<TaskRecord> {
        self.seen.borrow().clone()
    }

    /// Commits a change with its events, then shows it. `None`: the change found nothing to do, or
    /// the task has ended and does not change any more.
    pub(super) async fn commit(
        &self,
        store: &dyn TaskStore,
        change: impl FnOnce(&mut TaskRecord) -> Vec<StreamResponse>,
    ) -> Result<Option<Arc<TaskRecord>>, TaskStoreError> {
        let _writing = self.writing.lock().await;
        let mut next = TaskRecord::clone(&self.record());
        if next.task.status.state.is_terminal() {
            return Ok(None);
        }
        let mut events = Vec::new();
        for event in change(&mut next) {
            next.sequence += 1;
            events.push(TaskEvent { sequence: next.sequence, event });
        }
        if events.is_empty() {
            return Ok(None);
        }
        store.save(next.clone(), events.clone()).await?;
        let next = Arc::new(next);
        // Before the new position is shown: who sees it finds its events.
        self.keep(events);
        self.seen.send_replace(next.clone());
        Ok(Some(next))
    }

    /// The events after `sequence`, at most `limit`, if all of them are still in memory.
    pub(super) fn events_after(&self, sequence: u64, limit: usize) -> Option<Vec<TaskEvent>> {
        let tail = self.tail.lock().expect("no panic while events are held");
        let first = tail.iter().position(|event| event.sequence == sequence + 1)?;
        Some(tail.iter().skip(first).take(limit).cloned().collect())
    }

    fn keep(&self, events: Vec<TaskEvent>) {
        let mut tail = self.tail.lock().expect("no panic while events are held");
        tail.extend(events);
        let excess = tail.len().saturating_sub(TAIL);
        tail.drain(..excess);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let Some(registry) = self.registry.upgrade() else { return };
        let id = &self.seen.borrow().task.id;
        let mut tasks = registry.tasks();
        // Another life of the same task may have begun meanwhile.
        if tasks.get(id).is_some_and(|live| live.strong_count() == 0) {
            tasks.remove(id);
        }
    }
}
