//! Push configurations and the notifications that wait for them. What one replica has in hand no
//! other one sends, for as long as it lives.

use std::collections::BTreeSet;
use std::sync::Arc;

use a2a_types::{Delivery, TaskEvent, TaskPushNotificationConfig};
use jiff::Timestamp;

use super::table::Table;

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) task_id: String,
    config_id: String,
    event: TaskEvent,
    attempt: u32,
    not_before: Timestamp,
    in_hand_of: Option<Arc<str>>,
}

impl Table {
    /// Adds a delivery of each event to each configuration of its task.
    pub(super) fn push(&mut self, task_id: &str, events: &[TaskEvent]) {
        let Some(kept) = self.by_id.get(task_id) else { return };
        for event in events {
            for config_id in kept.pushes.keys() {
                self.last_delivery += 1;
                let pending = Pending {
                    task_id: task_id.to_owned(),
                    config_id: config_id.clone(),
                    event: event.clone(),
                    attempt: 0,
                    not_before: Timestamp::MIN,
                    in_hand_of: None,
                };
                self.deliveries.insert(self.last_delivery, pending);
            }
        }
    }

    pub(super) fn put_push(&mut self, config: TaskPushNotificationConfig) {
        if let Some(kept) = self.by_id.get_mut(&config.task_id) {
            kept.pushes.insert(config.id.clone(), config);
        }
    }

    pub(super) fn pushes(&self, task_id: &str) -> Vec<TaskPushNotificationConfig> {
        let kept = self.by_id.get(task_id);
        kept.map(|kept| kept.pushes.values().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn delete_push(&mut self, task_id: &str, config_id: &str) {
        if let Some(kept) = self.by_id.get_mut(task_id) {
            kept.pushes.remove(config_id);
        }
        self.deliveries.retain(|_, p| p.task_id != task_id || p.config_id != config_id);
    }

    pub(super) fn due_deliveries(
        &mut self,
        replica: &Arc<str>,
        time: Timestamp,
        now: Timestamp,
        after: i64,
        limit: usize,
    ) -> Vec<Delivery> {
        let is_due = |(id, pending): &(i64, &Pending)| {
            let is_free = self.free_from(pending, replica, time) <= time;
            *id > after && pending.not_before <= now && is_free
        };
        let due = self.first_deliveries().into_iter().filter(is_due);
        let due = due.filter_map(|(id, pending)| {
            Some(Delivery {
                id,
                config: self.by_id.get(&pending.task_id)?.pushes.get(&pending.config_id)?.clone(),
                event: pending.event.clone(),
                attempt: pending.attempt,
            })
        });
        let due: Vec<Delivery> = due.take(limit).collect();
        for delivery in &due {
            if let Some(pending) = self.deliveries.get_mut(&delivery.id) {
                pending.in_hand_of = Some(replica.clone());
            }
        }
        due
    }

    pub(super) fn next_delivery(&self, replica: &Arc<str>, time: Timestamp) -> Option<Timestamp> {
        let first = self.first_deliveries();
        let times = first
            .iter()
            .map(|(_, pending)| pending.not_before.max(self.free_from(pending, replica, time)));
        times.min()
    }

    pub(super) fn finish_delivery(&mut self, id: i64) {
        self.deliveries.remove(&id);
    }

    pub(super) fn delay_delivery(&mut self, id: i64, not_before: Timestamp) {
        if let Some(pending) = self.deliveries.get_mut(&id) {
            pending.attempt += 1;
            pending.not_before = not_before;
            pending.in_hand_of = None;
        }
    }

    /// When no other replica has it in hand any more.
    fn free_from(&self, pending: &Pending, replica: &Arc<str>, time: Timestamp) -> Timestamp {
        let other = pending.in_hand_of.as_ref().filter(|holder| *holder != replica);
        let other = other.filter(|holder| self.lives(holder, time));
        other.and_then(|holder| self.replicas.get(holder).copied()).unwrap_or(Timestamp::MIN)
    }

    /// The first delivery of each configuration.
    fn first_deliveries(&self) -> Vec<(i64, &Pending)> {
        let mut begun = BTreeSet::new();
        let pending = self.deliveries.iter().map(|(id, pending)| (*id, pending));
        pending.filter(|(_, p)| begun.insert((&p.task_id, &p.config_id))).collect()
    }
}
