//! Group commit: whoever writes waits in one queue, and one transaction takes what waits. There is no
//! linger, so a lone write waits for nobody. A write that cannot be done is answered and the others
//! are written without it: never half of one, and never one that was answered otherwise. A file takes
//! one transaction at a time; on a server, a few groups are at work beside one another.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{OwnedRwLockReadGuard, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::groups::{Group, Groups, Waiting};
use super::outbox::Claims;
use super::owner::{Me, Owner};
use super::write::{self, Answer, Write};
use super::{batch, whole};
use crate::database::{Database, Transaction};
use crate::trouble::copies;
use crate::{Batch, OutboxEnd, StoreError};

/// Writes that wait. Further callers wait for a place.
const QUEUE: usize = 1_024;
/// Groups that a server is given at a time; the other connections are for reads.
const AT_WORK: usize = 3;
/// How long one transaction may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// How often a transaction is taken up again that another one ended.
const COLLISIONS: usize = 5;

/// The queue of one database. Its task ends when the committer is closed or dropped.
#[derive(Debug)]
pub(super) struct Committer {
    queue: Mutex<Option<mpsc::Sender<Waiting>>>,
    tasks: TaskTracker,
}

/// What a transaction needs to know.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) database: Database,
    pub(super) owner: Arc<Owner>,
    pub(super) claims: Arc<Claims>,
    /// Held while a transaction runs, so that no other process takes the file in its midst.
    pub(super) lock: Option<Weak<File>>,
}

impl Committer {
    pub(super) fn start(writer: Writer) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let tasks = TaskTracker::new();
        tasks.spawn(writer.run(waiting));
        tasks.close();
        Self { queue: Mutex::new(Some(queue)), tasks }
    }

    /// Ends when the write is committed, or is not.
    pub(super) async fn write(
        &self,
        write: Write,
        turns: Vec<OwnedRwLockReadGuard<()>>,
    ) -> Result<Answer, StoreError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let queue = queue.ok_or(StoreError::Closed)?;
        let (caller, answer) = oneshot::channel();
        let waiting = Waiting::new(write, turns, caller);
        queue.send(waiting).await.map_err(|_| StoreError::Closed)?;
        drop(queue);
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Takes no more writes, and waits until those that wait are answered.
    pub(super) async fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.tasks.wait().await;
    }
}

/// Why a group was not committed: writes that cannot be, by their place, or something else.
enum Failure {
    Of(Vec<(usize, StoreError)>),
    All(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::All(error)
    }
}

impl Writer {
    async fn run(self, mut queue: mpsc::Receiver<Waiting>) {
        let mut groups = Groups::new(match &self.database {
            Database::Sqlite { .. } => 1,
            Database::Postgres { .. } => AT_WORK,
        });
        let (mut at_work, mut is_open) = (FuturesUnordered::new(), true);
        let commit = async |group: Group| -> Vec<u64> {
            // A group that makes this program panic is not answered, and the others go on.
            let _ = AssertUnwindSafe(self.commit(group.writes)).catch_unwind().await;
            group.held
        };
        loop {
            while let Some(group) = groups.take() {
                at_work.push(commit(group));
            }
            if at_work.is_empty() && !is_open {
                return;
            }
            let takes_more = is_open && groups.has_room();
            let (waiting, room) = groups.room();
            tokio::select! {
                Some(held) = at_work.next() => groups.end(&held),
                count = queue.recv_many(waiting, room), if takes_more => is_open = count > 0,
            }
        }
    }

    /// Commits a group and answers each of it.
    async fn commit(&self, mut group: Vec<Waiting>) {
        let mut collisions = 0;
        while !group.is_empty() {
            match self.attempt(&group).await {
                Ok(answers) => {
                    for (one, answer) in group.drain(..).zip(answers) {
                        self.claims.settle(&one.write);
                        one.answer(Ok(answer));
                    }
                }
                Err(Failure::Of(failed)) => {
                    // From the end, so that places stay what they are.
                    for (place, error) in failed.into_iter().rev() {
                        group.remove(place).answer(Err(error));
                    }
                }
                Err(Failure::All(error)) if error.is_collision() && collisions < COLLISIONS => {
                    collisions += 1;
                }
                Err(Failure::All(error)) if error.is_of_one_write() && group.len() > 1 => {
                    for one in group.drain(..) {
                        Box::pin(self.commit(vec![one])).await;
                    }
                }
                Err(Failure::All(error)) => fail(group.drain(..), error),
            }
        }
    }

