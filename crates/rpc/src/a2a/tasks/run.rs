//! The agent at work: from a message to the stored end of its run, whatever the store, a restart or
//! a panic does to it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use a2a_types::{Message, TaskState, TaskStoreError};
use futures::FutureExt;
use tracing::Instrument;

use super::live::{Live, Tenure};
use super::{AgentError, Job, Tasks, Updates};
use crate::a2a::backoff::{STORE_PAUSE, backoff};

impl Tasks {
    pub(super) fn start(
        &self,
        live: Arc<Live>,
        tenure: Arc<Tenure>,
        message: Message,
        is_resumed: bool,
    ) {
        let span = tracing::info_span!("task", task.id = %live.id);
        let work = self.clone().work(live, tenure, message, is_resumed);
        self.0.host.spawn(work.instrument(span));
    }

    /// Runs the agent until its end is stored, or the task is not to be worked on here any more. What
    /// the store could not take is worked on again, as after a restart.
    async fn work(
        self,
        live: Arc<Live>,
        tenure: Arc<Tenure>,
        message: Message,
        mut is_resumed: bool,
    ) {
        let updates = Updates { tasks: self.clone(), live: live.clone(), tenure: tenure.clone() };
        let mut failures = 0;
        let turn = live.turn.load(Ordering::SeqCst);
        let _running = live.running.lock().await;
        while !tenure.stopped.is_cancelled() {
            let job = Job {
                message: message.clone(),
                task: live.record().task.clone(),
                owner: live.owner.clone(),
                is_resumed,
                updates: updates.clone(),
                cancelled: tenure.cancelled.clone(),
                stopped: tenure.stopped.clone(),
            };
            let work = async { self.0.agent.clone().run(job).await };
            let result = AssertUnwindSafe(work).catch_unwind().await;
            let result = result.unwrap_or_else(|_| Err(AgentError::failed("the agent panicked")));
            let Err(error) = updates.end(turn, result).await else { break };
            if tenure.stopped.is_cancelled() {
                break;
            }
            tracing::error!(task.id = %live.id, %error, "the task is worked on again");
            let pause = tokio::time::sleep(backoff(failures, STORE_PAUSE));
            if tenure.stopped.run_until_cancelled(pause).await.is_none() {
                break;
            }
            failures += 1;
            is_resumed = true;
        }
        self.let_go(&live, &tenure).await;
    }
}

impl Updates {
    /// Brings the task to an end its agent did not give it.
    ///
    /// # Errors
    /// The store failed the agent, or cannot commit the end.
    async fn end(&self, turn: u64, result: Result<(), AgentError>) -> Result<(), TaskStoreError> {
        // What was stopped stays unfinished in the store: another process resumes it.
        let is_answered = self.live.turn.load(Ordering::SeqCst) != turn;
        if is_answered || self.tenure.stopped.is_cancelled() {
            return Ok(());
        }
        let state = self.live.record().task.status.state.clone();
        let is_cancelled = self.tenure.cancelled.is_cancelled();
        if state.is_terminal() || (state.is_interrupted() && result.is_ok() && !is_cancelled) {
            return Ok(());
        }
        match result {
            Ok(()) if is_cancelled => {
                self.set_state(TaskState::Canceled, "canceled by the caller").await
            }
            Ok(()) => self.complete("done").await,
            Err(AgentError::Rejected(why)) => self.set_state(TaskState::Rejected, why).await,
            Err(AgentError::Failed { message, is_transient }) => {
                tracing::warn!(task.id = %self.task_id(), is_transient, "task failed: {message}");
                self.fail(message, is_transient).await
            }
            Err(AgentError::Store(error)) => Err(error),
        }
    }
}
