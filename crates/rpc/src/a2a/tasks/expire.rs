//! The end of finished tasks: after the retention they leave the store, some at a time, so that no
//! other request waits long for it.

use std::sync::Arc;
use std::time::Duration;

use a2a_types::{TaskStore, TaskStoreError};
use jiff::SignedDuration;
use tokio::time::MissedTickBehavior;

use crate::Host;

/// How often finished tasks are looked through.
const INTERVAL: Duration = Duration::from_secs(600);
/// Tasks that are removed at once.
const STEP: u32 = 500;

/// Removes what ended longer ago than `retention`, until shutdown.
pub(super) async fn run(store: Arc<dyn TaskStore>, host: Host, retention: Duration) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let shutdown = host.shutdown().clone();
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        match expire(&*store, &host, retention).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "finished tasks are forgotten"),
            Err(error) => tracing::warn!(%error, "finished tasks are not forgotten"),
        }
    }
}

async fn expire(
    store: &dyn TaskStore,
    host: &Host,
    retention: Duration,
) -> Result<u64, TaskStoreError> {
    let age = SignedDuration::try_from(retention).unwrap_or(SignedDuration::MAX);
    let Ok(before) = host.now().checked_sub(age) else { return Ok(0) };
    let mut count = 0;
    while !host.shutdown().is_cancelled() {
        let removed = store.expire(before, STEP).await?;
        count += removed;
        if removed < u64::from(STEP) {
            break;
        }
    }
    Ok(count)
}
