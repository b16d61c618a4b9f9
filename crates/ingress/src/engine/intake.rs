//! The one task that takes deliveries in: it takes what waits, decides all of it at once on what is
//! stored, commits one batch and answers each. It waits for no more to come. A delivery that cannot
//! be stored fails alone. At shutdown it answers what is in the queue, and ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use incident::{IncidentId, IncidentKey};
use store::{Batch, Delivered, StoreError};
use tokio::sync::mpsc;

use super::admission::Waiting;
use super::decide::Decision;
use super::{Delivery, Engine};
use crate::error::ApiError;

/// Deliveries in one batch.
const MOST: usize = 256;
/// Bytes of bodies in one batch; a single delivery may have more.
const MOST_BYTES: usize = 8 << 20;

impl Engine {
    pub(super) async fn take_in(self: Arc<Self>, mut queue: mpsc::Receiver<Waiting>) {
        let shutdown = self.process.shutdown_token();
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                tokio::select! {
                    biased;
                    count = queue.recv_many(&mut waiting, MOST) => if count == 0 { return },
                    () = shutdown.cancelled(), if !queue.is_closed() => queue.close(),
                }
            }
            let batch = take_batch(&mut waiting);
            if !batch.is_empty() {
                self.take_batch(batch).await;
            }
            self.admission.look();
        }
    }

    async fn take_batch(&self, batch: Vec<Waiting>) {
        let clock = self.process.clock();
        let begun = clock.instant();
        let oldest = batch.iter().map(|one| one.since).min().unwrap_or(begun);
        self.metrics.oldest_age.set((begun - oldest).as_secs_f64());
        self.metrics.batch_deliveries.observe(batch.len() as f64);
        self.answer(batch).await;
        self.metrics.commit_seconds.observe((clock.instant() - begun).as_secs_f64());
        self.metrics.oldest_age.set(0.0);
    }

    /// Stores all of a batch, or else each delivery that can be.
    async fn answer(&self, batch: Vec<Waiting>) {
        let deliveries: Vec<&Delivery> = batch.iter().map(|one| &one.delivery).collect();
        match self.store_all(&deliveries).await {
            Ok(answers) => {
                for (one, incidents) in batch.into_iter().zip(answers) {
                    // A caller that went away needs no answer.
                    let _ = one.caller.send(Ok(incidents));
                }
            }
            Err(error) if batch.len() > 1 && !is_of_all(&error) => {
                for one in batch {
                    Box::pin(self.answer(vec![one])).await;
                }
            }
            Err(error) => {
                tracing::error!(?error, deliveries = batch.len(), "deliveries were not stored");
                let error = Arc::new(error);
                for one in batch {
                    let _ = one.caller.send(Err(ApiError::NotStored(error.clone())));
                }
            }
        }
    }

    /// Decides on deliveries until what was decided is stored, and returns the incidents of each.
    async fn store_all(
        &self,
        deliveries: &[&Delivery],
    ) -> Result<Vec<Vec<IncidentId>>, StoreError> {
        let mut keys = BTreeSet::new();
        for delivery in deliveries {
            keys.extend(delivery.alerts.iter().map(|alert| self.key_of(delivery, alert)));
        }
        let _turn = self.turns.of_all(&keys).await;
        let mut decisions = 0;
        loop {
            match self.try_store(deliveries, &keys).await {
                Err(StoreError::Conflict { what }) => self.again(&mut decisions, what).await?,
                answer => return answer,
            }
        }
    }

    async fn try_store(
        &self,
        deliveries: &[&Delivery],
        keys: &BTreeSet<IncidentKey>,
    ) -> Result<Vec<Vec<IncidentId>>, StoreError> {
        let alerts = deliveries.iter().flat_map(|delivery| &delivery.alerts);
        let related = self.related(alerts, keys).await?;
        let now = self.process.now();
        let mut decision = Decision::new(self, related, now);
        let answers = deliveries.iter().map(|delivery| {
            let taken = delivery.alerts.iter().filter_map(|alert| decision.take(delivery, alert));
            Vec::from_iter(taken.collect::<BTreeSet<_>>())
        });
        let answers = answers.collect();
        let (drafts, links) = decision.end();
        let delivered = deliveries.iter().map(|delivery| Delivered {
            source: delivery.source.to_string(),
            body: delivery.body.clone(),
            at: now,
        });
        let batch = Batch { delivered: delivered.collect(), links, ..Batch::default() };
        self.commit(batch, drafts, now).await?;
        Ok(answers)
    }
}

/// Takes what fits into one batch; the rest stays, in order. Whoever does not wait any more is not
/// acknowledged, and need not be stored.
fn take_batch(waiting: &mut Vec<Waiting>) -> Vec<Waiting> {
    waiting.retain(|one| !one.caller.is_closed());
    let mut bytes = 0;
    let fits = |one: &&Waiting| {
        let is_first = bytes == 0;
        bytes += one.delivery.body.len();
        is_first || bytes <= MOST_BYTES
    };
    let count = waiting.iter().take_while(fits).count();
    waiting.drain(..count).collect()
}

/// Whether every delivery would fail with it.
fn is_of_all(error: &StoreError) -> bool {
    error.is_transient() || matches!(error, StoreError::Closed | StoreError::Unavailable(_))
}
