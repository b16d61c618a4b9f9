//! Which replicas live, and the names they claimed. What a replica owns is owned by its lease: a
//! lease that is gone owns nothing that others may not take.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::{Claim, Replica, StoreError};

/// A lease is never given twice; 0 is none.
pub(super) type LeaseId = u64;

/// Who calls, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// 0 where it has run out.
    pub(super) lease: LeaseId,
    pub(super) now: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    leases: BTreeMap<LeaseId, Lease>,
    last: LeaseId,
    names: BTreeMap<String, LeaseId>,
}

#[derive(Debug)]
struct Lease {
    replica: Replica,
    ends_at: Timestamp,
    bell: Arc<Notify>,
}

impl Leases {
    pub(super) fn begin(
        &mut self,
        replica: Replica,
        now: Timestamp,
        length: Duration,
        bell: Arc<Notify>,
    ) -> LeaseId {
        self.leases.retain(|_, lease| now < lease.ends_at);
        self.last += 1;
        self.leases.insert(self.last, Lease { replica, ends_at: end(now, length), bell });
        self.last
    }

    pub(super) fn caller(&self, lease: LeaseId, now: Timestamp) -> Caller {
        Caller { lease: if self.is_alive(lease, now) { lease } else { 0 }, now }
    }

    /// False: the lease had run out before.
    pub(super) fn renew(&mut self, caller: Caller, length: Duration) -> bool {
        let lease = self.leases.get_mut(&caller.lease);
        lease.map(|lease| lease.ends_at = end(caller.now, length)).is_some()
    }

    pub(super) fn end(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
    }

    /// Ends the leases of replicas that are proven dead.
    pub(super) fn end_dead(&mut self, is_dead: &dyn Fn(&Replica) -> bool) {
        self.leases.retain(|_, lease| !is_dead(&lease.replica));
    }

    fn is_alive(&self, lease: LeaseId, now: Timestamp) -> bool {
        self.leases.get(&lease).is_some_and(|lease| now < lease.ends_at)
    }

    /// Whether something with this owner is claimed, by the caller or by another.
    pub(super) fn is_claimed(&self, owner: Option<LeaseId>, now: Timestamp) -> bool {
        owner.is_some_and(|owner| self.is_alive(owner, now))
    }

    /// A replica without a lease may claim nothing.
    pub(super) fn check(&self, caller: Caller) -> Result<(), StoreError> {
        if caller.lease == 0 { Err(lost("the lease")) } else { Ok(()) }
    }

    pub(super) fn claim(&mut self, caller: Caller, name: String) -> Result<Claim, StoreError> {
        self.check(caller)?;
        let owner = self.names.get(&name).copied();
        if owner != Some(caller.lease) && self.is_claimed(owner, caller.now) {
            return Ok(Claim::Busy);
        }
        self.names.insert(name, caller.lease);
        Ok(Claim::Held)
    }

    pub(super) fn unclaim(&mut self, caller: Caller, name: &str) {
        if self.names.get(name) == Some(&caller.lease) {
            self.names.remove(name);
        }
    }

    /// Tells every other replica that there may be something to do.
    pub(super) fn ring(&self, caller: Caller) {
        for (_, lease) in self.leases.iter().filter(|(id, _)| **id != caller.lease) {
            lease.bell.notify_one();
        }
    }
}

pub(super) fn lost(what: impl Into<String>) -> StoreError {
    StoreError::Lost { what: what.into() }
}

fn end(now: Timestamp, length: Duration) -> Timestamp {
    now.checked_add(length).unwrap_or(Timestamp::MAX)
}