    async fn attempt(&self, group: &[Waiting]) -> Result<Vec<Answer>, Failure> {
        let written = tokio::time::timeout(DEADLINE, self.write_group(group)).await;
        let late = || Failure::All(StoreError::Unavailable(sqlx::Error::PoolTimedOut));
        written.unwrap_or_else(|_| Err(late()))
    }

    async fn write_group(&self, group: &[Waiting]) -> Result<Vec<Answer>, Failure> {
        let _lock = match &self.lock {
            Some(lock) => Some(lock.upgrade().ok_or(StoreError::Closed)?),
            None => None,
        };
        let batches: Option<Vec<&Batch>> = group.iter().map(Waiting::batch).collect();
        if let Some(batches) = batches {
            let key = self.owner.key();
            let me = Me { key: &key, claimed: &[], has_others: self.owner.has_others() };
            if whole::write(&self.database, me, &batches).await? {
                return Ok(group.iter().map(|_| Answer::Done).collect());
            }
        }
        let mut transaction = self.database.begin().await?;
        match self.write_all(&mut transaction, group).await {
            Ok(answers) => {
                transaction.commit().await?;
                Ok(answers)
            }
            Err(failure) => {
                transaction.rollback().await;
                Err(failure)
            }
        }
    }

    /// Batches first, all at once, then the others in the order in which they came.
    async fn write_all(
        &self,
        transaction: &mut Transaction,
        group: &[Waiting],
    ) -> Result<Vec<Answer>, Failure> {
        let (key, claimed) = (self.owner.key(), self.claims.all());
        let me = Me { key: &key, claimed: &claimed, has_others: self.owner.has_others() };
        let (mut batches, mut places) = (Vec::new(), Vec::new());
        for (place, one) in group.iter().enumerate() {
            if let Write::Batch(batch) = &one.write {
                batches.push(batch);
                places.push(place);
            }
        }
        if !batches.is_empty() {
            let failed = batch::write_all(transaction, me, &batches).await?;
            if !failed.is_empty() {
                let failed = failed.into_iter().map(|(batch, error)| (places[batch], error));
                return Err(Failure::Of(failed.collect()));
            }
        }
        let mut answers = Vec::with_capacity(group.len());
        for (place, one) in group.iter().enumerate() {
            answers.push(match &one.write {
                Write::Batch(_) => Answer::Done,
                write => match write::apply(transaction, me, write).await {
                    Err(StoreError::Unavailable(error)) => {
                        return Err(Failure::All(StoreError::Unavailable(error)));
                    }
                    Err(error) => return Err(Failure::Of(vec![(place, error)])),
                    Ok(answer) => answer,
                },
            });
        }
        Ok(answers)
    }
}

/// Gives all of them the same error.
fn fail(group: impl Iterator<Item = Waiting>, error: StoreError) {
    match error {
        StoreError::Unavailable(error) => {
            let copy = copies(error);
            group.for_each(|one| one.answer(Err(StoreError::Unavailable(copy()))));
        }
        StoreError::Closed => group.for_each(|one| one.answer(Err(StoreError::Closed))),
        error => {
            let mut error = Some(error);
            for one in group {
                one.answer(Err(error.take().unwrap_or(StoreError::Closed)));
            }
        }
    }
}

impl Claims {
    /// What was written is not claimed any more.
    fn settle(&self, write: &Write) {
        match write {
            Write::Batch(batch) => {
                self.end(&batch.outbox.iter().map(OutboxEnd::id).collect::<Vec<_>>());
            }
            Write::Delay { id, .. } => self.end(&[*id]),
            _ => {}
        }
    }
}
