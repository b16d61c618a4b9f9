//! The task that takes deliveries in. What waits goes into two lanes: what says what is known is
//! counted, without a read or a decision; the rest is news, which is decided on what is stored. Each
//! lane takes all that waits for it at once, commits one batch and answers each delivery, beside the
//! other lane and without waiting for more to come. A delivery that cannot be stored fails alone. At
//! shutdown what is in the queue is answered, and the task ends.

mod lane;
mod news;
mod repeats;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures::FutureExt;
use incident::{AlertStatus, IncidentId};
use jiff::Timestamp;
use store::{Delivered, StoreError};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use super::admission::{Answer, Waiting};
use super::hints::{Hint, Hints};
use super::{Delivery, Engine};
use crate::error::ApiError;
use crate::metrics::AlertLabel;

use lane::Lane;
use news::News;

#[derive(Debug)]
pub(super) struct Intake {
    engine: Arc<Engine>,
    hints: Hints,
    repeats: Lane,
    news: Lane,
    /// With the lane of news while that is at work.
    decider: Option<News>,
    lanes: JoinSet<Ended>,
}

/// A delivery with what is remembered of its alerts.
#[derive(Debug)]
struct Sorted {
    waiting: Waiting,
    /// For each of its alerts what stands for it, and the hint where the report says what is known.
    marks: Vec<Mark>,
}

#[derive(Clone, Debug)]
struct Mark {
    hash: u64,
    hint: Option<Hint>,
}

/// A lane has done what it had.
#[derive(Debug)]
enum Ended {
    /// These are no repeats.
    Repeats(Vec<Sorted>),
    News(News),
}

impl Intake {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self {
            decider: Some(News::new(engine.clone())),
            engine,
            hints: Hints::default(),
            repeats: Lane::default(),
            news: Lane::default(),
            lanes: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        if let Some(decider) = &mut self.decider {
            decider.seed().await;
        }
        let shutdown = self.engine.process.shutdown_token();
        let mut came = Vec::new();
        let mut is_open = true;
        while is_open || !self.lanes.is_empty() {
            tokio::select! {
                biased;
                Some(ended) = self.lanes.join_next() => self.end(ended),
                count = queue.recv_many(&mut came, lane::MOST), if is_open => {
                    is_open = count > 0;
                    came.drain(..).for_each(|waiting| self.sort(waiting));
                }
                () = shutdown.cancelled(), if !queue.is_closed() => queue.close(),
            }
            self.begin();
            self.look();
        }
    }

    /// Puts a delivery where it waits for its lane.
    fn sort(&mut self, waiting: Waiting) {
        let Delivery { alerts, as_of, .. } = &waiting.delivery;
        let is_told = waiting.delivery.reports() > 0 && as_of.is_none();
        let mark = |alert| {
            let hash = self.hints.hash(alert);
            let hint = is_told.then(|| self.hints.repeated(hash, alert).cloned()).flatten();
            Mark { hash, hint }
        };
        let marks: Vec<Mark> = alerts.iter().map(mark).collect();
        // The reports of one alert keep their order: behind news comes news.
        let is_known = marks.iter().all(|mark| mark.hint.is_some() && !self.news.has(mark.hash));
        let lane = if is_known { &mut self.repeats } else { &mut self.news };
        lane.push(Sorted { waiting, marks });
    }

    /// Sets every lane to work that has something to do, and is not at work.
    fn begin(&mut self) {
        if !self.repeats.is_at_work() {
            let batch = self.repeats.take(|_| false);
            if !batch.is_empty() {
                let engine = self.engine.clone();
                self.lanes
                    .spawn(async move { Ended::Repeats(repeats::take_in(&engine, batch).await) });
            }
        }
        if let Some(decider) = self.decider.take() {
            let mut batch = self.news.take(|hash| self.repeats.has(hash));
            // What is counted keeps its place until it is: it may come back to wait for this.
            batch.iter_mut().for_each(|one| one.waiting.place = None);
            match batch.is_empty() {
                true => self.decider = Some(decider),
                false => {
                    self.lanes.spawn(async move { Ended::News(decider.take_in(batch).await) });
                }
            }
        }
    }

