//! `system-monitor`: metrics from Prometheus. Reads only; no data is an empty answer; what the
//! backend says of a bad query is passed on.

mod catalogue;
mod prometheus;
mod rank;
mod selectors;
mod tools;

use std::path::PathBuf;
use std::time::Duration;

use a2a_types::mcp::metrics;
use anyhow::Context;
use rpc::mcp::server::{Tool, ToolServer};
use service::{ConfigError, Configuration, Env, Process, Running, Secret};
use url::Url;

pub use catalogue::{Catalogue, SignalQuery, Worse};

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the listener.
    pub listen: String,
    pub access: crate::access::AccessConfig,
    /// Base URL of the Prometheus HTTP API (or of what speaks it: Thanos, Mimir, VictoriaMetrics).
    pub prometheus_url: Url,
    /// File with the bearer token for it.
    pub prometheus_token_file: Option<PathBuf>,
    /// Longest wait for one query; the caller's own deadline may be shorter.
    pub query_timeout_ms: u64,
    /// Queries of one call that run at the same time.
    pub parallel_queries: usize,
    /// Larger answers of the backend are an error.
    pub answer_bytes: usize,
    /// The signals and the targets they exist for.
    pub catalogue: PathBuf,
    /// Calls served at a time; more are refused as unavailable.
    pub concurrent_calls: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5120".to_owned(),
            access: Default::default(),
            prometheus_url: Url::parse("http://127.0.0.1:9090").expect("a URL"),
            prometheus_token_file: None,
            query_timeout_ms: 10_000,
            parallel_queries: 16,
            answer_bytes: 16 * 1024 * 1024,
            catalogue: "deploy/config/signals.yaml".into(),
            concurrent_calls: 64,
        }
    }
}

impl Configuration for Config {
    fn apply_env(&mut self, env: &Env) -> Result<(), ConfigError> {
        env.apply("FIREBREAK_LISTEN", &mut self.listen)?;
        env.apply("PROMETHEUS_URL", &mut self.prometheus_url)?;
        env.apply_some("PROMETHEUS_TOKEN_FILE", &mut self.prometheus_token_file)?;
        env.apply("FIREBREAK_SIGNALS", &mut self.catalogue)?;
        self.access.apply_env(env)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if !matches!(self.prometheus_url.scheme(), "http" | "https") {
            return Err(ConfigError::setting("prometheus_url", "must be http or https"));
        }
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let (queries, bytes) = (number(self.parallel_queries), number(self.answer_bytes));
        ConfigError::check_range("query_timeout_ms", self.query_timeout_ms, 1..=600_000)?;
        ConfigError::check_range("parallel_queries", queries, 1..=1_024)?;
        ConfigError::check_range("answer_bytes", bytes, 1..=1 << 30)?;
        crate::access::check_calls(self.concurrent_calls)?;
        self.access.validate()
    }

    fn check_files(&self, _process: &Process) -> anyhow::Result<()> {
        self.access.read()?;
        self.prometheus_token()?;
        Ok(Catalogue::read(&self.catalogue).map(drop)?)
    }
}

impl Config {
    fn prometheus_token(&self) -> anyhow::Result<Option<Secret>> {
        Secret::of_setting("prometheus_token_file", self.prometheus_token_file.as_deref())
    }
}

/// Serves the tools until shutdown.
///
/// # Errors
/// The listener's address is taken, or the catalogue or a token file cannot be read.
pub async fn start(config: Config, process: Process) -> anyhow::Result<Running> {
    let access = config.access.read()?;
    let catalogue = Catalogue::read(&config.catalogue)?;
    let token = config.prometheus_token()?;
    let timeout = Duration::from_millis(config.query_timeout_ms);
    let backend =
        prometheus::Prometheus::new(&config.prometheus_url, token, timeout, config.answer_bytes)
            .context("HTTP client for Prometheus")?;
    let monitor = tools::Monitor::new(backend, catalogue, config.parallel_queries, process.clone());
    let routes = rpc::mcp::server::router(server(monitor, config.concurrent_calls), access)?;
    let address = service::serve(&process, &config.listen, "listen", routes).await?;
    Ok(Running { address })
}

fn server(monitor: tools::Monitor, concurrent_calls: usize) -> ToolServer {
    let [query, query_range, snapshot, rank] = metrics::TOOLS;
    let handle = || monitor.clone();
    let tools = vec![
        Tool::new(&query, {
            let monitor = handle();
            move |input, call| monitor.clone().query(input, call)
        }),
        Tool::new(&query_range, {
            let monitor = handle();
            move |input, call| monitor.clone().query_range(input, call)
        }),
        Tool::new(&snapshot, {
            let monitor = handle();
            move |input, call| monitor.clone().snapshot(input, call)
        }),
        Tool::new(&rank, {
            let monitor = handle();
            move |input, call| monitor.clone().rank(input, call)
        }),
    ];
    ToolServer {
        name: metrics::SERVER,
        version: env!("CARGO_PKG_VERSION"),
        instructions: "Reads metrics. An empty answer means no data, which proves nothing.",
        tools,
        concurrent_calls,
    }
}
