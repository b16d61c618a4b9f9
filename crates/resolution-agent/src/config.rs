//! Settings of the resolution agent. What it may do stands in the policy file, not here.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use rpc::a2a::ServerConfig;
use serde::Deserialize;
use service::{ConfigError, Configuration, Env, Process, Secret};
use url::Url;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address to listen on.
    pub listen: String,
    /// Address under which callers reach this agent, as its card says. Without one it is `listen`
    /// over plain HTTP.
    pub public_url: Option<Url>,
    /// How this agent is offered to others: who may call, where push notifications may go, the key
    /// that signs its card.
    pub a2a: ServerConfig,
    /// Database of this agent (tasks, attempts, locks, approvals): the path of a SQLite file, or a
    /// `postgres://` URL, which several replicas may share; its password stands in the file that
    /// `PGPASSFILE` names.
    pub database: String,
    /// Seconds for which this replica is believed to live after each sign of life. What it was doing
    /// when they have passed is taken over by another one.
    pub lease_seconds: u32,
    /// Directory of the runbooks, one YAML file each.
    pub runbooks: PathBuf,
    /// The policy file: what may be done.
    pub policy: PathBuf,
    /// The MCP server that is asked for metrics. `/mcp` is added to an address without a path.
    pub system_monitor_url: Url,
    /// The MCP server that carries changes out. `/mcp` is added to an address without a path.
    pub deployment_system_url: Url,
    /// File with the bearer token of deployment-system.
    pub deployment_token_file: Option<PathBuf>,
    /// Seconds between two scrapes of the metrics that checks read. `$window` in a check is two and
    /// a half of them, and no check holds for less than two: a shorter time could not be seen.
    pub scrape_interval_seconds: f64,
    /// Milliseconds by which the clocks of this program and of the metrics backend may differ: an act
    /// counts as ended so much later, and what is sampled before that proves nothing.
    pub clock_skew_millis: u64,
    /// Milliseconds between two looks at the checks during verification.
    pub poll_millis: u64,
    /// Seconds one metric query may take.
    pub query_seconds: u64,
    /// Seconds one step may take; a playbook that restarts a service takes some.
    pub step_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5020".into(),
            public_url: None,
            a2a: ServerConfig::default(),
            database: "data/resolution-agent.db".into(),
            lease_seconds: 10,
            runbooks: "deploy/config/runbooks".into(),
            policy: "deploy/config/policy.yaml".into(),
            system_monitor_url: "http://127.0.0.1:5120/mcp".parse().expect("a constant URL"),
            deployment_system_url: "http://127.0.0.1:5130/mcp".parse().expect("a constant URL"),
            deployment_token_file: None,
            scrape_interval_seconds: 10.0,
            clock_skew_millis: 100,
            poll_millis: 250,
            query_seconds: 5,
            step_seconds: 120,
        }
    }
}

impl Configuration for Config {
    /// `FIREBREAK_LISTEN`, `FIREBREAK_PUBLIC_URL`, `FIREBREAK_DATABASE`, `RESOLUTION_POLICY`,
    /// `RESOLUTION_RUNBOOKS`, `SYSTEM_MONITOR_URL`, `DEPLOYMENT_SYSTEM_URL`,
    /// `DEPLOYMENT_TOKEN_FILE`, `SCRAPE_INTERVAL_SECONDS`.
    fn apply_env(&mut self, env: &Env) -> Result<(), ConfigError> {
        env.apply("FIREBREAK_LISTEN", &mut self.listen)?;
        env.apply_some("FIREBREAK_PUBLIC_URL", &mut self.public_url)?;
        env.apply("FIREBREAK_DATABASE", &mut self.database)?;
        env.apply("RESOLUTION_POLICY", &mut self.policy)?;
        env.apply("RESOLUTION_RUNBOOKS", &mut self.runbooks)?;
        env.apply("SYSTEM_MONITOR_URL", &mut self.system_monitor_url)?;
        env.apply("DEPLOYMENT_SYSTEM_URL", &mut self.deployment_system_url)?;
        env.apply_some("DEPLOYMENT_TOKEN_FILE", &mut self.deployment_token_file)?;
        env.apply("SCRAPE_INTERVAL_SECONDS", &mut self.scrape_interval_seconds)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.address()?;
        self.a2a
            .check()
            .map_err(|error| ConfigError::setting(format!("a2a.{}", error.field), error.message))?;
        for (field, url) in [
            ("system_monitor_url", &self.system_monitor_url),
            ("deployment_system_url", &self.deployment_system_url),
        ] {
            check_http(field, url)?;
        }
        if !(0.1..=600.0).contains(&self.scrape_interval_seconds) {
            return Err(ConfigError::setting(
                "scrape_interval_seconds",
                "must be within 0.1 to 600",
            ));
        }
        for (field, value, most) in [
            ("lease_seconds", self.lease_seconds.into(), 3600),
            ("clock_skew_millis", self.clock_skew_millis.max(1), 60_000),
            ("poll_millis", self.poll_millis, 60_000),
            ("query_seconds", self.query_seconds, 60),
            ("step_seconds", self.step_seconds, 3600),
        ] {
            if !(1..=most).contains(&value) {
                return Err(ConfigError::setting(field, format!("must be within 1 to {most}")));
            }
        }
        Ok(())
    }

