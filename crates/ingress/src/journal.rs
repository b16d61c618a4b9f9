//! Forgets what the journal need not keep: bodies by age and by the bytes of all of them, and with
//! them alerts that have ended and refusals of the same age.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use service::ConfigError;
use store::{Retention, StoreError};

use crate::engine::Engine;

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(60);

/// A hundred years.
const DAYS_MOST: u64 = 36_500;
/// A pebibyte.
const BYTES_MOST: u64 = 1 << 50;

/// What is kept of what came.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// Days after which a body is forgotten, a refusal, and an alert that has ended.
    pub days: u32,
    /// Bytes of bodies that are kept at most, about; the oldest go first.
    pub bytes: u64,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { days: 14, bytes: 1 << 30 }
    }
}

impl JournalConfig {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_range("journal.days", self.days.into(), 1..=DAYS_MOST)?;
        ConfigError::check_range("journal.bytes", self.bytes, 0..=BYTES_MOST)
    }

    fn retention(&self, now: Timestamp) -> Retention {
        let age = SignedDuration::from_hours(24 * i64::from(self.days));
        Retention {
            before: now.checked_sub(age).unwrap_or(Timestamp::MIN),
            bytes: i64::try_from(self.bytes).unwrap_or(i64::MAX),
        }
    }
}

/// Prunes now and then.
pub(crate) async fn keep_short(engine: Arc<Engine>) {
    loop {
        match prune(&engine).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "the journal forgot rows"),
            Err(error) => tracing::warn!(?error, "the journal was not pruned"),
        }
        engine.process.clock().sleep(PAUSE).await;
    }
}

async fn prune(engine: &Engine) -> Result<u64, StoreError> {
    let mut all = 0;
    loop {
        let retention = engine.config.journal.retention(engine.process.now());
        match engine.store.prune(retention).await? {
            0 => return Ok(all),
            count => all += count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_goes_by_days_and_bytes() {
        let now: Timestamp = "2026-01-15T00:00:00Z".parse().unwrap();
        let retention = JournalConfig { days: 14, bytes: 7 }.retention(now);
        assert_eq!(retention.before.to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(retention.bytes, 7);
        let forever = JournalConfig { days: u32::MAX, bytes: u64::MAX }.retention(now);
        assert_eq!((forever.before, forever.bytes), (Timestamp::MIN, i64::MAX));
    }
}
