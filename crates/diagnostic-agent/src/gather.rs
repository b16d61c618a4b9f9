//! Evidence in parallel under one deadline: what is not there by then is missing, and what is there
//! counts. Reads only, so a call whose connection was lost is made once more.

use std::time::Duration;

use anyhow::Context;
use futures::future::join_all;
use rpc::Http;
use rpc::mcp::client::{Client, McpError, Options};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::config::{Config, ToolSettings};
use crate::evidence::{Answer, Query};

/// Longest wait for a connection made ahead.
const CONNECT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Gatherer {
    logs: Tool,
    metrics: Tool,
}

#[derive(Debug)]
struct Tool {
    client: Client,
    /// Calls at a time, over all diagnoses: a tool refuses more than it can serve.
    permits: Semaphore,
}

impl Gatherer {
    pub(crate) fn new(config: &Config, http: &Http) -> anyhow::Result<Self> {
        let logs = Tool::new("log_analyzer", &config.log_analyzer, http)?;
        let metrics = Tool::new("system_monitor", &config.system_monitor, http)?;
        Ok(Self { logs, metrics })
    }

    /// Connects to both tools, so that the first diagnosis need not. One that is down is asked
    /// again by the first query.
    pub(crate) fn connect(&self) -> impl Future<Output = ()> + Send + 'static {
        let clients = [self.logs.client.clone(), self.metrics.client.clone()];
        async move {
            for client in clients {
                if let Err(error) = client.tools(CONNECT).await {
                    tracing::debug!(%error, "not connected yet");
                }
            }
        }
    }

    /// Asks every query; each has its answer, or why there is none, `budget` from now at the latest.
    pub(crate) async fn gather(
        &self,
        queries: &[Query],
        budget: Duration,
    ) -> Vec<Result<Answer, String>> {
        let deadline = Instant::now() + budget;
        let asked = queries.iter().map(|query| async move {
            match timeout_at(deadline, self.ask(query, deadline)).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) if !matches!(error, McpError::Deadline { .. }) => {
                    Err(error.to_string())
                }
                _ => Err(format!("no answer within {} ms", budget.as_millis())),
            }
        });
        join_all(asked).await
    }

    async fn ask(&self, query: &Query, deadline: Instant) -> Result<Answer, McpError> {
        use a2a_types::mcp::{logs, metrics};
        Ok(match query {
            Query::Instant(input) => {
                Answer::Instant(self.metrics.call(metrics::QUERY, input, deadline).await?)
            }
            Query::Range(input) => {
                Answer::Range(self.metrics.call(metrics::QUERY_RANGE, input, deadline).await?)
            }
            Query::Search(input) => {
                Answer::Search(self.logs.call(logs::SEARCH, input, deadline).await?)
            }
            Query::Patterns(input) => {
                Answer::Patterns(self.logs.call(logs::PATTERNS, input, deadline).await?)
            }
        })
    }
}

impl Tool {
    fn new(name: &str, settings: &ToolSettings, http: &Http) -> anyhow::Result<Self> {
        let token = settings.token(name)?;
        let options = Options {
            client_name: "firebreak-diagnostic-agent",
            bearer_token: token.map(|token| token.reveal().to_owned()),
            http: http.clone(),
            ..Options::default()
        };
        let client = Client::new(settings.endpoint(), options).with_context(|| name.to_owned())?;
        Ok(Self { client, permits: Semaphore::new(settings.parallel_queries) })
    }

    async fn call<I: Serialize, O: DeserializeOwned>(
        &self,
        action: &str,
        input: &I,
        deadline: Instant,
    ) -> Result<O, McpError> {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let left = || deadline.saturating_duration_since(Instant::now());
        match self.client.call(action, input, left()).await {
            Err(McpError::Broken { .. } | McpError::Unreachable { .. }) => {
                self.client.call(action, input, left()).await
            }
            answered => answered,
        }
    }
}
