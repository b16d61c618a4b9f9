//! Tasks in memory, for agents whose work is pure: a task lost with its process is asked for
//! again by its caller. Holds at most `CAPACITY` tasks, beside those at work, and of each task the
//! newest `EVENTS` events: the oldest that is finished or waits for its caller makes room.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Mutex;

use a2a_types::{
    Delivery, Inserted, NewTask, PAGE_BYTES, StoreFuture, TaskCursor, TaskEvent, TaskOwner,
    TaskPage, TaskPushNotificationConfig, TaskQuery, TaskRecord, TaskStore,
};
use jiff::Timestamp;

const CAPACITY: usize = 2_000;
const EVENTS: usize = 1_000;

#[derive(Debug, Default)]
pub struct MemoryTaskStore {
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    by_id: HashMap<String, Kept>,
    by_key: HashMap<(TaskOwner, String), String>,
    order: VecDeque<String>,
    deliveries: BTreeMap<i64, Pending>,
    last_delivery: i64,
}

#[derive(Debug)]
struct Kept {
    record: TaskRecord,
    events: VecDeque<TaskEvent>,
    pushes: BTreeMap<String, TaskPushNotificationConfig>,
}

#[derive(Debug)]
struct Pending {
    task_id: String,
    config_id: String,
    event: TaskEvent,
    attempt: u32,
    not_before: Timestamp,
}

impl MemoryTaskStore {
    /// Acts on the tasks, which no other call sees meanwhile.
    fn with<'a, T: Send + 'a>(
        &'a self,
        act: impl FnOnce(&mut Tasks) -> T + Send + 'a,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move { Ok(act(&mut self.tasks.lock().expect("no panic while held"))) })
    }
}

impl Tasks {
    fn insert(&mut self, new: NewTask) -> Inserted {
        let NewTask { record, push } = new;
        let key = key_of(&record);
        if let Some(known) = key.as_ref().and_then(|key| self.by_key.get(key)) {
            return Inserted::Existing(Box::new(self.by_id[known].record.clone()));
        }
        let id = record.task.id.clone();
        if let Some(key) = key {
            self.by_key.insert(key, id.clone());
        }
        let pushes = push.into_iter().map(|config| (config.id.clone(), config)).collect();
        self.by_id.insert(id.clone(), Kept { record, events: VecDeque::new(), pushes });
        self.order.push_back(id);
        self.evict();
        Inserted::New
    }

    fn save(&mut self, record: TaskRecord, events: Vec<TaskEvent>) {
        let task_id = record.task.id.clone();
        let Some(kept) = self.by_id.get_mut(&task_id) else { return };
        kept.record = record;
        for event in events {
            for config_id in kept.pushes.keys() {
                self.last_delivery += 1;
                let pending = Pending {
                    task_id: task_id.clone(),
                    config_id: config_id.clone(),
                    event: event.clone(),
                    attempt: 0,
                    not_before: Timestamp::MIN,
                };
                self.deliveries.insert(self.last_delivery, pending);
            }
            kept.events.push_back(event);
        }
        kept.events.drain(..kept.events.len().saturating_sub(EVENTS));
    }

