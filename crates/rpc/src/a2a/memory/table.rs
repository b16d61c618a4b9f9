//! The tasks themselves, with their events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use a2a_types::{
    Expiry, Inserted, NewTask, PAGE_BYTES, TaskCursor, TaskEvent, TaskOwner, TaskPage,
    TaskPushNotificationConfig, TaskQuery, TaskRecord, TaskStoreError,
};
use jiff::Timestamp;

use super::deliveries::Pending;
use super::{CAPACITY, EVENTS};

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) by_id: BTreeMap<String, Kept>,
    by_key: BTreeMap<(TaskOwner, String), String>,
    /// Ids as the tasks were made.
    pub(super) order: VecDeque<String>,
    pub(super) openings: u64,
    /// Until when each replica lives.
    pub(super) replicas: BTreeMap<Arc<str>, Timestamp>,
    pub(super) deliveries: BTreeMap<i64, Pending>,
    pub(super) last_delivery: i64,
}

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) record: TaskRecord,
    pub(super) replica: Option<Arc<str>>,
    pub(super) cancel_asked: bool,
    events: VecDeque<TaskEvent>,
    pub(super) pushes: BTreeMap<String, TaskPushNotificationConfig>,
}

impl Table {
    pub(super) fn insert(&mut self, new: NewTask, replica: &Arc<str>) -> Inserted {
        let NewTask { record, push } = new;
        let key = key_of(&record);
        if let Some(known) = key.as_ref().and_then(|key| self.by_key.get(key)) {
            return Inserted::Existing(Box::new(self.by_id[known].record.clone()));
        }
        let id = record.task.id.clone();
        if let Some(key) = key {
            self.by_key.insert(key, id.clone());
        }
        let kept = Kept {
            replica: (!record.task.status.state.is_settled()).then(|| replica.clone()),
            cancel_asked: false,
            events: VecDeque::new(),
            pushes: push.into_iter().map(|config| (config.id.clone(), config)).collect(),
            record,
        };
        self.by_id.insert(id.clone(), kept);
        self.order.push_back(id);
        self.evict();
        Inserted::New
    }

    pub(super) fn save(
        &mut self,
        record: TaskRecord,
        events: Vec<TaskEvent>,
        replica: &Arc<str>,
    ) -> Result<(), TaskStoreError> {
        let id = record.task.id.clone();
        let Some(kept) = self.by_id.get_mut(&id) else { return Ok(()) };
        let before = record.sequence.saturating_sub(events.len() as u64);
        if kept.record.sequence != before || !kept.is_writable_by(replica) {
            return Err(TaskStoreError::Lost { id });
        }
        kept.replica = (!record.task.status.state.is_settled()).then(|| replica.clone());
        kept.record = record;
        kept.events.extend(events.iter().cloned());
        kept.events.drain(..kept.events.len().saturating_sub(EVENTS));
        self.push(&id, &events);
        Ok(())
    }

    pub(super) fn load(&self, id: &str) -> Option<TaskRecord> {
        self.by_id.get(id).map(|kept| kept.record.clone())
    }

    pub(super) fn events(&self, id: &str, sequence: u64, limit: usize) -> Vec<TaskEvent> {
        let events = self.by_id.get(id).map(|kept| kept.events.iter());
        let later = events.into_iter().flatten().filter(|event| event.sequence > sequence);
        later.take(limit).cloned().collect()
    }

    pub(super) fn list(&self, query: &TaskQuery) -> TaskPage {
        let mut found: Vec<(TaskCursor, &TaskRecord)> = (self.by_id.values())
            .map(|kept| (cursor_of(&kept.record), &kept.record))
            .filter(|(at, record)| matches(query, at, record))
            .collect();
        found.sort_by_key(|(at, _)| Reverse((at.updated_at, at.id.clone())));
        let total = found.len() as u64;
        if let Some(after) = &query.after {
            let after = (after.updated_at, &after.id);
            found.retain(|(at, _)| (at.updated_at, &at.id) < after);
        }
        let mut left = PAGE_BYTES;
        let fits = |(_, record): &&(TaskCursor, &TaskRecord)| {
            let size = serde_json::to_vec(&record.task).map_or(0, |json| json.len());
            left.checked_sub(size).map(|rest| left = rest).is_some()
        };
        let limit = found.iter().take(query.limit as usize).take_while(fits).count().max(1);
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| has_more).map(|(at, _)| at.clone());
        let tasks = found.into_iter().map(|(_, record)| {
            let mut task = record.task.clone();
            if !query.with_artifacts {
                task.artifacts.clear();
            }
            task
        });
        TaskPage { tasks: tasks.collect(), next, total }
    }

    pub(super) fn expire(&mut self, expiry: Expiry, limit: usize) -> u64 {
        let mut gone = self.settled_before(expiry.ended_before, limit, |kept| {
            kept.record.task.status.state.is_terminal()
        });
        gone.extend(self.settled_before(expiry.waiting_before, limit, |kept| {
            kept.record.task.status.state.is_interrupted() && kept.replica.is_none()
        }));
        for id in &gone {
            self.remove(id);
        }
        self.order.retain(|id| self.by_id.contains_key(id));
        gone.len() as u64
    }

    fn settled_before(
        &self,
        before: Timestamp,
        limit: usize,
        is_meant: impl Fn(&Kept) -> bool,
    ) -> Vec<String> {
        let is_old = |kept: &&Kept| {
            kept.record.task.status.timestamp.is_some_and(|at| at < before) && is_meant(kept)
        };
        let ids = self.by_id.values().filter(is_old).map(|kept| kept.record.task.id.clone());
        let is_delivered =
            |id: &String| self.deliveries.values().all(|pending| pending.task_id != *id);
        ids.filter(is_delivered).take(limit).collect()
    }

    fn evict(&mut self) {
        while self.order.len() > CAPACITY {
            let mut order = self.order.iter();
            let oldest_idle =
                order.position(|id| self.by_id[id].record.task.status.state.is_settled());
            let Some(id) = oldest_idle.and_then(|index| self.order.remove(index)) else { return };
            self.remove(&id);
        }
    }

    fn remove(&mut self, id: &str) {
        if let Some(key) = self.by_id.remove(id).and_then(|kept| key_of(&kept.record)) {
            self.by_key.remove(&key);
        }
        self.deliveries.retain(|_, pending| pending.task_id != id);
    }
}

impl Kept {
    /// A task that waits for its caller is for whoever writes first.
    fn is_writable_by(&self, replica: &Arc<str>) -> bool {
        match &self.replica {
            Some(holder) => holder == replica,
            None => self.record.task.status.state.is_interrupted(),
        }
    }
}

fn key_of(record: &TaskRecord) -> Option<(TaskOwner, String)> {
    record.idempotency_key.clone().map(|key| (record.owner.clone(), key))
}

fn cursor_of(record: &TaskRecord) -> TaskCursor {
    TaskCursor {
        updated_at: record.task.status.timestamp.unwrap_or_default(),
        id: record.task.id.clone(),
    }
}

fn matches(query: &TaskQuery, at: &TaskCursor, record: &TaskRecord) -> bool {
    record.owner == query.owner
        && query.context_id.as_ref().is_none_or(|id| *id == record.task.context_id)
        && query.state.as_ref().is_none_or(|state| *state == record.task.status.state)
        && query.since.is_none_or(|since| at.updated_at >= since)
}
