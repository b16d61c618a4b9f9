//! The tables of one agent, and the writes that concern several of them.

use std::collections::BTreeMap;

use incident::{IncidentId, IncidentKey, TicketRef};

use super::alerts::Alerts;
use super::changes::Changes;
use super::deliveries::Deliveries;
use super::incidents::Incidents;
use super::leases::{Caller, Leases};
use super::outbox::Outbox;
use super::targets::Targets;
use crate::{AlertKey, Batch, OutboxEnd, Related, Retention, StoreError};

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) leases: Leases,
    pub(super) incidents: Incidents,
    pub(super) alerts: Alerts,
    pub(super) deliveries: Deliveries,
    pub(super) outbox: Outbox,
    pub(super) targets: Targets,
    pub(super) changes: Changes,
    pub(super) tickets: BTreeMap<IncidentId, TicketRef>,
}

impl Tables {
    /// Checks everything before it writes anything.
    pub(super) fn commit(&mut self, caller: Caller, batch: Batch) -> Result<(), StoreError> {
        self.incidents.check(&batch)?;
        let is_new = |id| batch.incidents.iter().any(|write| write.incident.id == id);
        let is_known = |id| self.incidents.get(id).is_some() || is_new(id);
        self.alerts.check(&batch, is_known, |id| self.incidents.is_open(id))?;
        self.outbox.check(caller, &batch.outbox)?;
        let has_effects = batch.incidents.iter().any(|write| !write.effects.is_empty());
        for mut write in batch.incidents {
            for effect in std::mem::take(&mut write.effects) {
                self.outbox.push(write.incident.id, &effect);
            }
            self.incidents.put(write);
        }
        batch.repeats.iter().for_each(|repeat| self.alerts.count(repeat));
        batch.alerts.into_iter().for_each(|write| self.alerts.put(write));
        batch.delivered.into_iter().for_each(|one| self.deliveries.push(one));
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

    pub(super) fn related(&self, alerts: &[AlertKey], keys: &[IncidentKey]) -> Related {
        let known =
            alerts.iter().filter_map(|key| Some((key.clone(), self.alerts.get(key)?.clone())));
        let known: BTreeMap<_, _> = known.collect();
        let of_alerts = known.values().filter_map(|row| row.incident);
        let incidents = self.incidents.related(of_alerts, keys);
        Related { alerts: known, incidents, ..Related::default() }
    }

    pub(super) fn prune(&mut self, retention: Retention) -> u64 {
        let alerts = self.alerts.prune(retention.before, |id| self.incidents.is_open(id));
        (alerts + self.deliveries.prune(retention)) as u64
    }
}
