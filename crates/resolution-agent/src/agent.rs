//! The agent behind A2A: reads what a caller wants and sees the resolution through.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use incident::gates::Policy;
use rpc::a2a::{Agent, AgentError, Job};
use service::Process;
use store::{Store, StoreError};

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
    pub(crate) store: Store,
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
                Request::Resolve(request) => Resolution::new(self, *request, job).run().await,
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

/// A database that does not answer: the caller may ask again, and nothing is done meanwhile.
pub(crate) fn stored(error: StoreError) -> AgentError {
    match error.is_transient() {
        true => AgentError::transient(format!("the database failed: {error}")),
        false => AgentError::failed(format!("the database failed: {error}")),
    }
}
