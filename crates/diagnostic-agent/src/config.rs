//! Settings of the diagnostic agent.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use rpc::a2a::ServerConfig;
use serde::Deserialize;
use service::{ConfigError, Configuration, Env, Process, Secret};
use url::Url;

use crate::RuleBook;

/// Queries at one tool at a time at most.
const PARALLEL_MOST: u64 = 1_024;
const HOUR_MS: u64 = 3_600_000;
const SCRAPES_MOST: u64 = 1_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address to listen on.
    pub listen: String,
    /// Address under which callers reach this agent, as its card says. Without one it is `listen`
    /// over plain HTTP.
    pub public_url: Option<Url>,
    /// Where tasks are kept: the path of a SQLite file, or a `postgres://` URL, whose password
    /// stands in the file that `PGPASSFILE` names. Without one, tasks are lost with the process.
    pub database: Option<String>,
    /// Seconds for which this replica is believed to live after each sign of life. What it was doing
    /// when they have passed is taken over by another one.
    pub lease_seconds: u32,
    /// How this agent is offered to others: who may call, where push notifications may go, the key
    /// that signs its card.
    pub a2a: ServerConfig,
    /// Directory of the rule files (`*.yaml`), one rule each.
    pub rules: PathBuf,
    pub log_analyzer: ToolSettings,
    pub system_monitor: ToolSettings,
    /// Milliseconds for all evidence of one diagnosis; what is not there by then is missing.
    pub evidence_deadline_ms: u64,
    /// Milliseconds between two scrapes of the metrics.
    pub scrape_interval_ms: u64,
    /// Evidence whose newest sample is older than this many scrape intervals is stale: missing.
    pub stale_after_scrapes: u32,
    /// Causes whose confidences differ by less than this are reported as hard to tell apart.
    pub close_call: f64,
    /// What plain-text questions may name.
    pub targets: Vec<KnownTarget>,
}

/// Where an MCP server is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolSettings {
    /// Its base URL, or that of its endpoint (`…/mcp`).
    pub url: Url,
    /// File with the bearer token for it.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Queries asked at a time, over all diagnoses; more wait, within the deadline.
    #[serde(default = "default_parallel_queries")]
    pub parallel_queries: usize,
}

/// A server by its inventory name, and the service it runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownTarget {
    pub name: String,
    pub service: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5010".into(),
            public_url: None,
            database: None,
            lease_seconds: 10,
            a2a: ServerConfig::default(),
            rules: "deploy/config/rules".into(),
            log_analyzer: ToolSettings::local(5110),
            system_monitor: ToolSettings::local(5120),
            evidence_deadline_ms: 5_000,
            scrape_interval_ms: 10_000,
            stale_after_scrapes: 3,
            close_call: 0.05,
            targets: Vec::new(),
        }
    }
}

impl ToolSettings {
    fn local(port: u16) -> Self {
        let url = Url::parse(&format!("http://127.0.0.1:{port}")).expect("a literal URL parses");
        Self { url, token_file: None, parallel_queries: default_parallel_queries() }
    }

    /// The secret of a tool whose settings have this name.
    pub(crate) fn token(&self, name: &str) -> anyhow::Result<Option<Secret>> {
        Secret::of_setting(&format!("{name}.token_file"), self.token_file.as_deref())
    }

    /// The MCP endpoint below the base URL.
    pub(crate) fn endpoint(&self) -> Url {
        let mut url = self.url.clone();
        if url.path() == "/" {
            url.set_path(rpc::mcp::PATH);
        }
        url
    }

    fn validate(&self, name: &str) -> Result<(), ConfigError> {
        if !matches!(self.url.scheme(), "http" | "https") {
            return Err(ConfigError::setting(format!("{name}.url"), "must be http or https"));
        }
        let field = format!("{name}.parallel_queries");
        let queries = u64::try_from(self.parallel_queries).unwrap_or(u64::MAX);
        ConfigError::check_range(field, queries, 1..=PARALLEL_MOST)
    }
}

impl Configuration for Config {
    fn check_files(&self, _process: &Process) -> anyhow::Result<()> {
        RuleBook::load(&self.rules)?;
        self.log_analyzer.token("log_analyzer")?;
        self.system_monitor.token("system_monitor")?;
        self.a2a.open().map(drop).context("settings of `a2a`")
    }