    fn list(&self, query: &TaskQuery) -> TaskPage {
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

    /// The first delivery of each configuration.
    fn first_deliveries(&self) -> Vec<(i64, &Pending)> {
        let mut begun = HashSet::new();
        let pending = self.deliveries.iter().map(|(id, pending)| (*id, pending));
        pending.filter(|(_, p)| begun.insert((&p.task_id, &p.config_id))).collect()
    }

    fn due_deliveries(&self, now: Timestamp, after: i64, limit: usize) -> Vec<Delivery> {
        let due = self
            .first_deliveries()
            .into_iter()
            .filter(|(id, p)| *id > after && p.not_before <= now);
        due.filter_map(|(id, pending)| {
            Some(Delivery {
                id,
                config: self.by_id.get(&pending.task_id)?.pushes.get(&pending.config_id)?.clone(),
                event: pending.event.clone(),
                attempt: pending.attempt,
            })
        })
        .take(limit)
        .collect()
    }

    fn delete_push(&mut self, task_id: &str, config_id: &str) {
        if let Some(kept) = self.by_id.get_mut(task_id) {
            kept.pushes.remove(config_id);
        }
        self.deliveries.retain(|_, p| p.task_id != task_id || p.config_id != config_id);
    }

    fn expire(&mut self, before: Timestamp, limit: usize) -> u64 {
        let ended = self.by_id.values().filter(|kept| {
            let status = &kept.record.task.status;
            status.state.is_terminal() && status.timestamp.is_some_and(|at| at < before)
        });
        let ids: Vec<String> = ended
            .map(|kept| kept.record.task.id.clone())
            .filter(|id| self.deliveries.values().all(|pending| pending.task_id != *id))
            .take(limit)
            .collect();
        for id in &ids {
            self.remove(id);
        }
        self.order.retain(|id| self.by_id.contains_key(id));
        ids.len() as u64
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

impl TaskStore for MemoryTaskStore {
    fn insert(&self, new: NewTask) -> StoreFuture<'_, Inserted> {
        self.with(|tasks| tasks.insert(new))
    }

    fn save(&self, record: TaskRecord, events: Vec<TaskEvent>) -> StoreFuture<'_, ()> {
        self.with(|tasks| tasks.save(record, events))
    }

    fn load(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>> {
        self.with(move |tasks| tasks.by_id.get(&id).map(|kept| kept.record.clone()))
    }

    fn unfinished(&self) -> StoreFuture<'_, Vec<TaskRecord>> {
        self.with(|tasks| {
            let records = tasks.order.iter().filter_map(|id| Some(&tasks.by_id.get(id)?.record));
            records.filter(|record| !record.task.status.state.is_settled()).cloned().collect()
        })
    }

    fn list(&self, query: TaskQuery) -> StoreFuture<'_, TaskPage> {
        self.with(move |tasks| tasks.list(&query))
    }

    fn events(&self, id: String, sequence: u64, limit: u32) -> StoreFuture<'_, Vec<TaskEvent>> {
        self.with(move |tasks| {
            let events = tasks.by_id.get(&id).map(|kept| kept.events.iter());
            let later = events.into_iter().flatten().filter(|event| event.sequence > sequence);
            later.take(limit as usize).cloned().collect()
        })
    }

    fn put_push(&self, config: TaskPushNotificationConfig) -> StoreFuture<'_, ()> {
        self.with(move |tasks| {
            if let Some(kept) = tasks.by_id.get_mut(&config.task_id) {
                kept.pushes.insert(config.id.clone(), config);
            }
        })
    }

    fn pushes(&self, task_id: String) -> StoreFuture<'_, Vec<TaskPushNotificationConfig>> {
        self.with(move |tasks| {
            let kept = tasks.by_id.get(&task_id);
            kept.map(|kept| kept.pushes.values().cloned().collect()).unwrap_or_default()
        })
    }

    fn delete_push(&self, task_id: String, id: String) -> StoreFuture<'_, ()> {
        self.with(move |tasks| tasks.delete_push(&task_id, &id))
    }

    fn due_deliveries(
        &self,
        now: Timestamp,
        after: i64,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Delivery>> {
        self.with(move |tasks| tasks.due_deliveries(now, after, limit as usize))
    }

    fn next_delivery(&self) -> StoreFuture<'_, Option<Timestamp>> {
        self.with(|tasks| {
            tasks.first_deliveries().iter().map(|(_, pending)| pending.not_before).min()
        })
    }

    fn finish_delivery(&self, id: i64) -> StoreFuture<'_, ()> {
        self.with(move |tasks| {
            tasks.deliveries.remove(&id);
        })
    }

    fn delay_delivery(&self, id: i64, not_before: Timestamp) -> StoreFuture<'_, ()> {
        self.with(move |tasks| {
            if let Some(pending) = tasks.deliveries.get_mut(&id) {
                pending.attempt += 1;
                pending.not_before = not_before;
            }
        })
    }

    fn expire(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64> {
        self.with(move |tasks| tasks.expire(before, limit as usize))
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
