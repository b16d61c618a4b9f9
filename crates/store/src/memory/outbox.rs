//! Effects that wait, and those that were given up.

use std::collections::{BTreeMap, BTreeSet};

use incident::IncidentId;
use jiff::Timestamp;

use super::leases::{Caller, LeaseId, Leases, lost};
use crate::{DeadLetter, NewEffect, OutboxEnd, OutboxRow, StoreError};

#[derive(Debug, Default)]
pub(super) struct Outbox {
    rows: BTreeMap<i64, Waiting>,
    last: i64,
    dead: BTreeMap<i64, DeadLetter>,
    last_dead: i64,
}

#[derive(Debug)]
struct Waiting {
    row: OutboxRow,
    not_before: Timestamp,
    owner: Option<LeaseId>,
}

impl Waiting {
    fn is_of(&self, incident_id: IncidentId, kind: &str) -> bool {
        self.row.incident_id == incident_id && self.row.kind == kind
    }
}

/// What is to be claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) kind: &'static str,
    pub(super) now: Timestamp,
    pub(super) limit: u32,
    pub(super) one_each: bool,
}

impl Outbox {
    /// Whether every row that is to end is the caller's.
    pub(super) fn check(&self, caller: Caller, ends: &[OutboxEnd]) -> Result<(), StoreError> {
        let mut ended = BTreeSet::new();
        for end in ends {
            let (OutboxEnd::Finished { id, .. } | OutboxEnd::Buried { id, .. }) = end;
            if !self.is_of(caller, *id) || !ended.insert(*id) {
                return Err(lost(format!("outbox row {id}")));
            }
        }
        Ok(())
    }

    fn is_of(&self, caller: Caller, id: i64) -> bool {
        self.rows.get(&id).is_some_and(|waiting| waiting.owner == Some(caller.lease))
    }

    pub(super) fn push(&mut self, incident_id: IncidentId, effect: &NewEffect) {
        self.insert(incident_id, effect.kind.to_owned(), effect.round, effect.not_before);
    }

    fn insert(&mut self, incident_id: IncidentId, kind: String, round: u32, not_before: Timestamp) {
        self.last += 1;
        let id = self.last;
        let row = OutboxRow { id, incident_id, kind, round, attempt: 0, tries: 0, last: id };
        self.rows.insert(id, Waiting { row, not_before, owner: None });
    }

    /// Ends a row, and the unclaimed ones that it serves too.
    pub(super) fn finish(&mut self, leases: &Leases, caller: Caller, id: i64, last: i64) {
        let Some(Waiting { row, .. }) = self.rows.remove(&id) else { return };
        self.rows.retain(|other, one| {
            *other > last
                || !one.is_of(row.incident_id, &row.kind)
                || leases.is_claimed(one.owner, caller.now)
        });
    }

    pub(super) fn bury(&mut self, id: i64, error: String, died_at: Timestamp) {
        let Some(Waiting { row, .. }) = self.rows.remove(&id) else { return };
        self.last_dead += 1;
        let letter = DeadLetter {
            id: self.last_dead,
            incident_id: row.incident_id,
            kind: row.kind,
            round: row.round,
            attempt: row.attempt,
            error,
            died_at,
        };
        self.dead.insert(letter.id, letter);
    }

    pub(super) fn claim(
        &mut self,
        leases: &Leases,
        caller: Caller,
        wanted: Wanted,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        leases.check(caller)?;
        let is_claimed = |one: &Waiting| leases.is_claimed(one.owner, caller.now);
        let of_kind = |one: &&Waiting| one.row.kind == wanted.kind;
        let mut taken: BTreeSet<IncidentId> = BTreeSet::new();
        if wanted.one_each {
            let claimed = self.rows.values().filter(of_kind).filter(|one| is_claimed(one));
            taken.extend(claimed.map(|one| one.row.incident_id));
        }
        let due = self.rows.values().filter(of_kind).filter(|one| one.not_before <= wanted.now);
        let free = due
            .filter(|one| !is_claimed(one))
            .filter(|one| !wanted.one_each || taken.insert(one.row.incident_id));
        let rows: Vec<OutboxRow> =
            free.take(wanted.limit as usize).map(|one| one.row.clone()).collect();
        Ok(rows.into_iter().map(|row| self.take(row, caller)).collect())
    }

    fn take(&mut self, mut row: OutboxRow, caller: Caller) -> OutboxRow {
        self.set_owner(row.id, Some(caller.lease));
        let mut newest = self.rows.iter().rev();
        if let Some((id, _)) = newest.find(|(_, one)| one.is_of(row.incident_id, &row.kind)) {
            row.last = *id;
        }
        row
    }

    fn set_owner(&mut self, id: i64, owner: Option<LeaseId>) {
        if let Some(waiting) = self.rows.get_mut(&id) {
            waiting.owner = owner;
        }
    }

    pub(super) fn delay(
        &mut self,
        caller: Caller,
        id: i64,
        counts: bool,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        match self.rows.get_mut(&id).filter(|waiting| waiting.owner == Some(caller.lease)) {
            Some(waiting) => {
                waiting.row.attempt += u32::from(counts);
                waiting.row.tries += 1;
                waiting.not_before = not_before;
                waiting.owner = None;
                Ok(())
            }
            None => Err(lost(format!("outbox row {id}"))),
        }
    }

    pub(super) fn release(&mut self, caller: Caller, ids: &[i64]) {
        for id in ids {
            if self.is_of(caller, *id) {
                self.set_owner(*id, None);
            }
        }
    }

    pub(super) fn claimed(&self, caller: Caller, kind: &str) -> Vec<i64> {
        let own = self.rows.iter().filter(|(_, one)| one.owner == Some(caller.lease));
        own.filter(|(_, one)| one.row.kind == kind).map(|(id, _)| *id).collect()
    }

    pub(super) fn next(
        &self,
        leases: &Leases,
        caller: Caller,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let free = self.rows.values().filter(|one| !leases.is_claimed(one.owner, caller.now));
        free.map(|one| one.not_before).filter(|due| *due > now).min()
    }

    pub(super) fn dead_letters(&self, limit: u32, before: Option<i64>) -> Vec<DeadLetter> {
        let newest = self.dead.range(..before.unwrap_or(i64::MAX)).rev();
        newest.take(limit as usize).map(|(_, letter)| letter.clone()).collect()
    }

    pub(super) fn replay(&mut self, id: i64, now: Timestamp) -> Option<DeadLetter> {
        let letter = self.dead.remove(&id)?;
        self.insert(letter.incident_id, letter.kind.clone(), letter.round, now);
        Some(letter)
    }
}
