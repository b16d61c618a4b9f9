//! Attempts at steps, the locks of their targets, and a person's decisions.

use std::collections::BTreeMap;

use incident::AttemptId;
use jiff::Timestamp;
use serde_json::Value;

use super::leases::lost;
use crate::{Attempt, AttemptRow, LockedTarget, StoreError, TargetLock};

#[derive(Debug, Default)]
pub(super) struct Targets {
    attempts: BTreeMap<AttemptId, AttemptRow>,
    locks: BTreeMap<String, Lock>,
    approvals: BTreeMap<String, Approval>,
}

#[derive(Debug, Default)]
struct Lock {
    token: i64,
    /// The task, and when it took the lock.
    holder: Option<(String, Timestamp)>,
    quarantine: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Approval {
    pub(super) approved: bool,
    pub(super) by: String,
    pub(super) at: Timestamp,
}

impl Targets {
    pub(super) fn begin_attempt(&mut self, attempt: Attempt, token: i64) -> Result<(), StoreError> {
        let lock = self.locks.get(&attempt.target);
        if !lock.is_some_and(|lock| lock.holder.is_some() && lock.token == token) {
            return Err(lost(format!("the lock of {}", attempt.target)));
        }
        if self.attempts.contains_key(&attempt.id) {
            return Err(StoreError::Exists { what: format!("attempt {}", attempt.id) });
        }
        let row = AttemptRow { attempt, outcome: None, finished_at: None };
        self.attempts.insert(row.attempt.id, row);
        Ok(())
    }

    pub(super) fn finish_attempt(
        &mut self,
        id: AttemptId,
        outcome: Value,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        match self.attempts.get_mut(&id) {
            Some(row) if row.outcome.is_none() => {
                (row.outcome, row.finished_at) = (Some(outcome), Some(at));
                Ok(())
            }
            _ => Err(StoreError::Conflict { what: format!("attempt {id}") }),
        }
    }

    /// Attempts that fit, oldest first.
    pub(super) fn attempts(&self, fits: impl Fn(&Attempt) -> bool) -> Vec<AttemptRow> {
        let rows = self.attempts.values().filter(|row| fits(&row.attempt));
        let mut rows: Vec<AttemptRow> = rows.cloned().collect();
        rows.sort_by_key(|row| (row.attempt.started_at, row.attempt.id));
        rows
    }

    pub(super) fn lock(&mut self, target: String, holder: String, now: Timestamp) -> TargetLock {
        let lock = self.locks.entry(target).or_default();
        if let Some(reason) = &lock.quarantine {
            return TargetLock::Quarantined { reason: reason.clone() };
        }
        match &lock.holder {
            Some((present, _)) if *present != holder => {
                TargetLock::Busy { holder: present.clone() }
            }
            _ => {
                lock.token += 1;
                lock.holder = Some((holder, now));
                TargetLock::Held { token: lock.token }
            }
        }
    }

    pub(super) fn unlock(&mut self, target: &str, holder: &str) {
        if let Some(lock) = self.locks.get_mut(target) {
            lock.holder.take_if(|(present, _)| present == holder);
        }
    }

    pub(super) fn quarantine(&mut self, target: String, reason: String) {
        self.locks.entry(target).or_default().quarantine = Some(reason);
    }

    pub(super) fn release(&mut self, target: &str) -> bool {
        let quarantined = |lock: &&mut Lock| lock.quarantine.is_some();
        let Some(lock) = self.locks.get_mut(target).filter(quarantined) else { return false };
        (lock.quarantine, lock.holder) = (None, None);
        true
    }

    pub(super) fn locked(&self) -> Vec<LockedTarget> {
        let locked = self.locks.iter().filter_map(|(target, lock)| {
            let (holder, since) = lock.holder.clone()?;
            Some(LockedTarget { target: target.clone(), holder, since: Some(since) })
        });
        locked.collect()
    }

    pub(super) fn quarantined(&self) -> Vec<(String, String)> {
        let quarantined = self.locks.iter().filter_map(|(target, lock)| {
            lock.quarantine.as_ref().map(|reason| (target.clone(), reason.clone()))
        });
        quarantined.collect()
    }

    pub(super) fn approve(&mut self, plan: String, approval: Approval) -> Result<(), StoreError> {
        if let Some(Approval { approved, by, at }) = self.approvals.get(&plan) {
            let what = format!("a decision on this plan (approved: {approved}, {by}, {at})");
            return Err(StoreError::Exists { what });
        }
        self.approvals.insert(plan, approval);
        Ok(())
    }
}
