//! Requests that were refused for who sent them. They leave no delivery and no alert: they are counted
//! by source, reason and minute, since a forger decides how many there are, and written to the
//! database about once a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use service::{Metrics, Process};
use store::{Refusal, Store};

use crate::metrics::RefusalMetrics;
use crate::sources::Reason;

const FLUSH: Duration = Duration::from_secs(1);
/// Counts kept while the database is away: hours of every source and reason. Beyond, metrics alone
/// count.
const KEPT: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Refusals {
    metrics: RefusalMetrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    counts: HashMap<Counted, Count>,
    /// The minute in which each was last told of in the log.
    logged: HashMap<(String, Reason), Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Counted {
    source: String,
    reason: Reason,
    minute: Timestamp,
}

#[derive(Clone, Debug)]
struct Count {
    count: i64,
    /// The last one's.
    address: IpAddr,
}

impl Refusals {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self { metrics: RefusalMetrics::new(metrics), state: Mutex::default() }
    }

    /// Counts one. `source` is one that is configured: nobody else's text is kept.
    pub(crate) fn record(&self, source: &str, reason: Reason, address: IpAddr, now: Timestamp) {
        self.metrics.count(source, reason);
        let minute = minute_of(now);
        let mut state = self.state();
        let told = state.logged.insert((source.to_owned(), reason), minute);
        if told != Some(minute) {
            let reason = reason.name();
            tracing::warn!(source, reason, %address, "webhook refused; others of this minute are counted only");
        }
        let counted = Counted { source: source.to_owned(), reason, minute };
        state.add(counted, Count { count: 1, address });
    }

    /// Writes what was counted, now and then, until shutdown.
    pub(crate) fn start(self: &Arc<Self>, process: &Process, store: Arc<dyn Store>) {
        let (refusals, clock) = (self.clone(), process.clock().clone());
        process.spawn_until_shutdown(async move {
            let mut is_away = false;
            loop {
                clock.sleep(FLUSH).await;
                let flushed = refusals.flush(&*store).await;
                if let (Err(error), false) = (&flushed, is_away) {
                    tracing::error!(?error, "counts of refused requests wait for the database");
                }
                is_away = flushed.is_err();
            }
        });
    }

    /// # Errors
    /// The counts wait for the next time.
    pub(crate) async fn flush(&self, store: &dyn Store) -> Result<(), store::StoreError> {
        let counts = std::mem::take(&mut self.state().counts);
        if counts.is_empty() {
            return Ok(());
        }
        let kept = Kept { refusals: self, counts };
        store.record_refusals(kept.rows()).await?;
        kept.forget();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, counted: Counted, more: Count) {
        if let Some(known) = self.counts.get_mut(&counted) {
            known.count += more.count;
            known.address = more.address;
        } else if self.counts.len() < KEPT {
            self.counts.insert(counted, more);
        }
    }
}

/// Counts on their way to the database: they come back unless it has them.
struct Kept<'a> {
    refusals: &'a Refusals,
    counts: HashMap<Counted, Count>,
}

impl Kept<'_> {
    fn rows(&self) -> Vec<Refusal> {
        let row = |(counted, count): (&Counted, &Count)| Refusal {
            source: counted.source.clone(),
            reason: counted.reason.name().to_owned(),
            minute: counted.minute,
            address: count.address.to_string(),
            count: count.count,
        };
        self.counts.iter().map(row).collect()
    }

    fn forget(mut self) {
        self.counts.clear();
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let mut state = self.refusals.state();
        for (counted, count) in self.counts.drain() {
            state.add(counted, count);
        }
    }
}

fn minute_of(now: Timestamp) -> Timestamp {
    let second = now.as_second();
    Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(now)
}
