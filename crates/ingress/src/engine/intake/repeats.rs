//! The lane of what is known: counted in one commit, which holds every report against what is stored.

use std::collections::{BTreeSet, HashMap};

use incident::{Alert, IncidentId};
use jiff::Timestamp;
use store::{AlertKey, Batch, Repeat, StoreError};

use super::{Mark, Sorted, caught, delivered, fail, is_of_all};
use crate::engine::Engine;

/// Counts and answers them. Where one is no repeat, all come back.
pub(super) async fn take_in(engine: &Engine, batch: Vec<Sorted>) -> Vec<Sorted> {
    match engine.observe(&batch, caught(engine.store_repeats(&batch))).await {
        Ok(()) => {
            for one in batch {
                let incidents: BTreeSet<IncidentId> =
                    one.marks.iter().filter_map(Mark::incident).collect();
                one.answer(Ok(incidents.into_iter().collect()));
            }
            Vec::new()
        }
        Err(error) if is_of_all(&error) => {
            fail(batch, error);
            Vec::new()
        }
        Err(error) => {
            tracing::debug!(?error, deliveries = batch.len(), "one of them is no repeat");
            batch
        }
    }
}

impl Engine {
    async fn store_repeats(&self, batch: &[Sorted]) -> Result<(), StoreError> {
        let now = self.process.now();
        let mut repeats = Repeats::default();
        for one in batch {
            for (alert, mark) in one.delivery().alerts.iter().zip(&one.marks) {
                repeats.add(alert, mark, one.delivery().reports(), now);
            }
        }
        let (delivered, repeats) = (delivered(batch, now), repeats.into_rows());
        let repeated = repeats.iter().map(|one| u64::from(one.reports)).sum();
        self.commit(Batch { delivered, repeats, ..Batch::default() }, Vec::new(), now).await?;
        self.metrics.repeats.inc_by(repeated);
        self.count(batch);
        Ok(())
    }
}

/// Reports that say what is remembered, each alert once.
#[derive(Default)]
pub(super) struct Repeats {
    rows: Vec<Repeat>,
    places: HashMap<u64, usize>,
}

impl Repeats {
    /// Adds a report, unless its alert is not remembered so.
    pub(super) fn add(&mut self, alert: &Alert, mark: &Mark, reports: u32, now: Timestamp) {
        let Some(hint) = &mark.hint else { return };
        let place = *self.places.entry(mark.hash).or_insert(self.rows.len());
        match self.rows.get_mut(place) {
            Some(row) => row.reports += reports,
            None => self.rows.push(Repeat {
                alert: AlertKey::of(alert),
                state: hint.state.clone(),
                reports,
                at: now,
            }),
        }
    }

    pub(super) fn into_rows(self) -> Vec<Repeat> {
        self.rows
    }
}
