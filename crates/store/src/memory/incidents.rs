//! Incidents and their timelines.

use std::collections::{BTreeMap, BTreeSet};

use incident::{IncidentId, IncidentKey};
use jiff::Timestamp;

use crate::audit::{ChainCheck, broken, link_hash};
use crate::sqlite::{from_json, to_json};
use crate::{AuditRow, Base, Batch, IncidentWrite, PAGE_BYTES, StoreError, Stored};

#[derive(Debug, Default)]
pub(super) struct Incidents {
    rows: BTreeMap<IncidentId, Row>,
    open: BTreeMap<IncidentKey, IncidentId>,
    /// By the time of opening.
    history: BTreeMap<IncidentKey, BTreeSet<(Timestamp, IncidentId)>>,
    deadlines: BTreeSet<(Timestamp, IncidentId)>,
}

#[derive(Debug)]
struct Row {
    stored: Stored,
    /// Of the incident as JSON.
    bytes: u64,
    audit: BTreeMap<i64, AuditText>,
}

/// The first rows of a page that are no more than [`PAGE_BYTES`] together, and the first in any case.
pub(super) fn fitting<T>(
    rows: impl Iterator<Item = T>,
    bytes_of: impl Fn(&T) -> u64,
) -> impl Iterator<Item = T> {
    let mut total = 0;
    rows.take_while(move |row| {
        let is_first = total == 0;
        total += bytes_of(row);
        is_first || total <= u64::from(PAGE_BYTES)
    })
}

/// A row of a timeline as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditText {
    pub body: String,
    /// Covers the row before it.
    pub hash: String,
}

impl Incidents {
    /// Whether the batch was decided on what is stored now.
    pub(super) fn check(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut open: BTreeMap<&IncidentKey, Option<IncidentId>> = BTreeMap::new();
        let mut written = BTreeSet::new();
        for write in &batch.incidents {
            let (id, key) = (write.incident.id, &write.incident.key);
            if self.base(id) != write.base || !written.insert(id) {
                return Err(StoreError::Conflict { what: id.to_string() });
            }
            let present = open.entry(key).or_insert_with(|| self.open.get(key).copied());
            if write.incident.phase.is_final() {
                *present = present.filter(|present| *present != id);
            } else if present.replace(id).is_some_and(|present| present != id) {
                let what = format!("the open incident of {}", key.as_str());
                return Err(StoreError::Conflict { what });
            }
        }
        Ok(())
    }

    fn base(&self, id: IncidentId) -> Base {
        self.rows.get(&id).map(|row| row.stored.base.clone()).unwrap_or_default()
    }

    pub(super) fn put(&mut self, write: IncidentWrite) {
        let IncidentWrite { incident, mut base, entries, at, .. } = write;
        let (id, key) = (incident.id, incident.key.clone());
        let former = self.rows.remove(&id);
        let mut audit = BTreeMap::new();
        if let Some(former) = former {
            self.forget(&former.stored);
            audit = former.audit;
        }
        for entry in &entries {
            let body = to_json(entry);
            base.sequence += 1;
            base.hash = link_hash(&base.hash, &body);
            audit.insert(base.sequence, AuditText { body, hash: base.hash.clone() });
        }
        base.version += 1;
        if !incident.phase.is_final() {
            self.open.insert(key.clone(), id);
        }
        self.history.entry(key).or_default().insert((incident.opened_at, id));
        self.deadlines.extend(incident.deadline.map(|deadline| (deadline, id)));
        let bytes = to_json(&incident).len() as u64;
        let stored = Stored { incident, changed_at: at, base };
        self.rows.insert(id, Row { stored, bytes, audit });
    }

    /// Takes a former state out of the indexes.
    fn forget(&mut self, former: &Stored) {
        let incident = &former.incident;
        if self.open.get(&incident.key) == Some(&incident.id) {
            self.open.remove(&incident.key);
        }
        if let Some(history) = self.history.get_mut(&incident.key) {
            history.remove(&(incident.opened_at, incident.id));
        }
        if let Some(deadline) = incident.deadline {
            self.deadlines.remove(&(deadline, incident.id));
        }
    }

    /// The given incidents, and of each key the open one and the newest one.
    pub(super) fn related(
        &self,
        given: impl Iterator<Item = IncidentId>,
        keys: &[IncidentKey],
    ) -> BTreeMap<IncidentId, Stored> {
        let open = keys.iter().filter_map(|key| self.open.get(key)).copied();
        let newest = keys.iter().filter_map(|key| self.history.get(key)?.last());
        let ids = given.chain(open).chain(newest.map(|(_, id)| *id));
        ids.filter_map(|id| Some((id, self.get(id)?))).collect()
    }

    pub(super) fn get(&self, id: IncidentId) -> Option<Stored> {
        self.rows.get(&id).map(|row| row.stored.clone())
    }

    pub(super) fn is_open(&self, id: IncidentId) -> bool {
        self.rows.get(&id).is_some_and(|row| !row.stored.incident.phase.is_final())
    }

    pub(super) fn newest(&self, limit: u32, before: Option<IncidentId>) -> Vec<Stored> {
        let rows = self.rows.iter().rev();
        let rows = rows.filter(|(id, _)| before.is_none_or(|before| **id < before));
        fitting(rows.take(limit as usize), |(_, row)| row.bytes)
            .map(|(_, row)| row.stored.clone())
            .collect()
    }

    pub(super) fn timeline(
        &self,
        id: IncidentId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let Some(row) = self.rows.get(&id) else { return Ok(Vec::new()) };
        let rows = row.audit.iter().filter(|(sequence, _)| **sequence > after);
        fitting(rows.take(limit as usize), |(_, text)| text.body.len() as u64)
            .map(|(sequence, text)| {
                let entry = from_json(&text.body, "timeline entry")?;
                Ok(AuditRow { sequence: *sequence, entry })
            })
            .collect()
    }

    pub(super) fn verify(&self, id: IncidentId) -> Result<i64, StoreError> {
        let Some(row) = self.rows.get(&id) else { return Ok(0) };
        let mut check = ChainCheck::default();
        let bad = |sequence| broken(&id, sequence);
        for (sequence, text) in &row.audit {
            check.row(*sequence, &text.body, &text.hash).map_err(bad)?;
        }
        check.end(&row.stored.base).map_err(bad)
    }

    pub(super) fn audit_of(&mut self, id: IncidentId) -> Option<&mut BTreeMap<i64, AuditText>> {
        self.rows.get_mut(&id).map(|row| &mut row.audit)
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn overdue(&self, now: Timestamp, limit: u32) -> Vec<IncidentId> {
        let due = self.deadlines.iter().take_while(|(deadline, _)| *deadline <= now);
        due.take(limit as usize).map(|(_, id)| *id).collect()
    }
}
