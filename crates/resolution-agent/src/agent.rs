//! The agent behind A2A: reads what a caller wants and sees the resolution through.

use std::sync::Arc;

use a2a_types::TaskState;
use futures::FutureExt;
use futures::future::BoxFuture;
use incident::gates::Policy;
use rpc::a2a::{Agent, AgentError, Job};
use service::Process;
use store::{FileStore, StoreError};

use crate::planner::Profile;
use crate::request::{self, Request};
use crate::resolution::Resolution;
use crate::tools::Tools;
use crate::{Config, Runbooks, help};

#[derive(Debug)]
pub(crate) struct Resolver {
    pub(crate) config: Config,
    pub(crate) policy: Policy,
    pub(crate) runbooks: Runbooks,
    pub(crate) store: FileStore,
    pub(crate) tools: Tools,
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
                    Resolution::new(self, *request, job).run().await
                }
            }
        }
        .boxed()
    }
}

impl Resolver {
    pub(crate) fn profile(&self) -> Profile {
        Profile { scrape_interval: self.config.scrape_interval() }
    }
}

/// A database that does not answer: the same task goes on once it does, as after a restart. Were the
/// task to fail instead, what it did would neither be proven nor undone, and its target stay locked.
pub(crate) fn stored(error: StoreError) -> AgentError {
    match error.is_transient() {
        true => AgentError::Store(error.into()),
        false => AgentError::failed(format!("the database failed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_that_does_not_answer_ends_no_task() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::open(&directory.path().join("agent.db")).await.unwrap();
        store.close().await;
        let error = store.lock_target("db-1", "task").await.unwrap_err();
        assert!(matches!(stored(error), AgentError::Store(_)));
        let exists = stored(StoreError::Exists { what: "a task".into() });
        assert!(matches!(exists, AgentError::Failed { is_transient: false, .. }), "{exists:?}");
    }
}
