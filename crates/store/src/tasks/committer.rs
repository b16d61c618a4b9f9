//! Group commit: whoever writes a task waits in one queue, and one transaction takes what waits.
//! There is no linger, so a lone write waits for nobody. A batch holds one write of a task at
//! most: the writes of one task are committed in the order in which they came.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use a2a_types::{Inserted, TaskRecord, TaskStoreError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::row::Write;
use crate::StoreError;

/// Writes that wait for the committer. Further callers wait for a place.
const QUEUE: usize = 1_024;
/// Writes in one transaction.
const BATCH: usize = 256;
/// Bytes of bodies in one transaction; a single write may have more.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// What became of a write.
#[derive(Debug)]
pub(super) enum Written {
    Done,
    /// The key of an insert is that of this task.
    Existing(Box<TaskRecord>),
    /// The task to save is another replica's; nothing of the write is stored.
    Lost,
}

/// A database that takes many writes in one transaction.
pub(super) trait Backend: Send + Sync + 'static {
    /// Commits all of them, or none. The answers stand in the order of the writes.
    fn commit(
        &self,
        batch: &[Write],
    ) -> impl Future<Output = Result<Vec<Written>, StoreError>> + Send;
}

/// The queue of one database. Its task ends when the committer is closed or dropped.
#[derive(Debug)]
pub(crate) struct Committer {
    queue: Mutex<Option<mpsc::Sender<Waiting>>>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Waiting {
    write: Write,
    caller: oneshot::Sender<Result<Written, TaskStoreError>>,
}

impl Committer {
    pub(super) fn start(backend: impl Backend) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let tasks = TaskTracker::new();
        tasks.spawn(run(backend, waiting));
        tasks.close();
        Self { queue: Mutex::new(Some(queue)), tasks }
    }

    pub(super) async fn insert(&self, write: Write) -> Result<Inserted, TaskStoreError> {
        Ok(match self.write(write).await? {
            Written::Existing(known) => Inserted::Existing(known),
            Written::Done | Written::Lost => Inserted::New,
        })
    }

    pub(super) async fn save(&self, write: Write) -> Result<(), TaskStoreError> {
        let id = write.task_id().to_owned();
        match self.write(write).await? {
            Written::Lost => Err(TaskStoreError::Lost { id }),
            Written::Done | Written::Existing(_) => Ok(()),
        }
    }

    /// Ends when the write is committed, or is not.
    async fn write(&self, write: Write) -> Result<Written, TaskStoreError> {
        let closed = || TaskStoreError::from(StoreError::Closed);
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (caller, answer) = oneshot::channel();
        let queue = queue.ok_or_else(closed)?;
        queue.send(Waiting { write, caller }).await.map_err(|_| closed())?;
        drop(queue);
        answer.await.map_err(|_| closed())?
    }

    /// Takes no more writes, and waits until those that wait are answered.
    pub(crate) async fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.tasks.wait().await;
    }
}

async fn run(backend: impl Backend, mut queue: mpsc::Receiver<Waiting>) {
    let mut waiting = Vec::new();
    loop {
        if waiting.is_empty() && queue.recv_many(&mut waiting, BATCH).await == 0 {
            return;
        }
        let (writes, callers) = take_batch(&mut waiting);
        for (caller, answer) in callers.into_iter().zip(commit(&backend, &writes).await) {
            // A caller that went away needs no answer.
            let _ = caller.send(answer);
        }
    }
}

type Callers = Vec<oneshot::Sender<Result<Written, TaskStoreError>>>;

/// Takes the first write of each task, up to the size of a batch; the others stay, in order.
fn take_batch(waiting: &mut Vec<Waiting>) -> (Vec<Write>, Callers) {
    let mut seen = HashSet::new();
    let mut bytes = 0;
    let (batch, later): (Vec<Waiting>, _) = waiting.drain(..).partition(|one| {
        let has_room = bytes == 0 || bytes + one.write.bytes() <= BATCH_BYTES;
        let is_taken = seen.insert(one.write.task_id().to_owned()) && has_room;
        bytes += if is_taken { one.write.bytes() } else { 0 };
        is_taken
    });
    *waiting = later;
    batch.into_iter().map(|one| (one.write, one.caller)).unzip()
}

/// Commits a batch; where one write spoils it for all, each has a transaction of its own.
async fn commit(backend: &impl Backend, writes: &[Write]) -> Vec<Result<Written, TaskStoreError>> {
    failpoints::hit(failpoints::BEFORE_COMMIT);
    let error = match backend.commit(writes).await {
        Ok(written) => return written.into_iter().map(Ok).collect(),
        Err(error) => error,
    };
    if writes.len() == 1 || !error.is_of_one_write() {
        let error = TaskStoreError::from(error);
        return writes.iter().map(|_| Err(error.clone())).collect();
    }
    let mut answers = Vec::with_capacity(writes.len());
    for write in writes.chunks(1) {
        let written = backend.commit(write).await;
        let only = written.map(|mut one| one.pop().unwrap_or(Written::Done));
        answers.push(only.map_err(TaskStoreError::from));
    }
    answers
}