    fn check_files(&self, _process: &Process) -> anyhow::Result<()> {
        crate::read_files(self)?;
        self.deployment_token()?;
        self.a2a.open().map(drop).context("settings of `a2a`")
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

    pub(crate) fn deployment_token(&self) -> anyhow::Result<Option<Secret>> {
        Secret::of_setting("deployment_token_file", self.deployment_token_file.as_deref())
    }

    pub(crate) fn scrape_interval(&self) -> Duration {
        Duration::from_secs_f64(self.scrape_interval_seconds)
    }

    /// Samples further apart than this are no unbroken row.
    pub(crate) fn longest_gap(&self) -> Duration {
        self.scrape_interval() * 3
    }

    pub(crate) fn clock_skew(&self) -> Duration {
        Duration::from_millis(self.clock_skew_millis)
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.into())
    }

    pub(crate) fn query_deadline(&self) -> Duration {
        Duration::from_secs(self.query_seconds)
    }

    pub(crate) fn step_deadline(&self) -> Duration {
        Duration::from_secs(self.step_seconds)
    }
}

fn check_http(field: &str, url: &Url) -> Result<(), ConfigError> {
    match url.scheme() {
        "http" | "https" => Ok(()),
        other => Err(ConfigError::setting(field, format!("{other} is not http or https"))),
    }
}

#[cfg(test)]
mod tests {
    use incident::gates::Policy;
    use service::load_config;

    use super::*;
    use crate::Runbooks;

    fn deployed(path: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config").join(path)
    }

    #[test]
    fn the_sample_parses_and_says_the_defaults() {
        let path = deployed("resolution-agent.yaml");
        let sample: Config = load_config(Some(&path), &Env::fixed([])).unwrap();
        assert_eq!(format!("{sample:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn the_environment_and_the_checks_are_named() {
        let with = |name, value| load_config::<Config>(None, &Env::fixed([(name, value)]));
        let set = with("SYSTEM_MONITOR_URL", "http://m:1").unwrap();
        assert_eq!(set.system_monitor_url.as_str(), "http://m:1/");
        for (name, value, field) in [
            ("DEPLOYMENT_SYSTEM_URL", "ftp://x", "deployment_system_url"),
            ("SCRAPE_INTERVAL_SECONDS", "0", "scrape_interval_seconds"),
            ("FIREBREAK_LISTEN", "not an address", "listen"),
        ] {
            let error = with(name, value).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn the_shipped_policy_and_runbooks_fit_one_another() {
        let runbooks = Runbooks::load(&deployed("runbooks")).unwrap();
        let policy: Policy = service::read_yaml(&deployed("policy.yaml")).unwrap();
        crate::policy::check(&policy, &runbooks).unwrap();
        assert_eq!(policy.mode, incident::Mode::Observe, "a new runbook starts in observe");
        for runbook in runbooks.iter() {
            assert_eq!(policy.mode_of(&runbook.id), incident::Mode::Auto, "{}", runbook.id);
            for step in &runbook.steps {
                let allowed = policy.scope.iter().any(|scope| scope.actions.contains(&step.action));
                assert!(allowed, "{}", step.action);
            }
        }
    }

    #[tokio::test]
    async fn a_check_of_the_configuration_reads_the_policy_and_the_runbooks() {
        let directory = tempfile::tempdir().unwrap();
        let policy = directory.path().join("policy.yaml");
        let runbooks = deployed("runbooks");
        let config = Config { policy: policy.clone(), runbooks, ..Config::default() };
        std::fs::write(&policy, "mode: observe\n").unwrap();
        let process = Process::new("check");
        config.check_files(&process).unwrap();
        std::fs::write(&policy, "mode: observe\nkil_switch: x\n").unwrap();
        let error = format!("{:#}", config.check_files(&process).unwrap_err());
        assert!(error.contains("policy.yaml:2") && error.contains("kil_switch"), "{error}");
        let config = Config { runbooks: directory.path().join("none"), ..config };
        assert!(config.check_files(&process).is_err());
    }

    #[tokio::test]
    async fn a_check_of_the_configuration_reads_the_files_of_secrets() {
        let directory = tempfile::tempdir().unwrap();
        let token = directory.path().join("deployment-token");
        let config = Config {
            policy: deployed("policy.yaml"),
            runbooks: deployed("runbooks"),
            deployment_token_file: Some(token.clone()),
            ..Config::default()
        };
        let check =
            || config.check_files(&Process::new("check")).map_err(|error| format!("{error:#}"));
        let error = check().unwrap_err();
        assert!(error.starts_with("setting `deployment_token_file`: "), "{error}");
        assert!(error.contains(&token.display().to_string()), "{error}");
        std::fs::write(&token, "a token of one line").unwrap();
        check().unwrap();
    }

    #[test]
    fn an_unknown_policy_setting_stops_the_start_with_its_place() {
        let error =
            service::parse_yaml::<Policy>("mode: auto\nconfidence_flor: 0.1\n", "policy.yaml")
                .unwrap_err()
                .to_string();
        assert!(error.contains("policy.yaml:2") && error.contains("confidence_flor"), "{error}");
        let misnamed: Policy = service::parse_yaml("runbooks: {raise-pol: auto}", "p").unwrap();
        let error = crate::policy::check(&misnamed, &Runbooks::default()).unwrap_err().to_string();
        assert!(error.contains("runbooks.raise-pol"), "{error}");
    }
}
