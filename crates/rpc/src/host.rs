//! What a server needs of the process it runs in: time, ids, and tasks that shutdown waits for.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

#[derive(Clone)]
pub struct Host {
    time: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ids: Arc<dyn Fn() -> Uuid + Send + Sync>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Host {
    pub fn new(
        time: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        ids: Arc<dyn Fn() -> Uuid + Send + Sync>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        Self { time, ids, tasks, shutdown }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.time)()
    }

    pub(crate) fn new_id(&self) -> Uuid {
        (self.ids)()
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    #[expect(clippy::disallowed_methods, reason = "tracked here, once, for every server")]
    pub(crate) fn spawn<F>(&self, task: F)
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        tokio::spawn(self.tasks.track_future(task));
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}
