//! How a Jira site is reached and how incidents map to its words.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use incident::{Severity, TicketStatus};
use serde::Deserialize;
use service::{ConfigError, Env, Secret};
use url::Url;

use crate::tracker::board_status;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JiraSettings {
    /// Address of the site, for example `https://example.atlassian.net`.
    pub url: Option<Url>,
    /// Key of the project that tickets go to.
    pub project: String,
    pub auth: Auth,
    /// Account that the API token belongs to. Needed for `auth: basic`.
    pub user: String,
    /// File with the API token or access token, readable by this program only.
    pub token_file: Option<PathBuf>,
    /// Allows a credential to travel over plain HTTP to another machine.
    pub allow_plain_http: bool,
    pub issue_type: String,
    /// Labels on every ticket, besides the one that names its incident.
    pub labels: Vec<String>,
    /// Priority for each severity. One that is not here leaves the project's default.
    pub priorities: BTreeMap<Severity, String>,
    /// Status name, or name of a status category, for each state of an incident; case is ignored.
    /// One that is not here has its default: investigating and resolving are In Progress,
    /// identified and needs_human are To Do, resolved and closed are Done.
    pub statuses: BTreeMap<TicketStatus, String>,
    /// Statuses a ticket may pass through where no transition leads straight to its target, in
    /// order of preference.
    pub via: Vec<String>,
    /// A status or resolution whose name contains one of these is never chosen by its category:
    /// a fixed incident is not "won't do".
    pub avoid: Vec<String>,
    /// Resolution for transitions whose screen has that field.
    pub resolution: String,
    /// Seconds that one call may take.
    pub deadline_seconds: u64,
    /// Seconds after an unanswered create in which no second one is tried: Jira's search shows a
    /// new ticket only after some seconds.
    pub settle_seconds: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// User and API token.
    #[default]
    Basic,
    /// OAuth 2.0 access token or personal access token.
    Bearer,
}

impl Default for JiraSettings {
    fn default() -> Self {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        let priorities = [
            (Severity::Critical, "Highest"),
            (Severity::Warning, "Medium"),
            (Severity::Info, "Low"),
        ];
        Self {
            url: None,
            project: String::new(),
            auth: Auth::Basic,
            user: String::new(),
            token_file: None,
            allow_plain_http: false,
            issue_type: "Task".into(),
            labels: words(&["firebreak"]),
            priorities: priorities.map(|(severity, name)| (severity, name.to_owned())).into(),
            statuses: BTreeMap::new(),
            via: words(&["In Progress", "In Review", "To Do", "Selected for Development"]),
            avoid: words(&[
                "won't",
                "wont",
                "cancel",
                "reject",
                "declin",
                "duplicate",
                "invalid",
                "abandon",
                "obsolete",
                "cannot reproduce",
            ]),
            resolution: "Done".into(),
            deadline_seconds: 10,
            settle_seconds: 90,
        }
    }
}

impl JiraSettings {
    /// Reads `JIRA_URL`, `JIRA_PROJECT`, `JIRA_USER` and `JIRA_TOKEN_FILE`.
    pub(crate) fn apply_env(&mut self, env: &Env) -> Result<(), ConfigError> {
        env.apply_some("JIRA_URL", &mut self.url)?;
        env.apply("JIRA_PROJECT", &mut self.project)?;
        env.apply("JIRA_USER", &mut self.user)?;
        env.apply_some("JIRA_TOKEN_FILE", &mut self.token_file)
    }

    pub(crate) fn token(&self) -> anyhow::Result<Secret> {
        let token = Secret::of_setting("jira.token_file", self.token_file.as_deref())?;
        token.context("jira.token_file is not set")
    }

    /// Checks the settings of a site that is to be used.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |field: &str, message: &str| {
            Err(ConfigError::setting(format!("jira.{field}"), message))
        };
        let Some(url) = &self.url else {
            return wrong("url", "is needed for `tracker: jira` (or set JIRA_URL)");
        };
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return wrong("url", "must be an http(s) address");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("url", "must not hold a credential: use jira.token_file");
        }
        if url.scheme() == "http" && !is_loopback(url) && !self.allow_plain_http {
            return wrong(
                "url",
                "would send the token unencrypted: use https, or set allow_plain_http",
            );
        }
        let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if self.project.is_empty() || !self.project.chars().all(is_key) {
            return wrong("project", "must be a project key such as OPS (or set JIRA_PROJECT)");
        }
        if self.auth == Auth::Basic && self.user.is_empty() {
            return wrong("user", "is needed for `auth: basic` (or set JIRA_USER)");
        }
        if self.token_file.is_none() {
            return wrong("token_file", "is needed (or set JIRA_TOKEN_FILE)");
        }
        if !(1..=120).contains(&self.deadline_seconds) {
            return wrong("deadline_seconds", "must be from 1 to 120");
        }
        if let Some(label) = self.labels.iter().find(|label| !is_label(label)) {
            return wrong("labels", &format!("{label:?} is empty, has a space or is too long"));
        }
        Ok(())
    }

    /// The site's word for a status. A partial map in a file keeps the defaults for the rest.
    pub(crate) fn status(&self, status: TicketStatus) -> String {
        self.statuses.get(&status).cloned().unwrap_or_else(|| board_status(status).to_owned())
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_seconds)
    }
}

/// Whether Jira takes this as a label: no white space, 255 characters at most.
pub(crate) fn is_label(label: &str) -> bool {
    !label.is_empty() && label.len() <= 255 && !label.contains(char::is_whitespace)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
