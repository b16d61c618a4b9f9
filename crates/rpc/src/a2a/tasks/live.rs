//! Tasks in memory: only those that somebody runs, waits for or listens to. The last one to let go
//! of a task takes it out of the registry, so what is finished or merely waits for its caller
//! leaves nothing behind; the store has it. A live task is this replica's while it has a tenure;
//! otherwise it is followed: what its replica stores is seen here a moment later.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, Weak};

use a2a_types::{StreamResponse, TaskEvent, TaskOwner, TaskRecord, TaskStore, TaskStoreError};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// Newest events of a live task that are kept in memory. Whoever is further behind reads the store.
const TAIL: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<BTreeMap<String, Weak<Live>>>);

#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: String,
    pub(super) owner: TaskOwner,
    /// The task as it was last committed, with the number of its last event.
    pub(super) seen: watch::Sender<Arc<TaskRecord>>,
    /// Messages taken since it is live: the end of a run ends no later turn.
    pub(super) turn: AtomicU64,
    /// Held while the agent runs: turns do not overlap.
    pub(super) running: tokio::sync::Mutex<()>,
    /// One place for each subscriber.
    pub(super) places: Arc<Semaphore>,
    /// Somebody is to be notified of its events.
    pub(super) has_push: AtomicBool,
    tenure: Mutex<Option<Arc<Tenure>>>,
    /// Held while it changes: events are seen in the order they were committed.
    writing: tokio::sync::Mutex<()>,
    tail: Mutex<VecDeque<TaskEvent>>,
    registry: Weak<Registry>,
}

/// The time for which this replica has a task. Over the question to a caller and its answer it
/// lasts on, if no other replica takes the task meanwhile.
#[derive(Debug)]
pub(super) struct Tenure {
    /// Cancelled when it ends before its task, or the server does.
    pub(super) stopped: CancellationToken,
    /// The same, and when the caller cancels the task.
    pub(super) cancelled: CancellationToken,
}

impl Registry {
    pub(super) fn len(&self) -> usize {
        self.tasks().len()
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Live>> {
        self.tasks().get(id).and_then(Weak::upgrade)
    }

    pub(super) fn all(&self) -> Vec<Arc<Live>> {
        self.tasks().values().filter_map(Weak::upgrade).collect()
    }

    /// Makes a task live. The caller knows that it is not: it is new, or nobody else revives one.
    pub(super) fn add(self: &Arc<Self>, record: TaskRecord, subscribers: usize) -> Arc<Live> {
        let id = record.task.id.clone();
        let live = Arc::new(Live {
            id: id.clone(),
            owner: record.owner.clone(),
            seen: watch::Sender::new(Arc::new(record)),
            turn: AtomicU64::new(0),
            running: tokio::sync::Mutex::default(),
            places: Arc::new(Semaphore::new(subscribers)),
            has_push: AtomicBool::new(false),
            tenure: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            tail: Mutex::default(),
            registry: Arc::downgrade(self),
        });
        self.tasks().insert(id, Arc::downgrade(&live));
        live
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Weak<Live>>> {
        self.0.lock().expect("no panic while live tasks are held")
    }
}

impl Live {
    pub(super) fn record(&self) -> Arc<TaskRecord> {
        self.seen.borrow().clone()
    }

    /// Whether the task is neither settled nor with another replica.
    pub(super) fn is_at_work_here(&self) -> bool {
        self.tenure().is_some() && !self.seen.borrow().task.status.state.is_settled()
    }

    pub(super) fn tenure(&self) -> Option<Arc<Tenure>> {
        self.tenure_slot().clone()
    }

    /// This replica has the task from now on. `None`: it has it already.
    pub(super) fn begin_tenure(&self, shutdown: &CancellationToken) -> Option<Arc<Tenure>> {
        let mut slot = self.tenure_slot();
        if slot.is_some() {
            return None;
        }
        let stopped = shutdown.child_token();
        let tenure = Arc::new(Tenure { cancelled: stopped.child_token(), stopped });
        *slot = Some(tenure.clone());
        Some(tenure)
    }

    pub(super) fn is_under(&self, tenure: &Arc<Tenure>) -> bool {
        self.tenure_slot().as_ref().is_some_and(|current| Arc::ptr_eq(current, tenure))
    }

    /// Ends this tenure, if it has not ended before: its run stops, and writes nothing any more.
    pub(super) fn end_tenure(&self, tenure: &Arc<Tenure>) {
        let mut slot = self.tenure_slot();
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, tenure)) {
            slot.take();
        }
        tenure.stopped.cancel();
    }

    fn tenure_slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Tenure>>> {
        self.tenure.lock().expect("no panic while a tenure is held")
    }

    /// Commits a change with its events, then shows it. `None`: the change found nothing to do, or
    /// the task has ended and does not change any more.
    pub(super) async fn commit(
        &self,
        store: &dyn TaskStore,
        tenure: &Arc<Tenure>,
        change: impl FnOnce(&mut TaskRecord) -> Vec<StreamResponse>,
    ) -> Result<Option<Arc<TaskRecord>>, TaskStoreError> {
        let _writing = self.writing.lock().await;
        if !self.is_under(tenure) {
            return Err(TaskStoreError::Lost { id: self.id.clone() });
        }
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
        if let Err(error) = store.save(next.clone(), events.clone()).await {
            if matches!(error, TaskStoreError::Lost { .. }) {
                self.end_tenure(tenure);
            }
            return Err(error);
        }
        let next = Arc::new(next);
        // Before the new position is shown: who sees it finds its events.
        self.keep(events);
        self.seen.send_replace(next.clone());
        Ok(Some(next))
    }

    /// Ends a tenure that the store knows nothing of, unless the task was changed under it since.
    pub(super) async fn lose(&self, tenure: &Arc<Tenure>, sequence: u64) -> bool {
        let _writing = self.writing.lock().await;
        let is_lost = self.is_under(tenure)
            && self.is_at_work_here()
            && self.seen.borrow().sequence == sequence;
        if is_lost {
            self.end_tenure(tenure);
        }
        is_lost
    }

    /// Shows what another replica has stored; this one has the task no more, then.
    pub(super) async fn refresh(&self, record: TaskRecord) {
        let _writing = self.writing.lock().await;
        if record.sequence <= self.seen.borrow().sequence {
            return;
        }
        if let Some(tenure) = self.tenure() {
            self.end_tenure(&tenure);
        }
        // Its events are in the store only: with a gap, memory would show none of those in it.
        self.tail.lock().expect("no panic while events are held").clear();
        self.seen.send_replace(Arc::new(record));
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
        let mut tasks = registry.tasks();
        // Another life of the same task may have begun meanwhile.
        if tasks.get(&self.id).is_some_and(|live| live.strong_count() == 0) {
            tasks.remove(&self.id);
        }
    }
}
