//! Alerts that are held back: what is written as the reason, and how they are let go. When a window
//! ends, and after a start, which may have other windows, those that no window covers any more are
//! decided anew, as if they came now. Whatever is reported meanwhile comes before or after, and the
//! decision is the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use incident::Alert;
use store::AlertKey;

use super::{Delivery, Engine};
use crate::error::ApiError;

/// Alerts that are read, and let go, at a time.
const MOST: u32 = 500;
/// The longest time between two looks where there are windows: a clock may be set.
const LOOK: Duration = Duration::from_secs(60);
/// The wait after a look that failed.
const AGAIN: Duration = Duration::from_secs(5);
/// What is before the reason where the source may be anybody.
const UNPROVEN: &str = "unauthenticated: ";

/// Why an alert is held back; it also says how its source was known.
pub(super) fn reason(window: &str, is_authenticated: bool) -> String {
    let proven = if is_authenticated { "" } else { UNPROVEN };
    format!("{proven}maintenance window {window}")
}

pub(super) async fn release_when_due(engine: Arc<Engine>) {
    loop {
        let pause = match release(&engine).await {
            Ok(count) => {
                if count > 0 {
                    tracing::info!(count, "alerts that were held back are let go");
                }
                if engine.config.maintenance.is_empty() {
                    return;
                }
                let now = engine.process.now();
                let end = engine.maintenance.next_end(now);
                let until = end.and_then(|end| Duration::try_from(end.duration_since(now)).ok());
                until.map_or(LOOK, |until| until.min(LOOK))
            }
            Err(error) => {
                tracing::warn!(?error, "alerts are held back longer than they should");
                AGAIN
            }
        };
        engine.process.clock().sleep(pause).await;
    }
}

/// Lets go what no window covers, and returns how many alerts that were.
async fn release(engine: &Engine) -> Result<usize, ApiError> {
    let (mut after, mut count) = (None, 0);
    loop {
        let rows = engine.store.held_alerts(after, MOST).await?;
        after = rows.last().map(|row| AlertKey::of(&row.alert));
        let is_last = rows.len() < MOST as usize;
        let now = engine.process.now();
        let mut free: BTreeMap<(String, bool), Vec<Alert>> = BTreeMap::new();
        for row in rows {
            if engine.maintenance.window(&row.alert, now).is_none() {
                let is_authenticated = row.held.is_some_and(|held| !held.starts_with(UNPROVEN));
                let group = (row.alert.source.clone(), is_authenticated);
                free.entry(group).or_default().push(row.alert);
            }
        }
        for ((source, is_authenticated), alerts) in free {
            count += alerts.len();
            let room = engine.admission().reserve(Some(0), true).await?;
            let (source, body, as_of) = (source.into(), String::new(), None);
            let delivery = Delivery { source, is_authenticated, alerts, body, as_of };
            engine.accept(delivery, room).await?;
        }
        if is_last {
            return Ok(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_window_says_that_a_source_is_known() {
        assert!(!reason("unauthenticated: x", true).starts_with(UNPROVEN));
        assert!(reason("x", false).starts_with(UNPROVEN));
    }
}
