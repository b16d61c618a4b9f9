//! What a program is handed at its start: clock, ids, health, metrics, and a place to spawn tasks
//! that shutdown waits for. No task is left behind.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

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

    /// Stops accepting, lets tasks finish what is in hand, and waits for them.
    ///
    /// # Errors
    /// Tasks that outlast `deadline`.
    pub async fn shut_down(&self, deadline: Duration) -> Result<(), ShutdownError> {
        self.health.set_draining();
        self.shutdown.cancel();
        self.tasks.close();
        tokio::time::timeout(deadline, self.tasks.wait()).await.map_err(|_| ShutdownError {
            name: self.name,
            tasks: self.tasks.len(),
            deadline,
        })
    }
}
