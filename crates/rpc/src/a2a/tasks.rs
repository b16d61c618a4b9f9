//! Tasks while they run: one writer each, every change committed before anyone sees it, and a
//! restarted server takes up what it had not finished. Where several replicas share a store, each
//! task is one replica's, and all of them answer for it. To anyone but its owner a task is unknown.

mod agent;
mod expire;
mod live;
mod pushes;
mod replicas;
mod run;
mod subscribe;
mod take;
#[cfg(test)]
mod tests;
mod updates;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use a2a_types::{
    A2aError, Task, TaskOwner, TaskPage, TaskQuery, TaskRecord, TaskState, TaskStore,
    TaskStoreError,
};
use tokio::sync::{Notify, oneshot};
use tracing::Instrument;

use crate::Host;
use live::{Live, Registry};

pub use agent::{Agent, AgentError, Job};
pub(crate) use subscribe::Subscription;
pub(crate) use take::{TakeMessage, Taken};
pub use updates::Updates;

/// Set in a failed task's metadata when the same request may succeed later.
pub const TRANSIENT_KEY: &str = "firebreak/transient";

/// How long a cancellation waits for the agent to stop.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// Tasks that can be made live at a time.
const REVIVALS: usize = 64;

/// Bounds of the tasks of one server.
#[derive(Clone, Debug)]
pub struct TaskOptions {
    /// How long a task is kept after its end.
    pub retention: Duration,
    /// How long a task waits for its caller. Then it goes, unanswered.
    pub patience: Duration,
    /// Tasks that are at work, waited for or listened to at once. Beyond it, messages are refused as
    /// unavailable, and senders try again.
    pub live_tasks: usize,
    /// Streams of one task at once. Beyond it, another one is refused as unavailable.
    pub subscribers: usize,
}

impl Default for TaskOptions {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self { retention: 7 * DAY, patience: 30 * DAY, live_tasks: 10_000, subscribers: 100 }
    }
}

/// The tasks of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Tasks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    agent: Arc<dyn Agent>,
    store: Arc<dyn TaskStore>,
    host: Host,
    options: TaskOptions,
    live: Arc<Registry>,
    /// Held while a stored task is made live, taken or given back, so that none is made live twice or
    /// after its end. Each task has one of them by its id, so that a slow answer of the store holds
    /// up few others.
    reviving: [tokio::sync::Mutex<()>; REVIVALS],
    /// This replica may have tasks that it does not work on, since the store did not answer.
    is_in_doubt: AtomicBool,
    /// Woken when there may be tasks to take.
    adoption: Notify,
    /// Woken when there may be push notifications to send.
    deliveries: Arc<Notify>,
}

impl Tasks {
    pub(crate) fn new(
        agent: Arc<dyn Agent>,
        store: Arc<dyn TaskStore>,
        host: Host,
        options: TaskOptions,
        deliveries: Arc<Notify>,
    ) -> Self {
        host.spawn(expire::run(store.clone(), host.clone(), options.clone()));
        let tasks = Self(Arc::new(Inner {
            agent,
            store,
            host,
            options,
            live: Arc::default(),
            reviving: std::array::from_fn(|_| Default::default()),
            is_in_doubt: AtomicBool::new(false),
            adoption: Notify::new(),
            deliveries,
        }));
        tasks.0.host.spawn(replicas::keep_lease(tasks.clone()));
        tasks.0.host.spawn(replicas::follow(tasks.clone()));
        tasks
    }

    /// Takes up tasks that nobody works on, now and as long as the server lives; returns how many it
    /// took at first.
    pub(crate) async fn resume(&self) -> Result<usize, TaskStoreError> {
        let count = self.adopt().await?.count;
        self.0.host.spawn(replicas::adopt(self.clone()));
        Ok(count)
    }

    /// Tasks in memory.
    pub(crate) fn live_count(&self) -> usize {
        self.0.live.len()
    }

    /// The task as it is now.
    pub(crate) async fn get(&self, owner: &TaskOwner, id: &str) -> Result<Task, A2aError> {
        Ok(self.record(owner, id).await?.task.clone())
    }

    /// Tasks of one owner, newest status first.
    pub(crate) async fn list(&self, query: TaskQuery) -> Result<TaskPage, A2aError> {
        self.0.store.list(query).await.map_err(internal)
    }

    /// Asks the agent to stop, and marks the task canceled. An agent in the middle of an effect
    /// ends the task itself: when that takes long, the answer is the task as it stands.
    pub(crate) async fn cancel(&self, owner: &TaskOwner, id: &str) -> Result<Task, A2aError> {
        self.record(owner, id).await?;
        let Some(live) = self.revive(id).await.map_err(internal)? else {
            let task = self.get(owner, id).await?;
            if task.status.state == TaskState::Canceled {
                return Ok(task);
            }
            let why = format!("{id} is {}", task.status.state.as_str());
            return Err(A2aError::TaskNotCancelable(why));
        };
        if self.is_shared() {
            // For whoever has the task, or will have it.
            self.0.store.ask_cancel(id.to_owned()).await.map_err(internal)?;
        }
        if let Some(tenure) = live.tenure() {
            tenure.cancelled.cancel();
        }
        let record = match tokio::time::timeout(CANCEL_PATIENCE, self.stopped(&live)).await {
            Ok(stopped) => stopped?,
            Err(_) => live.record(),
        };
        Ok(record.task.clone())
    }

