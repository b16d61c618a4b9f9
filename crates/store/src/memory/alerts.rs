//! Alerts, and how often each was reported.

use std::collections::{BTreeMap, BTreeSet};

use incident::{AlertStatus, IncidentId};
use jiff::Timestamp;

use crate::sqlite::to_micros;
use crate::{AlertKey, AlertRow, AlertState, AlertWrite, Batch, Repeat, StoreError};

#[derive(Debug, Default)]
pub(super) struct Alerts {
    rows: BTreeMap<AlertKey, AlertRow>,
}

impl Alerts {
    /// Whether the batch was decided on what is stored now. `is_known` and `is_open` speak of
    /// incidents: those of the batch are known, and as they were before it.
    pub(super) fn check(
        &self,
        batch: &Batch,
        is_known: impl Fn(IncidentId) -> bool,
        is_open: impl Fn(IncidentId) -> bool,
    ) -> Result<(), StoreError> {
        let mut written = BTreeSet::new();
        for write in &batch.alerts {
            let key = AlertKey::of(&write.alert);
            let version = self.rows.get(&key).map_or(0, |row| row.version);
            if version != write.version || !written.insert(key.clone()) {
                return Err(conflict(&key));
            }
        }
        let untrue = batch.repeats.iter().find(|repeat| !self.is_true(repeat, &is_open));
        if let Some(repeat) = untrue {
            return Err(conflict(&repeat.alert));
        }
        if !batch.alerts.iter().filter_map(|write| write.incident).all(is_known) {
            return Err(StoreError::Refused {
                field: "alerts",
                problem: "names an unknown incident",
            });
        }
        Ok(())
    }

    fn is_true(&self, repeat: &Repeat, is_open: impl Fn(IncidentId) -> bool) -> bool {
        self.rows.get(&repeat.alert).is_some_and(|row| {
            is_same(&AlertState::of(&row.alert), &repeat.state)
                && (!row.alert.is_firing() || row.incident.is_some_and(is_open))
        })
    }

    pub(super) fn put(&mut self, write: AlertWrite) {
        let AlertWrite { alert, incident, held, version, reports, at } = write;
        let key = AlertKey::of(&alert);
        let former = self.rows.remove(&key);
        let row = AlertRow {
            alert,
            incident,
            held,
            reports: former.as_ref().map_or(0, |row| row.reports) + i64::from(reports),
            first_at: former.as_ref().map_or(at, |row| row.first_at),
            last_at: former.as_ref().map_or(at, |row| row.last_at.max(at)),
            version: version + 1,
        };
        self.rows.insert(key, row);
    }

    pub(super) fn count(&mut self, repeat: &Repeat) {
        if let Some(row) = self.rows.get_mut(&repeat.alert) {
            row.reports += i64::from(repeat.reports);
            row.last_at = row.last_at.max(repeat.at);
        }
    }

    pub(super) fn get(&self, key: &AlertKey) -> Option<&AlertRow> {
        self.rows.get(key)
    }

    /// Those that fit after a key, by key.
    pub(super) fn page(
        &self,
        after: Option<&AlertKey>,
        limit: u32,
        fits: impl Fn(&AlertRow) -> bool,
    ) -> Vec<AlertRow> {
        let rows = self.rows.iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
        let rows = rows.map(|(_, row)| row).filter(|row| fits(row));
        rows.take(limit as usize).cloned().collect()
    }

    /// Forgets those that ended before, with their incidents.
    pub(super) fn prune(
        &mut self,
        before: Timestamp,
        is_open: impl Fn(IncidentId) -> bool,
    ) -> usize {
        let all = self.rows.len();
        self.rows.retain(|_, row| {
            row.alert.status == AlertStatus::Firing
                || row.last_at >= before
                || row.incident.is_some_and(&is_open)
        });
        all - self.rows.len()
    }
}

fn conflict(key: &AlertKey) -> StoreError {
    StoreError::Conflict { what: format!("the alert {} of {}", key.fingerprint, key.source) }
}

/// A database knows times to the microsecond.
fn is_same(one: &AlertState, other: &AlertState) -> bool {
    (one.status, one.severity) == (other.status, other.severity)
        && to_micros(one.starts_at) == to_micros(other.starts_at)
}
