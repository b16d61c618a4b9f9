//! Tasks in memory: for agents whose work is pure, where a task lost with its process is asked for
//! again by its caller, and for simulated replicas, which share a database that outlives them. Holds
//! at most `CAPACITY` tasks, beside those at work, and of each task the newest `EVENTS` events: the
//! oldest that is finished or waits for its caller makes room.

mod deliveries;
mod replicas;
mod table;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_types::{
    Adopted, Delivery, Expiry, Inserted, NewTask, StoreFuture, TaskEvent, TaskPage,
    TaskPushNotificationConfig, TaskQuery, TaskRecord, TaskStore, TaskStoreError,
};
use jiff::Timestamp;

use table::Table;

const CAPACITY: usize = 2_000;
const EVENTS: usize = 1_000;

/// The clock of one replica.
type Time = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Tasks that several replicas share. Cheap to clone; nothing of it depends on chance.
#[derive(Clone, Debug, Default)]
pub struct MemoryTaskDatabase(Arc<Mutex<Table>>);

/// The tasks of one agent, as one replica sees them.
#[derive(Clone)]
pub struct MemoryTaskStore {
    table: Arc<Mutex<Table>>,
    replica: Arc<str>,
    lease: Option<Duration>,
    time: Time,
}

impl MemoryTaskDatabase {
    /// Opens it for a replica, which lives from now on for as long as its lease. One that opens it
    /// again is another process: it has nothing of what the former one had.
    pub fn open(&self, replica: &str, lease: Duration, time: Time) -> MemoryTaskStore {
        self.forget(replica);
        let key = self.0.lock().expect("no panic while held").new_key(replica);
        let store = MemoryTaskStore {
            table: self.0.clone(),
            replica: key.into(),
            lease: Some(lease),
            time,
        };
        store.beat();
        store
    }

    /// Ends the lease of a replica that is proven dead.
    pub fn forget(&self, replica: &str) {
        self.0.lock().expect("no panic while held").end_lease(replica);
    }
}

impl Default for MemoryTaskStore {
    /// Tasks that no other replica has.
    fn default() -> Self {
        let table = Arc::<Mutex<Table>>::default();
        table.lock().expect("not used yet").live("", Timestamp::MAX);
        let time = Arc::new(|| Timestamp::UNIX_EPOCH);
        Self { table, replica: "".into(), lease: None, time }
    }
}

impl MemoryTaskStore {
    fn beat(&self) {
        if let Some(lease) = self.lease {
            let until = (self.time)().saturating_add(lease).unwrap_or(Timestamp::MAX);
            self.table.lock().expect("no panic while held").live(&self.replica, until);
        }
    }

    /// Acts on the tasks, which no other call sees meanwhile.
    fn with<'a, T: Send + 'a>(
        &'a self,
        act: impl FnOnce(&mut Table) -> T + Send + 'a,
    ) -> StoreFuture<'a, T> {
        self.try_with(|table| Ok(act(table)))
    }

    fn try_with<'a, T: Send + 'a>(
        &'a self,
        act: impl FnOnce(&mut Table) -> Result<T, TaskStoreError> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move { act(&mut self.table.lock().expect("no panic while held")) })
    }

    fn now(&self) -> Timestamp {
        (self.time)()
    }
}

impl fmt::Debug for MemoryTaskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MemoryTaskStore");
        shown.field("replica", &self.replica).field("lease", &self.lease).finish_non_exhaustive()
    }
}

impl TaskStore for MemoryTaskStore {
    fn insert(&self, new: NewTask) -> StoreFuture<'_, Inserted> {
        self.with(|table| table.insert(new, &self.replica))
    }

    fn save(&self, record: TaskRecord, events: Vec<TaskEvent>) -> StoreFuture<'_, ()> {
        self.try_with(|table| table.save(record, events, &self.replica))
    }

    fn load(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>> {
        self.with(move |table| table.load(&id))
    }

    fn lease(&self) -> Option<Duration> {
        self.lease
    }

    fn heartbeat(&self) -> StoreFuture<'_, ()> {
        Box::pin(async {
            self.beat();
            Ok(())
        })
    }

    fn adopt(&self, limit: u32) -> StoreFuture<'_, Adopted> {
        let (replica, now) = (&self.replica, self.now());
        self.with(move |table| {
            let tasks = table.adopt(replica, now, limit as usize);
            Adopted { tasks, unreadable: Vec::new() }
        })
    }

    fn claim(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>> {
        let (replica, now) = (&self.replica, self.now());
        self.with(move |table| table.claim(&id, replica, now))
    }

    fn release(&self, id: String) -> StoreFuture<'_, ()> {
        self.with(move |table| table.release(&id, &self.replica))
    }

    fn held(&self, ids: Vec<String>) -> StoreFuture<'_, Vec<String>> {
        self.with(move |table| table.held(ids, &self.replica))
    }

    fn mine(&self) -> StoreFuture<'_, Vec<String>> {
        self.with(|table| table.mine(&self.replica))
    }

    fn progress(&self, seen: Vec<(String, u64)>) -> StoreFuture<'_, Vec<TaskRecord>> {
        self.with(move |table| table.progress(&seen))
    }

    fn ask_cancel(&self, id: String) -> StoreFuture<'_, ()> {
        self.with(move |table| table.ask_cancel(&id))
    }

    fn cancel_asked(&self) -> StoreFuture<'_, Vec<String>> {
        self.with(|table| table.cancel_asked(&self.replica))
    }

    fn list(&self, query: TaskQuery) -> StoreFuture<'_, TaskPage> {
        self.with(move |table| table.list(&query))
    }

    fn events(&self, id: String, sequence: u64, limit: u32) -> StoreFuture<'_, Vec<TaskEvent>> {
        self.with(move |table| table.events(&id, sequence, limit as usize))
    }

    fn put_push(&self, config: TaskPushNotificationConfig) -> StoreFuture<'_, ()> {
        self.with(move |table| table.put_push(config))
    }

    fn pushes(&self, task_id: String) -> StoreFuture<'_, Vec<TaskPushNotificationConfig>> {
        self.with(move |table| table.pushes(&task_id))
    }

    fn delete_push(&self, task_id: String, id: String) -> StoreFuture<'_, ()> {
        self.with(move |table| table.delete_push(&task_id, &id))
    }

    fn due_deliveries(
        &self,
        now: Timestamp,
        after: i64,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Delivery>> {
        let (replica, time) = (&self.replica, self.now());
        self.with(move |table| table.due_deliveries(replica, time, now, after, limit as usize))
    }

    fn next_delivery(&self) -> StoreFuture<'_, Option<Timestamp>> {
        let (replica, time) = (&self.replica, self.now());
        self.with(move |table| table.next_delivery(replica, time))
    }

    fn finish_delivery(&self, id: i64) -> StoreFuture<'_, ()> {
        self.with(move |table| table.finish_delivery(id))
    }

    fn delay_delivery(&self, id: i64, not_before: Timestamp) -> StoreFuture<'_, ()> {
        self.with(move |table| table.delay_delivery(id, not_before))
    }

    fn expire(&self, expiry: Expiry, limit: u32) -> StoreFuture<'_, u64> {
        self.with(move |table| table.expire(expiry, limit as usize))
    }
}
