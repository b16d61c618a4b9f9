//! Decisions on one incident take turns within a process, so that few are made on history. Between
//! processes, and for the rare incident whose key its alerts do not have, the version decides.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use incident::IncidentKey;
use tokio::sync::{Mutex, MutexGuard};

/// More than incidents are decided on at a time, so that strangers seldom wait for one another.
const STRIPES: usize = 1024;

#[derive(Debug)]
pub(super) struct Turns(Vec<Mutex<()>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Mutex::default()).collect())
    }
}

impl Turns {
    pub(super) async fn of(&self, key: &IncidentKey) -> MutexGuard<'_, ()> {
        self.0[stripe(key)].lock().await
    }

    /// The turns of all keys, always taken in one order.
    pub(super) async fn of_all(&self, keys: &BTreeSet<IncidentKey>) -> Vec<MutexGuard<'_, ()>> {
        let stripes: BTreeSet<usize> = keys.iter().map(stripe).collect();
        let mut turns = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            turns.push(self.0[stripe].lock().await);
        }
        turns
    }
}

fn stripe(key: &IncidentKey) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish() as usize % STRIPES
}
