//! What clients may take of a listener.

use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Deserialize;

use crate::ConfigError;

/// Bytes of a request's head; a larger one is answered 431.
pub(super) const HEAD_BYTES: usize = 32 << 10;
/// The process asks for so many open files, if it may have them.
const FILES: u64 = 32_768;

/// More connections than a kernel has files for.
const OPEN_MOST: u64 = 1 << 20;
/// A day: nobody waits longer for a client.
const SECONDS_MOST: u64 = 24 * 3600;

/// How many connections a listener keeps open, and how long a client may keep it waiting.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionLimits {
    /// Connections open at a time, and never more than half of the files the process may open. For
    /// one beyond that, those which have waited longest for their clients are closed.
    pub open: usize,
    /// Seconds for the head of a request, and for a TLS handshake.
    pub head_seconds: u64,
    /// Seconds for the body of a request; what takes a body may give less.
    pub body_seconds: u64,
    /// Seconds in which a client reads nothing of its answer.
    pub reader_seconds: u64,
    /// Seconds between two requests. Longer than Alertmanager keeps a connection, 300: so it is the
    /// client that closes, and no request meets a closing connection.
    pub idle_seconds: u64,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            open: 8_192,
            head_seconds: 10,
            body_seconds: 30,
            reader_seconds: 30,
            idle_seconds: 310,
        }
    }
}

impl ConnectionLimits {
    /// Refuses limits of nothing, and such as are none; `setting` is what these are called.
    ///
    /// # Errors
    /// The first that is out of its range.
    pub fn check(&self, setting: &str) -> Result<(), ConfigError> {
        let open = u64::try_from(self.open).unwrap_or(u64::MAX);
        ConfigError::check_range(format!("{setting}.open"), open, 1..=OPEN_MOST)?;
        let times = [
            ("head_seconds", self.head_seconds),
            ("body_seconds", self.body_seconds),
            ("reader_seconds", self.reader_seconds),
            ("idle_seconds", self.idle_seconds),
        ];
        times.into_iter().try_for_each(|(field, seconds)| {
            ConfigError::check_range(format!("{setting}.{field}"), seconds, 1..=SECONDS_MOST)
        })
    }

    /// The same within what the machine allows.
    pub(super) fn within_files(mut self) -> Self {
        self.open = self.open.min(files() / 2).max(1);
        self
    }

    pub(super) fn head(&self) -> Duration {
        Duration::from_secs(self.head_seconds)
    }

    pub(super) fn body(&self) -> Duration {
        Duration::from_secs(self.body_seconds)
    }

    pub(super) fn reader(&self) -> Duration {
        Duration::from_secs(self.reader_seconds)
    }

    pub(super) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }

    /// How often it is looked whether one is exceeded.
    pub(super) fn tick(&self) -> Duration {
        let shortest = self.head().min(self.body()).min(self.reader()).min(self.idle());
        (shortest / 4).clamp(Duration::from_millis(100), Duration::from_secs(1))
    }
}

/// How many files this process may open: a connection is one. The soft limit of many systems, 1024, is
/// for programs older than these; the hard one is what an operator allows.
fn files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |most| most.min(FILES));
    if limit.current.is_some_and(|now| now < wanted) {
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
    let now = getrlimit(Resource::Nofile).current;
    now.map_or(usize::MAX, |now| usize::try_from(now).unwrap_or(usize::MAX))
}