    /// Tells metrics and readiness what waits.
    fn look(&self) {
        let oldest = [&self.repeats, &self.news].into_iter().filter_map(Lane::oldest).min();
        let age = oldest.map(|since| self.engine.process.clock().instant() - since);
        self.engine.metrics.oldest_age.set(age.unwrap_or_default().as_secs_f64());
        self.engine.admission.look();
    }

    fn end(&mut self, ended: Result<Ended, JoinError>) {
        match ended {
            Ok(Ended::Repeats(untrue)) => {
                self.repeats.end();
                // They came before what waits.
                for mut one in untrue.into_iter().rev() {
                    // What is remembered may be why.
                    for mark in &mut one.marks {
                        self.hints.forget(mark.hash);
                        mark.hint = None;
                    }
                    self.news.push_front(one);
                }
            }
            Ok(Ended::News(mut decider)) => {
                self.news.end();
                for (hash, hint) in decider.learnt() {
                    match hint {
                        Some(hint) => self.hints.remember(hash, hint),
                        None => self.hints.forget(hash),
                    }
                }
                self.decider = Some(decider);
            }
            Err(error) => resume_unwind(error.into_panic()),
        }
    }
}

impl Engine {
    /// Tells the metrics what a batch did.
    async fn observe<T>(&self, batch: &[Sorted], stored: impl Future<Output = T>) -> T {
        let (clock, metrics) = (self.process.clock(), &self.metrics);
        let begun = clock.instant();
        metrics.batch_deliveries.observe(batch.len() as f64);
        let stored = stored.await;
        metrics.batch_seconds.observe((clock.instant() - begun).as_secs_f64());
        stored
    }

    /// Counts the reports that were stored.
    fn count(&self, batch: &[Sorted]) {
        let mut counts: BTreeMap<(&str, bool), u64> = BTreeMap::new();
        let deliveries = batch.iter().map(Sorted::delivery);
        for delivery in deliveries.filter(|delivery| delivery.reports() > 0) {
            for alert in &delivery.alerts {
                *counts.entry((&delivery.source, alert.is_firing())).or_default() += 1;
            }
        }
        for ((source, is_firing), count) in counts {
            let status = match is_firing {
                true => AlertStatus::Firing,
                false => AlertStatus::Resolved,
            };
            self.metrics.alerts.get_or_create(&AlertLabel::new(source, status)).inc_by(count);
        }
    }
}

impl Sorted {
    fn delivery(&self) -> &Delivery {
        &self.waiting.delivery
    }

    fn answer(self, answer: Answer) {
        // A caller that went away needs no answer.
        let _ = self.waiting.caller.send(answer);
    }
}

impl Mark {
    fn incident(&self) -> Option<IncidentId> {
        self.hint.as_ref().and_then(|hint| hint.incident)
    }
}

fn delivered(batch: &[Sorted], now: Timestamp) -> Vec<Delivered> {
    let came = batch.iter().map(Sorted::delivery).filter(|delivery| delivery.reports() > 0);
    came.map(|delivery| Delivered {
        source: delivery.source.to_string(),
        body: delivery.body.clone(),
        at: now,
    })
    .collect()
}

/// A batch that makes this program panic fails, and intake goes on: a delivery does it again when it
/// comes again.
async fn caught<T>(stored: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let problem = "makes this program panic";
    let panicked = |_| Err(StoreError::Refused { field: "delivery", problem });
    AssertUnwindSafe(stored).catch_unwind().await.unwrap_or_else(panicked)
}

/// Whether every delivery would fail with it.
fn is_of_all(error: &StoreError) -> bool {
    error.is_transient() || matches!(error, StoreError::Closed)
}

/// Tells each sender that his delivery is not stored.
fn fail(batch: Vec<Sorted>, error: StoreError) {
    tracing::error!(?error, deliveries = batch.len(), "deliveries were not stored");
    let error = Arc::new(error);
    for one in batch {
        one.answer(Err(ApiError::NotStored(error.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_batch_that_panics_fails_as_one_that_cannot_be_stored() {
        let failed = caught::<()>(async { panic!("on purpose") }).await.unwrap_err();
        assert!(matches!(failed, StoreError::Refused { .. }));
        assert!(!is_of_all(&failed), "the others of its batch are stored without it");
    }
}
