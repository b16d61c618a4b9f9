//! The agent behind A2A: reads what a caller wants and sees the resolution through.

use std::sync::Arc;

use a2a_types::{TaskState, TaskStore};
use futures::FutureExt;
use futures::future::BoxFuture;
use incident::gates::Policy;
use rpc::a2a::{Agent, AgentError, Job};
use service::Process;
use store::{Store, StoreError};

use crate::metrics::ResolutionMetrics;
use crate::planner::Profile;
use crate::request::{self, Request, Resolve};
use crate::resolution::Resolution;
use crate::tools::Tools;
use crate::{Config, Runbooks, help};

#[derive(Debug)]
pub(crate) struct Resolver {
    pub(crate) config: Config,
    pub(crate) policy: Policy,
    pub(crate) runbooks: Runbooks,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) tasks: Arc<dyn TaskStore>,
    pub(crate) tools: Tools,
    pub(crate) metrics: ResolutionMetrics,
    pub(crate) process: Process,
}

impl Agent for Resolver {
    fn run(self: Arc<Self>, job: Job) -> BoxFuture<'static, Result<(), AgentError>> {
        async move {
            match request::read(&job)? {
                Request::Question => {
                    let answer = help::answer(&self.runbooks, &self.policy);
                    Ok(job.updates.complete(answer).await?)
                }
                Request::Resolve(request) => {
                    if job.task.status.state == TaskState::Submitted {
                        job.updates.working("planning").await?;
                    }
                    Box::pin(self.resolve(*request, job)).await
                }
            }
        }
        .boxed()
    }
}

impl Resolver {
    async fn resolve(self: Arc<Self>, request: Resolve, job: Job) -> Result<(), AgentError> {
        let (task_id, stopped) = (job.task.id.clone(), job.stopped.clone());
        let ended = Resolution::new(self.clone(), request, job).run().await;
        let is_for_good = matches!(ended, Err(AgentError::Failed { .. }));
        if is_for_good
            && !stopped.is_cancelled()
            && let Err(error) = self.abandon(&task_id).await
        {
            tracing::warn!(%error, task.id = task_id, "its lock is looked at later");
        }
        ended
    }

    pub(crate) fn profile(&self) -> Profile {
        Profile { scrape_interval: self.config.scrape_interval() }
    }
}

/// A database that does not answer: the same task goes on once it does, as after a restart. Were the
/// task to fail instead, what it did would neither be proven nor undone, and its target stay locked.
pub(crate) fn stored(error: StoreError) -> AgentError {
    let is_passing = error.is_transient()
        || matches!(error, StoreError::Lost { .. } | StoreError::Conflict { .. });
    match is_passing {
        true => AgentError::Store(error.into()),
        false => AgentError::failed(format!("the database failed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_does_not_answer_ends_no_task() {
        let away = StoreError::Conflict { what: "it".into() };
        assert!(matches!(stored(away), AgentError::Store(_)));
        let exists = stored(StoreError::Exists { what: "a task".into() });
        assert!(matches!(exists, AgentError::Failed { is_transient: false, .. }), "{exists:?}");
    }
}
