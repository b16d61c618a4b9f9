//! What a program is handed at its start: clock, ids, health, metrics, and a place to spawn tasks
//! that shutdown waits for. No task is left behind.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::network::{Exchange, Network};
use crate::{Clock, Health, Ids, Metrics};

/// One program's hold on the process it runs in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Process {
    name: &'static str,
    clock: Clock,
    ids: Ids,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    /// `None`: the machine's.
    network: Option<Arc<dyn Network>>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    last: Last,
}

/// What is done when every task has ended.
#[derive(Clone, Default)]
struct Last(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl fmt::Debug for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Last").finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{name}: {tasks} tasks were still running {} s after shutdown began", deadline.as_secs())]
pub struct ShutdownError {
    name: &'static str,
    tasks: usize,
    deadline: Duration,
}

impl Process {
    pub fn new(name: &'static str) -> Self {
        Self::with(name, Clock::System, Ids::default())
    }

    /// A process with its own clock and ids, for tests and simulation.
    pub fn with(name: &'static str, clock: Clock, ids: Ids) -> Self {
        Self {
            name,
            clock,
            ids,
            health: Arc::default(),
            metrics: Arc::default(),
            network: None,
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            last: Last::default(),
        }
    }

    /// A second program in the same process: own name, health and metrics, stopped with its parent.
    pub fn child(&self, name: &'static str) -> Self {
        Self {
            name,
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            health: Arc::default(),
            metrics: Arc::default(),
            network: self.network.clone(),
            shutdown: self.shutdown.child_token(),
            tasks: TaskTracker::new(),
            last: Last::default(),
        }
    }

    /// The same process on another network than the machine's.
    pub fn on_network(self, network: Arc<dyn Network>) -> Self {
        Self { network: Some(network), ..self }
    }

    pub(crate) fn network(&self) -> Option<&Arc<dyn Network>> {
        self.network.as_ref()
    }

    /// How requests leave this process, where that is not by the machine's network.
    pub fn exchange(&self) -> Option<Exchange> {
        self.network.as_ref().map(|network| network.exchange())
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// A fresh identifier, stamped with the clock of this process.
    pub fn new_id(&self) -> uuid::Uuid {
        self.ids.next(self.clock.now())
    }

    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Cancelled when shutdown begins.
    pub fn shutdown_token(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// The clock as a plain function, for mechanisms that know nothing of processes.
    pub fn time_source(&self) -> Arc<dyn Fn() -> jiff::Timestamp + Send + Sync> {
        let clock = self.clock.clone();
        Arc::new(move || clock.now())
    }

    /// The id source as a plain function, for mechanisms that know nothing of processes.
    pub fn id_source(&self) -> Arc<dyn Fn() -> uuid::Uuid + Send + Sync> {
        let process = self.clone();
        Arc::new(move || process.new_id())
    }

    /// The tracker of the tasks that shutdown waits for.
    pub fn tracker(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Runs a task that shutdown waits for; it must watch `shutdown_token` if it can wait long.
    #[expect(clippy::disallowed_methods, reason = "tracked here, once, for everyone")]
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        tokio::spawn(self.tasks.track_future(task))
    }

    /// Runs a task that is dropped when shutdown begins. For loops whose every step is durable.
    pub fn spawn_until_shutdown<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        self.spawn(async move {
            let _ = shutdown.run_until_cancelled(task).await;
        });
    }

    /// Looks at files again and again until shutdown, beside everything else: a file system that hangs
    /// keeps nobody waiting. A simulated process looks by itself, as one that waited for a real thread
    /// would not run twice in the same way.
    pub fn look_again(&self, every: Duration, look: impl Fn() + Send + Sync + 'static) {
        let (clock, is_simulated) = (self.clock().clone(), self.network().is_some());
        let look = Arc::new(look);
        self.spawn_until_shutdown(async move {
            loop {
                clock.sleep(every).await;
                if is_simulated {
                    look();
                    continue;
                }
                let looking = look.clone();
                if let Err(error) = tokio::task::spawn_blocking(move || looking()).await {
                    tracing::error!(%error, "files were not looked at");
                }
            }
        });
    }

    /// What is done at shutdown when every task has ended, such as closing a database.
    pub fn at_end(&self, last: impl Future<Output = ()> + Send + 'static) {
        self.last.0.lock().expect("no panic while it is held").push(Box::pin(last));
    }

    /// Stops accepting, lets tasks finish what is in hand, and waits for them.
    ///
    /// # Errors
    /// Tasks that outlast `deadline`.
    pub async fn shut_down(&self, deadline: Duration) -> Result<(), ShutdownError> {
        self.health.set_draining();
        self.shutdown.cancel();
        self.tasks.close();
        let ended = async {
            self.tasks.wait().await;
            let last = std::mem::take(&mut *self.last.0.lock().expect("no panic while it is held"));
            futures::future::join_all(last).await;
        };
        tokio::time::timeout(deadline, ended).await.map(drop).map_err(|_| ShutdownError {
            name: self.name,
            tasks: self.tasks.len(),
            deadline,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_is_last_happens_when_every_task_has_ended() {
        let process = Process::new("program");
        let (is_ended, is_last) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (shutdown, ended) = (process.shutdown_token(), is_ended.clone());
        process.spawn(async move {
            shutdown.cancelled().await;
            tokio::task::yield_now().await;
            ended.store(true, Ordering::SeqCst);
        });
        let (ended, last) = (is_ended.clone(), is_last.clone());
        process.at_end(async move { last.store(ended.load(Ordering::SeqCst), Ordering::SeqCst) });
        process.shut_down(Duration::from_secs(10)).await.unwrap();
        assert!(is_last.load(Ordering::SeqCst));
    }
}
