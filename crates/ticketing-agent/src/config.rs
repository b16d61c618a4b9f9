//! Settings of the ticketing agent.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use rpc::a2a::ServerConfig;
use serde::Deserialize;
use service::{ConfigError, Configuration, Env, Process};
use url::Url;

use crate::jira::JiraSettings;

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
    /// Database of this agent (its tasks, and which ticket belongs to which incident): the path of a
    /// SQLite file, or a `postgres://` URL, which several replicas may share; its password stands in
    /// the file that `PGPASSFILE` names.
    pub database: String,
    /// Seconds for which this replica is believed to live after each sign of life. What it was doing
    /// when they have passed is taken over by another one.
    pub lease_seconds: u32,
    pub tracker: TrackerKind,
    pub file: FileSettings,
    pub jira: JiraSettings,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackerKind {
    #[default]
    File,
    Jira,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileSettings {
    /// Directory of the tickets, made if it is not there. Replicas on one machine may share it.
    pub directory: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5030".into(),
            public_url: None,
            a2a: ServerConfig::default(),
            database: "data/ticketing-agent.db".into(),
            lease_seconds: 10,
            tracker: TrackerKind::File,
            file: FileSettings::default(),
            jira: JiraSettings::default(),
        }
    }
}

impl Default for FileSettings {
    fn default() -> Self {
        Self { directory: "data/tickets".into() }
    }
}

impl Configuration for Config {
    /// `FIREBREAK_LISTEN`, `FIREBREAK_PUBLIC_URL`, `FIREBREAK_DATABASE`, `TICKETS_DIR`, and the variables of Jira;
    /// `JIRA_URL` also makes Jira the tracker.
    fn apply_env(&mut self, env: &Env) -> Result<(), ConfigError> {
        env.apply("FIREBREAK_LISTEN", &mut self.listen)?;
        env.apply_some("FIREBREAK_PUBLIC_URL", &mut self.public_url)?;
        env.apply("FIREBREAK_DATABASE", &mut self.database)?;
        env.apply("TICKETS_DIR", &mut self.file.directory)?;
        self.jira.apply_env(env)?;
        if env.get("JIRA_URL").is_some() {
            self.tracker = TrackerKind::Jira;
        }
        Ok(())
    }

    fn check_files(&self, _process: &Process) -> anyhow::Result<()> {
        if self.tracker == TrackerKind::Jira {
            self.jira.token()?;
        }
        self.a2a.open().map(drop).context("settings of `a2a`")
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.address()?;
        self.a2a
            .check()
            .map_err(|error| ConfigError::setting(format!("a2a.{}", error.field), error.message))?;
        if !(1..=3600).contains(&self.lease_seconds) {
            return Err(ConfigError::setting("lease_seconds", "must be within 1 to 3600"));
        }
        match self.tracker {
            TrackerKind::File => Ok(()),
            TrackerKind::Jira => self.jira.validate(),
        }
    }
}

impl Config {
    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.into())
    }

    /// The address callers use.
    ///
    /// # Errors
    /// Neither setting makes an http(s) address.
    pub(crate) fn address(&self) -> Result<Url, ConfigError> {
        service::advertised_url(&self.listen, self.public_url.as_ref(), None)
    }
}

#[cfg(test)]
mod tests {
    use incident::{Severity, TicketStatus};
    use service::load_config;

    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        load_config(None, &Env::fixed(pairs.iter().copied()))
    }

    #[test]
    fn the_sample_parses_and_says_the_defaults() {
        let sample =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/config/ticketing-agent.yaml");
        let read = |pairs: &[(&str, &str)]| {
            let env = Env::fixed(pairs.iter().copied());
            load_config::<Config>(Some(sample.as_ref()), &env).unwrap()
        };
        let (sample, default) = (read(&[]), Config::default());
        assert_eq!((&sample.listen, sample.tracker), (&default.listen, default.tracker));
        assert_eq!(sample.database, default.database);
        assert_eq!(sample.file.directory, default.file.directory);
        assert_eq!(sample.jira.priorities, default.jira.priorities);
        assert_eq!(
            (&sample.jira.via, &sample.jira.avoid),
            (&default.jira.via, &default.jira.avoid)
        );
        for (status, name) in &sample.jira.statuses {
            assert_eq!(*name, default.jira.status(*status));
        }
        assert_eq!(sample.jira.statuses.len(), 6);
        assert_eq!(sample.jira.priorities[&Severity::Critical], "Highest");
        assert_eq!(read(&[("JIRA_URL", "https://x.example.org")]).tracker, TrackerKind::Jira);
    }

    #[test]
    fn jira_url_chooses_jira_and_the_rest_must_be_there() {
        let url = ("JIRA_URL", "https://jira.example.org");
        let (project, user) = (("JIRA_PROJECT", "OPS"), ("JIRA_USER", "a@example.org"));
        let token = ("JIRA_TOKEN_FILE", "/run/secrets/jira");
        assert_eq!(with(&[url, project, user, token]).unwrap().tracker, TrackerKind::Jira);
        let missing = |pairs: &[(&str, &str)]| with(pairs).unwrap_err().to_string();
        assert!(missing(&[url, user, token]).contains("jira.project"));
        assert!(missing(&[url, project, token]).contains("jira.user"));
        assert!(missing(&[url, project, user]).contains("jira.token_file"));
        let plain = ("JIRA_URL", "http://jira.example.org");
        assert!(missing(&[plain, project, user, token]).contains("unencrypted"));
        assert!(with(&[("JIRA_URL", "http://127.0.0.1:8080"), project, user, token]).is_ok());
        let secret = ("JIRA_URL", "https://me:hunter2@jira.example.org");
        let error = missing(&[secret, project, user, token]);
        assert!(error.contains("jira.url") && !error.contains("hunter2"), "{error}");
        assert!(missing(&[("JIRA_URL", "not a url")]).contains("JIRA_URL"));
    }

    #[test]
    fn a_partial_status_map_keeps_the_other_defaults() {
        let text = "tracker: file\njira: { statuses: { resolved: Fixed } }\n";
        let config: Config = service::parse_yaml(text, "t.yaml").unwrap();
        assert_eq!(config.jira.status(TicketStatus::Resolved), "Fixed");
        assert_eq!(config.jira.status(TicketStatus::Closed), "Done");
        assert_eq!(config.jira.status(TicketStatus::Identified), "To Do");
        let error = service::parse_yaml::<Config>("jira: { statuses: { fixed: Done } }", "t.yaml");
        assert!(error.unwrap_err().to_string().contains("fixed"));
    }
}
