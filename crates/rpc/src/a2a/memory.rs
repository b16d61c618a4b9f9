//! Tasks in memory, for agents whose work is pure: a task lost with its process is asked for
//! again by its caller. Holds at most `CAPACITY` tasks and drops the oldest finished ones first.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use a2a_types::{Inserted, StoreFuture, TaskRecord, TaskStore};

const CAPACITY: usize = 2_000;

#[derive(Debug, Default)]
pub struct MemoryTaskStore {
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    by_id: HashMap<String, TaskRecord>,
    by_key: HashMap<String, String>,
    order: VecDeque<String>,
}

impl MemoryTaskStore {
    fn with<T>(&self, act: impl FnOnce(&mut Tasks) -> T) -> T {
        act(&mut self.tasks.lock().expect("no panic while tasks are held"))
    }
}

impl Tasks {
    fn insert(&mut self, record: TaskRecord) -> Inserted {
        if let Some(known) = record.idempotency_key.as_ref().and_then(|key| self.by_key.get(key)) {
            return Inserted::Existing(Box::new(self.by_id[known].clone()));
        }
        let id = record.task.id.clone();
        if let Some(key) = &record.idempotency_key {
            self.by_key.insert(key.clone(), id.clone());
        }
        self.by_id.insert(id.clone(), record);
        self.order.push_back(id);
        self.evict();
        Inserted::New
    }

    fn evict(&mut self) {
        while self.order.len() > CAPACITY {
            let oldest_finished = self.order.iter().position(|id| {
                self.by_id.get(id).is_none_or(|record| record.task.status.state.is_terminal())
            });
            let Some(id) = oldest_finished.and_then(|index| self.order.remove(index)) else {
                return;
            };
            let key = self.by_id.remove(&id).and_then(|record| record.idempotency_key);
            if let Some(key) = key {
                self.by_key.remove(&key);
            }
        }
    }
}

impl TaskStore for MemoryTaskStore {
    fn insert(&self, record: TaskRecord) -> StoreFuture<'_, Inserted> {
        Box::pin(async move { Ok(self.with(|tasks| tasks.insert(record))) })
    }

    fn save(&self, record: TaskRecord) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.with(|tasks| tasks.by_id.insert(record.task.id.clone(), record));
            Ok(())
        })
    }

    fn load(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>> {
        Box::pin(async move { Ok(self.with(|tasks| tasks.by_id.get(&id).cloned())) })
    }

    fn unfinished(&self) -> StoreFuture<'_, Vec<TaskRecord>> {
        Box::pin(async move { Ok(Vec::new()) })
    }
}
