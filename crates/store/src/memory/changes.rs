//! The changes that deployment-system makes, and the fences of their targets.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::leases::{Caller, LeaseId, Leases, lost};
use crate::{Change, ChangeRow, StoreError};

#[derive(Debug, Default)]
pub(super) struct Changes {
    rows: BTreeMap<String, Owned>,
    fences: BTreeMap<String, i64>,
}

#[derive(Debug)]
struct Owned {
    row: ChangeRow,
    owner: LeaseId,
}

impl Changes {
    pub(super) fn begin(
        &mut self,
        leases: &Leases,
        caller: Caller,
        change: Change,
        token: Option<i64>,
    ) -> Result<(), StoreError> {
        leases.check(caller)?;
        let seen = self.fences.get(&change.target).copied().unwrap_or(i64::MIN);
        if token.is_some_and(|token| token < seen) {
            return Err(StoreError::Fenced { target: change.target, seen });
        }
        if self.rows.values().any(|one| is_same(&one.row.change, &change)) {
            return Err(StoreError::Exists { what: "a change with this key or grant".into() });
        }
        if let Some(present) = self.unfinished(&change.target) {
            return Err(StoreError::Busy { target: change.target, by: present.change.id });
        }
        if let Some(token) = token {
            self.raise_fence(change.target.clone(), token);
        }
        let id = change.id.clone();
        let row = ChangeRow { change, executor: None, outcome: None, finished_at: None };
        self.rows.insert(id, Owned { row, owner: caller.lease });
        Ok(())
    }

    /// The caller's change that has no end yet.
    fn at_work(&mut self, caller: Caller, id: &str) -> Result<&mut ChangeRow, StoreError> {
        let owned = self.rows.get_mut(id).filter(|one| one.owner == caller.lease);
        let row = owned.map(|one| &mut one.row).filter(|row| row.outcome.is_none());
        row.ok_or_else(|| lost(format!("change {id}")))
    }

    pub(super) fn record_executor(
        &mut self,
        caller: Caller,
        id: &str,
        executor: Value,
    ) -> Result<(), StoreError> {
        self.at_work(caller, id)?.executor = Some(executor);
        Ok(())
    }

    pub(super) fn finish(
        &mut self,
        caller: Caller,
        id: &str,
        outcome: Value,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let row = self.at_work(caller, id)?;
        (row.outcome, row.finished_at) = (Some(outcome), Some(at));
        Ok(())
    }

    pub(super) fn adopt(
        &mut self,
        leases: &Leases,
        caller: Caller,
    ) -> Result<Vec<ChangeRow>, StoreError> {
        leases.check(caller)?;
        let mut adopted = Vec::new();
        for one in self.rows.values_mut() {
            if one.row.outcome.is_none() && !leases.is_claimed(Some(one.owner), caller.now) {
                one.owner = caller.lease;
                adopted.push(one.row.clone());
            }
        }
        adopted.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(adopted)
    }

    pub(super) fn claimed(&self, caller: Caller) -> Vec<ChangeRow> {
        let own = self.rows.values().filter(|one| one.owner == caller.lease);
        own.filter(|one| one.row.outcome.is_none()).map(|one| one.row.clone()).collect()
    }

    pub(super) fn unfinished(&self, target: &str) -> Option<ChangeRow> {
        self.find(|row| row.change.target == target && row.outcome.is_none())
    }

    pub(super) fn find(&self, fits: impl Fn(&ChangeRow) -> bool) -> Option<ChangeRow> {
        self.rows.values().map(|one| &one.row).find(|row| fits(row)).cloned()
    }

    /// Newest first.
    pub(super) fn newest(&self, target: Option<&str>, limit: u32) -> Vec<ChangeRow> {
        let fits = |row: &&ChangeRow| target.is_none_or(|target| row.change.target == target);
        let mut rows: Vec<&ChangeRow> =
            self.rows.values().map(|one| &one.row).filter(fits).collect();
        rows.sort_by(|a, b| order(b).cmp(&order(a)));
        rows.into_iter().take(limit as usize).cloned().collect()
    }

    pub(super) fn raise_fence(&mut self, target: String, token: i64) -> i64 {
        let seen = self.fences.entry(target).or_insert(token);
        *seen = token.max(*seen);
        *seen
    }
}

fn is_same(present: &Change, new: &Change) -> bool {
    present.id == new.id
        || present.idempotency_key == new.idempotency_key
        || (new.grant_id.is_some() && present.grant_id == new.grant_id)
}

fn order(row: &ChangeRow) -> (Timestamp, &str) {
    (row.change.started_at, &row.change.id)
}
