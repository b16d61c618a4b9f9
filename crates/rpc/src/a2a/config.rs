//! The settings of an A2A server, as programs embed them in their configuration files.

use std::time::Duration;

use a2a_types::AgentProvider;
use serde::Deserialize;
use url::Url;

use super::{
    Authentication, AuthenticationConfig, CardSigner, LimitsConfig, PushConfig, ServerOptions,
    SettingError, SigningConfig, TaskOptions,
};

/// How an agent is offered to others. The default asks for no credentials and signs nothing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Who may call. Without any caller, everybody may, and all share the same tasks.
    pub authentication: AuthenticationConfig,
    /// What one caller may ask.
    pub limits: LimitsConfig,
    /// Where push notifications may go.
    pub push: PushConfig,
    /// The key that signs the card; without one it is unsigned.
    pub signing: Option<SigningConfig>,
    /// Who runs the agent, as the card says.
    pub provider: Option<ProviderConfig>,
    /// Where people read about the agent, as the card says.
    pub documentation_url: Option<Url>,
    /// Days that a task is kept after its end, with its events.
    pub retention_days: u16,
    /// Days that a task waits for its caller. Then it is removed, unanswered.
    pub waiting_days: u16,
    /// Whether callers that still speak A2A 0.3 are served too, at `/a2a/v0.3`.
    pub v0_3: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            authentication: AuthenticationConfig::default(),
            limits: LimitsConfig::default(),
            push: PushConfig::default(),
            signing: None,
            provider: None,
            documentation_url: None,
            retention_days: 7,
            waiting_days: 30,
            v0_3: false,
        }
    }
}

/// The organisation behind an agent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    pub organization: String,
    /// Its website, or that of its documentation.
    pub url: Url,
}

impl ServerConfig {
    /// Checks what types cannot, without reading a file.
    ///
    /// # Errors
    /// The first setting that cannot be used, by its dotted name.
    pub fn check(&self) -> Result<(), SettingError> {
        self.authentication.check().map_err(|error| error.within("authentication"))?;
        self.limits.check().map_err(|error| error.within("limits"))?;
        self.push.check().map_err(|error| error.within("push"))?;
        let days = [("retention_days", self.retention_days), ("waiting_days", self.waiting_days)];
        match days.into_iter().find(|(_, days)| *days == 0) {
            Some((field, _)) => Err(SettingError::new(field, "must be above 0")),
            None => Ok(()),
        }
    }

    /// The options these settings make, with the files they name read.
    ///
    /// # Errors
    /// The first setting, or the file it names, that cannot be used.
    pub fn open(&self) -> Result<ServerOptions, SettingError> {
        self.check()?;
        let authentication = Authentication::open(&self.authentication)
            .map_err(|error| error.within("authentication"))?;
        let signer = self.signing.as_ref().map(CardSigner::open).transpose();
        let days = |days: u16| Duration::from_secs(u64::from(days) * 24 * 3600);
        let (retention, patience) = (days(self.retention_days), days(self.waiting_days));
        let provider = self.provider.as_ref().map(|provider| AgentProvider {
            organization: provider.organization.clone(),
            url: provider.url.to_string(),
            ..AgentProvider::default()
        });
        Ok(ServerOptions {
            authentication,
            limits: self.limits.clone(),
            push: self.push.clone(),
            signer: signer.map_err(|error| error.within("signing"))?,
            provider,
            documentation_url: self.documentation_url.clone(),
            tasks: TaskOptions { retention, patience, ..TaskOptions::default() },
            v0_3: self.v0_3,
            ..ServerOptions::default()
        })
    }
}