    /// `FIREBREAK_LISTEN`, `FIREBREAK_PUBLIC_URL`, `FIREBREAK_DATABASE`, `DIAGNOSTIC_RULES`,
    /// `LOG_ANALYZER_URL`, `LOG_ANALYZER_TOKEN_FILE`, `SYSTEM_MONITOR_URL`,
    /// `SYSTEM_MONITOR_TOKEN_FILE` and `SCRAPE_INTERVAL_MS`.
    fn apply_env(&mut self, env: &Env) -> Result<(), ConfigError> {
        env.apply("FIREBREAK_LISTEN", &mut self.listen)?;
        env.apply_some("FIREBREAK_PUBLIC_URL", &mut self.public_url)?;
        env.apply_some("FIREBREAK_DATABASE", &mut self.database)?;
        env.apply("DIAGNOSTIC_RULES", &mut self.rules)?;
        env.apply("LOG_ANALYZER_URL", &mut self.log_analyzer.url)?;
        env.apply_some("LOG_ANALYZER_TOKEN_FILE", &mut self.log_analyzer.token_file)?;
        env.apply("SYSTEM_MONITOR_URL", &mut self.system_monitor.url)?;
        env.apply_some("SYSTEM_MONITOR_TOKEN_FILE", &mut self.system_monitor.token_file)?;
        env.apply("SCRAPE_INTERVAL_MS", &mut self.scrape_interval_ms)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.address()?;
        self.a2a
            .check()
            .map_err(|error| ConfigError::setting(format!("a2a.{}", error.field), error.message))?;
        self.log_analyzer.validate("log_analyzer")?;
        self.system_monitor.validate("system_monitor")?;
        for (field, number, most) in [
            ("evidence_deadline_ms", self.evidence_deadline_ms, HOUR_MS),
            ("scrape_interval_ms", self.scrape_interval_ms, HOUR_MS),
            ("stale_after_scrapes", self.stale_after_scrapes.into(), SCRAPES_MOST),
            ("lease_seconds", self.lease_seconds.into(), 3_600),
        ] {
            ConfigError::check_range(field, number, 1..=most)?;
        }
        if !(0.0..=1.0).contains(&self.close_call) {
            return Err(ConfigError::setting("close_call", "must be within 0..=1"));
        }
        RuleBook::load(&self.rules).map(|_| ())
    }
}

impl Config {
    /// The address callers use.
    ///
    /// # Errors
    /// Neither setting makes an http(s) address.
    pub(crate) fn address(&self) -> Result<Url, ConfigError> {
        service::advertised_url(&self.listen, self.public_url.as_ref(), None)
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.into())
    }

    pub(crate) fn evidence_deadline(&self) -> Duration {
        Duration::from_millis(self.evidence_deadline_ms)
    }

    /// Age from which a newest sample is stale.
    pub(crate) fn stale_after(&self) -> Duration {
        Duration::from_millis(self.scrape_interval_ms).saturating_mul(self.stale_after_scrapes)
    }
}

fn default_parallel_queries() -> usize {
    12
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployed(path: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config").join(path)
    }

    #[test]
    fn deployed_configuration_is_valid() {
        let rules = deployed("rules");
        let env = Env::fixed([("DIAGNOSTIC_RULES", rules.to_str().unwrap())]);
        let path = deployed("diagnostic-agent.yaml");
        let config: Config = service::load_config(Some(&path), &env).unwrap();
        assert_eq!(config.targets.len(), 3);
        assert_eq!(config.system_monitor.endpoint().as_str(), "http://127.0.0.1:5120/mcp");
    }

    #[test]
    fn environment_names_the_tools_and_the_database() {
        let mut config = Config::default();
        let env = Env::fixed([
            ("LOG_ANALYZER_URL", "http://logs:5110"),
            ("SYSTEM_MONITOR_URL", "http://monitor:5120/mcp"),
            ("FIREBREAK_DATABASE", "postgres://database/tasks"),
        ]);
        config.apply_env(&env).unwrap();
        assert_eq!(config.database.as_deref(), Some("postgres://database/tasks"));
        assert_eq!(config.log_analyzer.endpoint().as_str(), "http://logs:5110/mcp");
        assert_eq!(config.system_monitor.endpoint().as_str(), "http://monitor:5120/mcp");
    }

    #[test]
    fn tool_without_an_address_is_refused() {
        let parsed =
            service::parse_yaml::<Config>("system_monitor: {parallel_queries: 3}", "a.yaml");
        assert_eq!(
            parsed.unwrap_err().to_string(),
            "a.yaml:1:17: field `system_monitor`: missing field `url`"
        );
    }

    #[test]
    fn settings_that_cannot_be_used_are_named() {
        let rules = deployed("rules");
        let with = |change: fn(&mut Config)| {
            let mut config = Config { rules: rules.clone(), ..Config::default() };
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        let message = with(|config| config.evidence_deadline_ms = 0);
        assert_eq!(message, "setting `evidence_deadline_ms`: must be from 1 to 3600000, not 0");
        let message = with(|config| config.listen = "0.0.0.0:5010".into());
        assert!(message.starts_with("setting `public_url`: is needed when"), "{message}");
        let message = with(|config| config.log_analyzer.parallel_queries = 0);
        assert_eq!(
            message,
            "setting `log_analyzer.parallel_queries`: must be from 1 to 1024, not 0"
        );
        let message = with(|config| config.rules = "no-such-directory".into());
        assert_eq!(message, "cannot read no-such-directory");
    }
}