    /// Waits until a task that is canceled has ended.
    async fn stopped(&self, live: &Arc<Live>) -> Result<Arc<TaskRecord>, A2aError> {
        loop {
            let record = self.settled(live).await?;
            if record.task.status.state.is_terminal() {
                return Ok(record);
            }
            if let Some(record) = self.cancel_waiting(live).await.map_err(internal)? {
                return Ok(record);
            }
        }
    }

    /// Waits until the task is finished or waits for its caller.
    async fn settled(&self, live: &Live) -> Result<Arc<TaskRecord>, A2aError> {
        let mut seen = live.seen.subscribe();
        let settled = seen.wait_for(|record| record.task.status.state.is_settled());
        tokio::select! {
            record = settled => Ok(record.expect("its sender is in `live`").clone()),
            // The next process goes on with it, and finds it again by the caller's key.
            () = self.0.host.shutdown().cancelled() => {
                Err(A2aError::Unavailable("the agent is shutting down".into()))
            }
        }
    }

    async fn record(&self, owner: &TaskOwner, id: &str) -> Result<Arc<TaskRecord>, A2aError> {
        let record = self.newest(id).await.map_err(internal)?;
        let record = record.filter(|record| record.owner == *owner);
        record.ok_or_else(|| A2aError::TaskNotFound(id.to_owned()))
    }

    /// The task as it was last committed, wherever that was.
    async fn newest(&self, id: &str) -> Result<Option<Arc<TaskRecord>>, TaskStoreError> {
        let live = self.0.live.get(id);
        if let Some(live) = &live
            && (live.is_at_work_here() || !self.is_shared())
        {
            return Ok(Some(live.record()));
        }
        let Some(record) = self.0.store.load(id.to_owned()).await? else { return Ok(None) };
        Ok(Some(match live {
            Some(live) => {
                live.refresh(record).await;
                live.record()
            }
            None => Arc::new(record),
        }))
    }

    /// Whether other replicas may have tasks of the same store.
    fn is_shared(&self) -> bool {
        self.0.store.lease().is_some()
    }

    /// The live form of a task that has not ended, taken up from the store if it must be: what nobody
    /// works on is resumed; what waits for its caller goes on waiting, and what another replica works
    /// on is followed. `None`: it has ended, or is unknown.
    async fn revive(&self, id: &str) -> Result<Option<Arc<Live>>, TaskStoreError> {
        let is_running = |live: &Arc<Live>| !live.record().task.status.state.is_terminal();
        if let Some(live) = self.0.live.get(id) {
            return Ok(Some(live).filter(is_running));
        }
        let _reviving = self.0.reviving(id).await;
        if let Some(live) = self.0.live.get(id) {
            return Ok(Some(live).filter(is_running));
        }
        // Read after it was seen not to be live: a task is stored before it is forgotten.
        let Some(record) = self.0.store.load(id.to_owned()).await? else { return Ok(None) };
        if record.task.status.state.is_terminal() {
            return Ok(None);
        }
        let has_push = !self.0.store.pushes(id.to_owned()).await?.is_empty();
        let is_waiting = record.task.status.state.is_interrupted();
        let live = self.enliven(record, has_push);
        if !is_waiting && let Some(record) = self.0.store.claim(id.to_owned()).await? {
            self.take_up(&live, record).await;
        }
        Ok(Some(live))
    }

    fn enliven(&self, record: TaskRecord, has_push: bool) -> Arc<Live> {
        let live = self.0.live.add(record, self.0.options.subscribers);
        live.has_push.store(has_push, Ordering::SeqCst);
        live
    }

    /// Does `work` to its end, even when nobody waits for it any more: a caller that hangs up
    /// between two steps leaves nothing half done.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, TaskStoreError>> + Send + 'static,
    ) -> Result<T, TaskStoreError> {
        let (done, result) = oneshot::channel();
        let work = async move {
            // Nobody may wait for it.
            let _ = done.send(work.await);
        };
        self.0.host.spawn(work.in_current_span());
        result.await.unwrap_or_else(|_| {
            Err(TaskStoreError::Unavailable("the change was not finished".into()))
        })
    }
}

impl Inner {
    async fn reviving(&self, id: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        self.reviving[hasher.finish() as usize % REVIVALS].lock().await
    }
}

fn internal(error: TaskStoreError) -> A2aError {
    tracing::error!(%error, "task store");
    A2aError::Internal("the task store is unavailable".into())
}
