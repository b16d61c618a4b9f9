//! Push notifications: the events of a task sent to a URL that its caller gave. The URL is a
//! stranger's, so it is called through the connector only, and checked when it is given and again
//! at every call.

mod address;
mod connector;
mod request;
mod retry;
mod rules;
mod sender;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_types::{A2aError, TaskPushNotificationConfig, TaskStore};
use ipnet::IpNet;
use serde::Deserialize;
use tokio::sync::Notify;

use self::sender::Sender;
use super::SettingError;
use crate::Host;

pub use connector::{Answer, CallError, Connector, Resolve, SystemResolver};
pub use rules::{HostPattern, Refused};

const HOUR_MS: u64 = 3_600_000;
const ATTEMPTS_MOST: u64 = 1_000;
/// Each takes a connection.
const CONCURRENT_MOST: u64 = 10_000;

/// Where push notifications may go, and how hard they are tried.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PushConfig {
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
    /// Tries of one notification. A receiver that failed the last one is given up: of each later
    /// event it gets one try, until it takes one again.
    pub max_attempts: u32,
    /// Pause after a first failure; it doubles with each, up to `retry_max_ms`.
    pub retry_base_ms: u64,
    /// Longest pause between two tries. A receiver that says `Retry-After` may ask for more, up to
    /// an hour.
    pub retry_max_ms: u64,
    /// Notifications on their way at once, of which one host gets a quarter; the others wait in the
    /// task store.
    pub concurrent: usize,
}

impl Default for PushConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            allow_http: false,
            allow_hosts: Vec::new(),
            only_hosts: Vec::new(),
            allow_addresses: Vec::new(),
            allow_ports: Vec::new(),
            timeout_ms: 10_000,
            // With the pauses below, a receiver may be away for two hours and a half.
            max_attempts: 24,
            retry_base_ms: 1_000,
            retry_max_ms: 600_000,
            concurrent: 16,
        }
    }
}

impl PushConfig {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first bound with which nothing could be sent, or nothing would end.
    pub fn check(&self) -> Result<(), SettingError> {
        let bounds = [
            ("timeout_ms", self.timeout_ms, HOUR_MS),
            ("max_attempts", self.max_attempts.into(), ATTEMPTS_MOST),
            ("retry_base_ms", self.retry_base_ms, HOUR_MS),
            ("retry_max_ms", self.retry_max_ms, 24 * HOUR_MS),
            ("concurrent", self.concurrent as u64, CONCURRENT_MOST),
        ];
        for (field, bound, most) in bounds {
            SettingError::check_range(field, bound, 1..=most)?;
        }
        match self.retry_base_ms <= self.retry_max_ms {
            true => Ok(()),
            false => Err(SettingError::new("retry_max_ms", "must not be below `retry_base_ms`")),
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    fn retry_base(&self) -> Duration {
        Duration::from_millis(self.retry_base_ms)
    }

    fn retry_max(&self) -> Duration {
        Duration::from_millis(self.retry_max_ms)
    }
}

/// The push notifications of one server.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    options: PushConfig,
    /// Absent where none are sent.
    connector: Option<Connector>,
}

impl Push {
    pub(crate) fn new(options: PushConfig) -> Self {
        let connector = options.enabled.then(|| Connector::new(&options));
        Self { options, connector }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.connector.is_some()
    }

    /// Sends in the background what the store holds and will hold. Whoever adds to it wakes the
    /// sender.
    pub(crate) fn start(&self, store: Arc<dyn TaskStore>, host: &Host) -> Arc<Notify> {
        let deliveries = Arc::new(Notify::new());
        if let Some(connector) = self.connector.clone() {
            let sender = Sender {
                store,
                connector,
                host: host.clone(),
                options: self.options.clone(),
                deliveries: deliveries.clone(),
                gone: Mutex::default(),
            };
            host.spawn(Arc::new(sender).run());
        }
        deliveries
    }

    /// Checks a configuration that a caller gave; errors name its fields under `prefix`, which is
    /// empty or ends with a dot.
    ///
    /// # Errors
    /// Push notifications are off, or a field cannot be used.
    pub(crate) async fn check(
        &self,
        config: &TaskPushNotificationConfig,
        prefix: &str,
    ) -> Result<(), A2aError> {
        let connector = self.connector.as_ref().ok_or(A2aError::PushNotificationNotSupported)?;
        request::check(config).map_err(|bad| bad.under(prefix))?;
        match connector.check(&config.url).await {
            Ok(()) => Ok(()),
            Err(CallError::Refused(refused)) => {
                tracing::warn!(?refused, "push notification URL refused");
                Err(A2aError::invalid_field(format!("{prefix}url"), refused.to_string()))
            }
            // Name servers fail for a while; every call resolves and checks the name again.
            Err(error) => {
                tracing::debug!(%error, "push notification URL accepted unresolved");
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_with_which_nothing_is_sent_is_refused_by_its_field() {
        let default = PushConfig::default;
        assert_eq!(default().check(), Ok(()));
        for (options, field) in [
            (PushConfig { timeout_ms: 0, ..default() }, "timeout_ms"),
            (PushConfig { max_attempts: 0, ..default() }, "max_attempts"),
            (PushConfig { retry_base_ms: 0, ..default() }, "retry_base_ms"),
            (PushConfig { concurrent: 0, ..default() }, "concurrent"),
            (PushConfig { retry_max_ms: 10, ..default() }, "retry_max_ms"),
        ] {
            assert_eq!(options.check().unwrap_err().field, field);
        }
    }
}
