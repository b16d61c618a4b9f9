//! Push notifications: the events of a task sent to a URL that its caller gave. The URL is a
//! stranger's, so it is called through the connector only.

mod address;
mod connector;
mod rules;

use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

pub use connector::{Answer, CallError, Connector, Resolve, SystemResolver};
pub use rules::{HostPattern, Refused};

/// Where push notifications may go, and how hard they are tried.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PushOptions {
    /// Whether callers may ask for push notifications at all.
    pub enabled: bool,
    /// Call `http://` URLs too. What is sent, tokens included, is then readable on its way.
    pub allow_http: bool,
    /// Names that may be called although they are no public ones, such as `hooks.internal`; with
    /// a leading dot, all names below one. The addresses they have are checked all the same.
    pub allow_hosts: Vec<HostPattern>,
    /// When not empty, only these hosts may be called.
    pub only_hosts: Vec<HostPattern>,
    /// Networks that may be called although they are not public, such as `10.20.0.0/16`.
    pub allow_addresses: Vec<IpNet>,
    /// Ports below 1024 that may be called besides that of the scheme. Ports from 1024 on always
    /// may be.
    pub allow_ports: Vec<u16>,
    /// Bound on one call: name lookup, connection, request and answer together.
    pub timeout_ms: u64,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            allow_http: false,
            allow_hosts: Vec::new(),
            only_hosts: Vec::new(),
            allow_addresses: Vec::new(),
            allow_ports: Vec::new(),
            timeout_ms: 10_000,
        }
    }
}

impl PushOptions {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}
