//! Bodies as they came, and counts of what was refused.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use crate::{Delivered, DeliveryRow, Refusal, Retention};

#[derive(Debug, Default)]
pub(super) struct Deliveries {
    rows: VecDeque<DeliveryRow>,
    last: i64,
    refusals: BTreeMap<(Timestamp, String, String), Refusal>,
}

impl Deliveries {
    pub(super) fn push(&mut self, delivered: Delivered) {
        let Delivered { source, body, at } = delivered;
        self.last += 1;
        self.rows.push_back(DeliveryRow { id: self.last, source, body, at });
    }

    pub(super) fn after(&self, id: i64, limit: u32) -> Vec<DeliveryRow> {
        let rows = self.rows.iter().filter(|row| row.id > id);
        rows.take(limit as usize).cloned().collect()
    }

    pub(super) fn refuse(&mut self, refusals: Vec<Refusal>) {
        for refusal in refusals {
            let key = (refusal.minute, refusal.source.clone(), refusal.reason.clone());
            let count = self.refusals.get(&key).map_or(0, |known| known.count);
            self.refusals.insert(key, Refusal { count: count + refusal.count, ..refusal });
        }
    }

    /// The newest minute first, each by source and reason.
    pub(super) fn refusals(&self, limit: u32) -> Vec<Refusal> {
        let mut rows: Vec<&Refusal> = self.refusals.values().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.minute));
        rows.into_iter().take(limit as usize).cloned().collect()
    }

    pub(super) fn prune(&mut self, retention: Retention) -> usize {
        let all = self.rows.len() + self.refusals.len();
        let mut excess = self.rows.iter().map(bytes).sum::<i64>() - retention.bytes.max(0);
        let newest = self.last;
        self.rows.retain(|row| {
            let is_old = row.at < retention.before || excess > 0;
            excess -= bytes(row);
            !is_old || row.id == newest
        });
        self.refusals.retain(|(minute, ..), _| *minute >= retention.before);
        all - self.rows.len() - self.refusals.len()
    }
}

fn bytes(row: &DeliveryRow) -> i64 {
    i64::try_from(row.body.len()).unwrap_or(i64::MAX)
}
