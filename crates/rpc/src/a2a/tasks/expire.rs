//! The end of tasks in the store: those that ended go after the retention, those that wait for their
//! caller when nobody came for too long; some at a time, so that no other request waits long for it.

use std::sync::Arc;
use std::time::Duration;

use a2a_types::{Expiry, TaskStore, TaskStoreError};
use jiff::{SignedDuration, Timestamp};
use tokio::time::MissedTickBehavior;

use super::TaskOptions;
use crate::Host;

/// How often tasks are looked through.
const INTERVAL: Duration = Duration::from_secs(600);
/// Tasks that are removed at once.
const STEP: u32 = 500;

/// Removes what has been kept long enough, until shutdown.
pub(super) async fn run(store: Arc<dyn TaskStore>, host: Host, options: TaskOptions) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let shutdown = host.shutdown().clone();
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        match expire(&*store, &host, &options).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "old tasks are forgotten"),
            Err(error) => tracing::warn!(%error, "old tasks are not forgotten"),
        }
    }
}

async fn expire(
    store: &dyn TaskStore,
    host: &Host,
    options: &TaskOptions,
) -> Result<u64, TaskStoreError> {
    let expiry = Expiry {
        ended_before: before(host.now(), options.retention),
        waiting_before: before(host.now(), options.patience),
    };
    let mut count = 0;
    while !host.shutdown().is_cancelled() {
        let removed = store.expire(expiry, STEP).await?;
        count += removed;
        if removed < u64::from(STEP) {
            break;
        }
    }
    Ok(count)
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
    now.checked_sub(age).unwrap_or(Timestamp::MIN)
}
