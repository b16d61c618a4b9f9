//! Claims rows as there is room for them, one loop for each kind of work. Kinds have rooms of their
//! own, so that resolutions that wait for a person, or a tracker that hangs, hold up nothing else.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use store::{OutboxRow, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Performer, RECOVERY};
use crate::circuit::Pass;
use crate::engine::Work;

/// Rows claimed at a time.
const CLAIM: usize = 64;

/// The room for each kind, and the rows in it.
#[derive(Debug)]
pub(super) struct Places {
    of: [Arc<Semaphore>; Work::ALL.len()],
    held: Mutex<Held>,
    /// Kinds of which this replica may have rows in the database that it does not hold here.
    doubtful: [AtomicBool; Work::ALL.len()],
}

/// Rows that this replica claimed and has not ended.
#[derive(Debug, Default)]
struct Held {
    rows: BTreeMap<i64, (Work, u64)>,
    /// A row may be claimed again while the end of its last try is still being noted.
    holds: u64,
}

/// Effects of a kind performed at a time.
fn capacity(work: Work) -> usize {
    match work {
        Work::CancelResolution => 32,
        Work::Diagnose => 64,
        Work::Resolve => 256,
        Work::SyncTicket => 16,
    }
}

impl Default for Places {
    fn default() -> Self {
        Self {
            of: Work::ALL.map(|work| Arc::new(Semaphore::new(capacity(work)))),
            held: Mutex::default(),
            doubtful: Default::default(),
        }
    }
}

impl Places {
    /// Returns what this hold is let go of by.
    fn hold(&self, row: i64, work: Work) -> u64 {
        let mut held = self.held();
        held.holds += 1;
        let hold = held.holds;
        held.rows.insert(row, (work, hold));
        hold
    }

    fn let_go(&self, row: i64, hold: u64) {
        self.held().rows.extract_if(row..=row, |_, (_, of)| *of == hold).for_each(drop);
    }

    /// The rows of one kind, which are held no more.
    fn take(&self, work: Work) -> Vec<i64> {
        self.held().rows.extract_if(.., |_, (of, _)| *of == work).map(|(row, _)| row).collect()
    }

    pub(super) fn take_all(&self) -> Vec<i64> {
        std::mem::take(&mut self.held().rows).into_keys().collect()
    }

    fn is_held(&self, row: i64) -> bool {
        self.held().rows.contains_key(&row)
    }

    /// The database did not answer: what it was asked for may have been done, or not.
    pub(super) fn doubt(&self, work: Work) {
        self.doubtful[work as usize].store(true, Ordering::SeqCst);
    }

    /// One free place at least, once there is one.
    async fn free(&self, work: Work, most: usize) -> Vec<OwnedSemaphorePermit> {
        let room = &self.of[work as usize];
        let first = room.clone().acquire_owned().await.expect("rooms are never closed");
        let mut places = vec![first];
        while places.len() < most {
            let Ok(place) = room.clone().try_acquire_owned() else { break };
            places.push(place);
        }
        places
    }

    /// Waits until nothing of a kind is performed any more.
    async fn is_empty(&self, work: Work) {
        let all = u32::try_from(capacity(work)).expect("rooms are small");
        let _all = self.of[work as usize].acquire_many(all).await;
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no panic while rows are held")
    }
}

impl Performer {
    /// Claims and starts rows of one kind until shutdown, then gives back what it has.
    pub(super) async fn claim(self: Arc<Self>, work: Work) {
        let shutdown = self.engine.process.shutdown_token();
        while !shutdown.is_cancelled() {
            let pause = match self.claim_some(work).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(work = work.name(), ?error, "outbox");
                    Some(RECOVERY)
                }
            };
            let resting = self.rest(work, pause);
            let _ = shutdown.run_until_cancelled(resting).await;
        }
        self.places.is_empty(work).await;
        self.give_back(work).await;
    }

    /// Starts what there is room for. Returns how long nothing can be started if no bell rings, or
    /// `None` when only a bell is waited for.
    async fn claim_some(self: &Arc<Self>, work: Work) -> Result<Option<Duration>, StoreError> {
        let clock = self.engine.process.clock();
        let most = match self.peer(work).circuit.pass(clock.instant()) {
            Pass::Any => CLAIM,
            Pass::Probe => 1,
            Pass::Shut(wait) => return Ok(Some(wait)),
        };
        let shutdown = self.engine.process.shutdown_token();
        let free = self.places.free(work, most);
        let Some(places) = shutdown.run_until_cancelled(free).await else { return Ok(None) };
        self.free_unheld(work).await?;
        let limit = u32::try_from(places.len()).expect("rooms are small");
        let one_each = work == Work::SyncTicket;
        let now = self.engine.outbox_now();
        // Not given up at shutdown: what it claims has to be known.
        let rows = self.engine.store.claim_outbox(work.name(), now, limit, one_each).await;
        let rows = rows.inspect_err(|_| self.places.doubt(work))?;
        if most == 1 && !rows.is_empty() {
            self.peer(work).circuit.probed(clock.instant());
        }
        let is_more = rows.len() == places.len();
        for (row, place) in rows.into_iter().zip(places) {
            let hold = self.places.hold(row.id, work);
            failpoints::hit(failpoints::AFTER_CLAIM);
            self.begin(row, work, hold, place);
        }
        Ok(is_more.then_some(Duration::ZERO))
    }

    /// Gives back what this replica has without knowing: the answer to a claim was lost, or a row was
    /// not given back. Nobody else would take it for as long as this replica lives. Only the loop of a
    /// kind claims rows of it, so what is not held here is performed by nobody.
    async fn free_unheld(&self, work: Work) -> Result<(), StoreError> {
        if !self.places.doubtful[work as usize].swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        let freed = async {
            let mut rows = self.engine.store.claimed_outbox(work.name()).await?;
            rows.retain(|row| !self.places.is_held(*row));
            match rows.is_empty() {
                true => Ok(()),
                false => self.engine.store.release_outbox(rows).await,
            }
        };
        freed.await.inspect_err(|_| self.places.doubt(work))
    }

    async fn rest(&self, work: Work, pause: Option<Duration>) {
        let clock = self.engine.process.clock();
        match pause {
            Some(Duration::ZERO) => {}
            Some(pause) => tokio::select! {
                () = clock.sleep(pause) => {}
                () = self.engine.wake.rung(work) => {}
            },
            None => self.engine.wake.rung(work).await,
        }
    }

    fn begin(self: &Arc<Self>, row: OutboxRow, work: Work, hold: u64, place: OwnedSemaphorePermit) {
        let (performer, lease) = (self.clone(), self.lease());
        let shutdown = self.engine.process.shutdown_token();
        self.engine.process.spawn(async move {
            let performing = AssertUnwindSafe(Box::pin(performer.perform(&row, work)));
            tokio::select! {
                ended = performing.catch_unwind() => {
                    if ended.is_err() {
                        performer.panicked(&row, work).await;
                    }
                    performer.places.let_go(row.id, hold);
                }
                // It is another's by now, or nobody's yet.
                () = lease.cancelled() => {}
                () = shutdown.cancelled() => {}
            }
            drop(place);
            if work == Work::SyncTicket {
                // Another row of this incident may have waited for this one.
                performer.engine.wake.ring(work);
            }
        });
    }

    async fn give_back(&self, work: Work) {
        let held = self.places.take(work);
        if held.is_empty() {
            return;
        }
        if let Err(error) = self.engine.store.release_outbox(held).await {
            self.places.doubt(work);
            tracing::warn!(
                ?error,
                "rows were not given back; they are free when the lease is over"
            );
        }
    }
}
