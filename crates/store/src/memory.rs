//! The database in memory, for simulation: the same promises as on disk, no chance, no thread and
//! no clock but the one it is given. It outlives the simulated processes that use it.

mod alerts;
mod changes;
mod deliveries;
mod faults;
mod incidents;
mod journal;
mod leases;
mod outbox;
mod store;
mod tables;
mod targets;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use incident::IncidentId;

use crate::{OpenOptions, Store};

pub use faults::{Call, Fault, Faults};
pub use incidents::AuditText;

use journal::Journal;
use store::MemoryStore;
use tables::Tables;

/// A clone is the same database. Every agent has tables of its own in it.
#[derive(Clone, Debug, Default)]
pub struct MemoryDatabase(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    agents: BTreeMap<&'static str, Tables>,
    journal: Journal,
    faults: Faults,
}

impl MemoryDatabase {
    pub fn new() -> Self {
        Self::default()
    }

    /// One replica's view of an agent's tables. Its lease begins now; those of replicas that it
    /// knows to be dead end.
    pub fn open(&self, agent: &'static str, options: OpenOptions) -> Arc<dyn Store> {
        Arc::new(MemoryStore::open(self.clone(), agent, options))
    }

    /// Says which calls fail from now on; `Faults::default()`: none.
    pub fn set_faults(&self, faults: Faults) {
        self.contents().faults = faults;
    }

    /// Hash of every write so far, in order: two runs that did the same have the same.
    pub fn journal_hash(&self) -> String {
        self.contents().journal.hash()
    }

    /// Lets somebody change an incident's timeline behind the back of the store.
    pub fn tamper(
        &self,
        agent: &'static str,
        id: IncidentId,
        change: impl FnOnce(&mut BTreeMap<i64, AuditText>),
    ) {
        let mut contents = self.contents();
        let tables = contents.agents.entry(agent).or_default();
        if let Some(rows) = tables.incidents.audit_of(id) {
            change(rows);
        }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
