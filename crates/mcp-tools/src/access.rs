//! Who may call a tool server: loopback hosts, no browser and no token unless configured.

use std::path::PathBuf;

use anyhow::Context;
use service::{ConfigError, Env, Secret};

/// Calls that a tool server answers at a time at most.
const CALLS_MOST: u64 = 10_000;

/// Checks the setting `concurrent_calls` of a tool server.
pub(crate) fn check_calls(calls: usize) -> Result<(), ConfigError> {
    let calls = u64::try_from(calls).unwrap_or(u64::MAX);
    ConfigError::check_range("concurrent_calls", calls, 1..=CALLS_MOST)
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// `Host` values answered, as `host` (any port) or `host:port`. A server behind a service name
    /// needs that name here; anything else is refused with 403.
    pub allowed_hosts: Vec<String>,
    /// `Origin` values answered, as `scheme://host:port`; empty refuses every browser.
    pub allowed_origins: Vec<String>,
    /// Files with one bearer token each. When there are any, a call must bear one of them.
    pub token_files: Vec<PathBuf>,
}

impl Default for AccessConfig {
    fn default() -> Self {
        let access = rpc::mcp::server::Access::default();
        Self {
            allowed_hosts: access.allowed_hosts,
            allowed_origins: access.allowed_origins,
            token_files: Vec::new(),
        }
    }
}

impl AccessConfig {
    /// `FIREBREAK_ALLOWED_HOSTS` (a comma list) replaces the hosts, `FIREBREAK_MCP_TOKEN_FILE` the
    /// token files.
    pub(crate) fn apply_env(&mut self, env: &Env) -> Result<(), ConfigError> {
        if let Some(hosts) = env.get("FIREBREAK_ALLOWED_HOSTS") {
            self.allowed_hosts = hosts.split(',').map(|host| host.trim().to_owned()).collect();
        }
        if let Some(file) = env.get("FIREBREAK_MCP_TOKEN_FILE") {
            self.token_files = vec![file.into()];
        }
        Ok(())
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.allowed_hosts.iter().any(String::is_empty) || self.allowed_hosts.is_empty() {
            // rmcp reads an empty list as "any host".
            return Err(ConfigError::setting("access.allowed_hosts", "must name every host"));
        }
        Ok(())
    }

    pub(crate) fn read(&self) -> anyhow::Result<rpc::mcp::server::Access> {
        let token = |(index, file): (usize, &PathBuf)| {
            let read = Secret::from_file(file);
            let secret = read.with_context(|| format!("setting `access.token_files[{index}]`"))?;
            Ok(secret.reveal().to_owned())
        };
        let tokens = self.token_files.iter().enumerate().map(token);
        Ok(rpc::mcp::server::Access {
            allowed_hosts: self.allowed_hosts.clone(),
            allowed_origins: self.allowed_origins.clone(),
            bearer_tokens: tokens.collect::<anyhow::Result<_>>()?,
        })
    }
}
