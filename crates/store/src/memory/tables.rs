//! The tables of one agent, and the writes that concern several of them.

use std::collections::BTreeMap;

use incident::{IncidentId, TicketRef};

use super::changes::Changes;
use super::incidents::Incidents;
use super::leases::{Caller, Leases};
use super::outbox::Outbox;
use super::targets::Targets;
use crate::{Batch, OutboxEnd, StoreError};

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) leases: Leases,
    pub(super) incidents: Incidents,
    pub(super) outbox: Outbox,
    pub(super) targets: Targets,
    pub(super) changes: Changes,
    pub(super) tickets: BTreeMap<IncidentId, TicketRef>,
}

impl Tables {
    /// Checks everything before it writes anything. Deliveries cannot be read back: they are in the
    /// journal only.
    pub(super) fn commit(&mut self, caller: Caller, batch: Batch) -> Result<(), StoreError> {
        self.incidents.check(&batch)?;
        self.outbox.check(caller, &batch.outbox)?;
        let has_effects = batch.incidents.iter().any(|write| !write.effects.is_empty());
        for mut write in batch.incidents {
            for effect in std::mem::take(&mut write.effects) {
                self.outbox.push(write.incident.id, &effect);
            }
            self.incidents.put(write);
        }
        for (alert, id) in batch.links {
            self.incidents.link(alert, id);
        }
        for end in batch.outbox {
            match end {
                OutboxEnd::Finished { id, last } => {
                    self.outbox.finish(&self.leases, caller, id, last);
                }
                OutboxEnd::Buried { id, error, at } => self.outbox.bury(id, error, at),
            }
        }
        if has_effects {
            self.leases.ring(caller);
        }
        Ok(())
    }
}
