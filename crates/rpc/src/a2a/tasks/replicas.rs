//! Several replicas of one agent over one store. Each says that it lives, takes tasks that nobody
//! has, and shows its callers the tasks that another has by reading what that one stores. A replica
//! that was silent for too long finds that its tasks are gone, and stops what it does about them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use a2a_types::{TaskRecord, TaskStoreError};
use tokio::time::MissedTickBehavior;

use super::Tasks;
use super::live::{Live, Tenure};
use crate::a2a::backoff::{STORE_PAUSE, backoff};

/// Signs of life in the time of one lease.
const BEATS: u32 = 4;
/// How often the tasks of other replicas are looked at.
const LOOK: Duration = Duration::from_millis(150);
/// Tasks that are taken at once.
const PAGE: usize = 64;
/// The pause after all tasks that nobody has were taken.
const REST: Duration = Duration::from_secs(1);
/// The same where no other replica can leave one behind.
const LONG_REST: Duration = Duration::from_secs(60);
/// The pause while as many tasks are at work as may be.
const BUSY: Duration = Duration::from_millis(50);

/// One look for tasks that nobody has.
#[derive(Debug)]
pub(super) struct Adoption {
    pub(super) count: usize,
    /// When to look again.
    rest: Duration,
}

/// Keeps the lease of this replica for as long as it works on tasks.
pub(super) async fn keep_lease(tasks: Tasks) {
    let Some(lease) = tasks.0.store.lease() else { return };
    let mut ticks = tokio::time::interval((lease / BEATS).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut drained = std::pin::pin!(tasks.drained());
    let mut failures = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = &mut drained => return,
        }
        failures = tasks.noted(tasks.beat().await, failures, "the lease is not renewed");
    }
}

/// Brings what other replicas store to those who wait for it here.
pub(super) async fn follow(tasks: Tasks) {
    if !tasks.is_shared() {
        return;
    }
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let shutdown = tasks.0.host.shutdown().clone();
    let mut failures = 0;
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        failures = tasks.noted(tasks.look().await, failures, "other replicas are not seen");
    }
}

/// Takes up tasks that nobody has, until shutdown.
pub(super) async fn adopt(tasks: Tasks) {
    let shutdown = tasks.0.host.shutdown().clone();
    let mut failures = 0;
    while !shutdown.is_cancelled() {
        // Not given up half way: what was taken must be worked on, or given back.
        let taken = tasks.adopt().await;
        let rest = match &taken {
            Ok(adoption) => adoption.rest,
            Err(_) => backoff(failures, STORE_PAUSE),
        };
        failures = tasks.noted(taken, failures, "no tasks are taken up");
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tasks.0.adoption.notified() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

impl Tasks {
    /// Says that this replica lives, and finds out what it lost while it could not.
    async fn beat(&self) -> Result<(), TaskStoreError> {
        self.0.store.heartbeat().await?;
        self.wake_sender();
        let at_work: Vec<_> = (self.0.live.all().into_iter())
            .filter(|live| live.is_at_work_here())
            .filter_map(|live| Some((live.tenure()?, live.record().sequence, live)))
            .collect();
        if at_work.is_empty() {
            return Ok(());
        }
        let ids = at_work.iter().map(|(_, _, live)| live.id.clone()).collect();
        let held: HashSet<String> = self.0.store.held(ids).await?.into_iter().collect();
        for (tenure, sequence, live) in at_work {
            if !held.contains(&live.id) && live.lose(&tenure, sequence).await {
                tracing::warn!(task.id = %live.id, "another replica has taken the task");
            }
        }
        Ok(())
    }

    async fn look(&self) -> Result<(), TaskStoreError> {
        let is_followed = |live: &Arc<Live>| {
            !live.is_at_work_here() && !live.record().task.status.state.is_terminal()
        };
        let (followed, at_work): (Vec<_>, Vec<_>) =
            self.0.live.all().into_iter().partition(is_followed);
        if !followed.is_empty() {
            let seen = followed.iter().map(|live| (live.id.clone(), live.record().sequence));
            for record in self.0.store.progress(seen.collect()).await? {
                if let Some(live) = followed.iter().find(|live| live.id == record.task.id) {
                    live.refresh(record).await;
                }
            }
        }
        if !at_work.is_empty() {
            for id in self.0.store.cancel_asked().await? {
                let live = at_work.iter().find(|live| live.id == id);
                if let Some(tenure) = live.and_then(|live| live.tenure()) {
                    tenure.cancelled.cancel();
                }
            }
        }
        Ok(())
    }

    /// Takes a page of tasks that nobody has, as far as there is room for them.
    pub(super) async fn adopt(&self) -> Result<Adoption, TaskStoreError> {
        self.resolve_doubts().await?;
        let most = self.0.options.live_tasks.div_ceil(2);
        let limit = most.saturating_sub(self.0.live.len()).min(PAGE);
        if limit == 0 {
            return Ok(Adoption { count: 0, rest: BUSY });
        }
        let adopted = self.in_doubt(self.0.store.adopt(limit as u32).await)?;
        for unreadable in &adopted.unreadable {
            let (task, why) = (&unreadable.id, &unreadable.why);
            tracing::error!(task.id = %task, why, "a stored task cannot be read and is left alone");
        }
        let is_last = adopted.tasks.len() + adopted.unreadable.len() < limit;
        let count = adopted.tasks.len();
        for record in adopted.tasks {
            let _reviving = self.0.reviving(&record.task.id).await;
            self.take_up_stored(record).await;
        }
        let rest = match (is_last, self.is_shared()) {
            (false, _) => Duration::ZERO,
            (true, true) => REST,
            (true, false) => LONG_REST,
        };
        Ok(Adoption { count, rest })
    }

    /// Goes on with tasks that this replica has without working on them.
    async fn resolve_doubts(&self) -> Result<(), TaskStoreError> {
        if !self.0.is_in_doubt.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        for id in self.in_doubt(self.0.store.mine().await)? {
            let _reviving = self.0.reviving(&id).await;
            if self.0.live.get(&id).is_some_and(|live| live.tenure().is_some()) {
                continue;
            }
            let Some(record) = self.in_doubt(self.0.store.claim(id.clone()).await)? else {
                continue;
            };
            match record.task.status.state.is_interrupted() {
                true => self.in_doubt(self.0.store.release(id).await)?,
                false => self.take_up_stored(record).await,
            }
        }
        Ok(())
    }

    async fn take_up_stored(&self, record: TaskRecord) {
        let live = self.0.live.get(&record.task.id);
        // Whether somebody is to be notified is not known; to wake the sender in vain does no harm.
        let live = live.unwrap_or_else(|| self.enliven(record.clone(), true));
        self.take_up(&live, record).await;
    }

    /// Works on a task that this replica has taken, if it does not already. The caller holds the
    /// lock under which tasks are made live.
    pub(super) async fn take_up(&self, live: &Arc<Live>, record: TaskRecord) {
        let message = record.message.clone();
        live.refresh(record).await;
        if !live.record().task.status.state.is_settled()
            && let Some(tenure) = live.begin_tenure(self.0.host.shutdown())
        {
            self.start(live.clone(), tenure, message, true);
        }
    }

    /// Makes a task that waits for its caller this replica's. `None`: it does not wait any more. The
    /// caller holds the lock under which tasks are made live.
    pub(super) async fn claim_waiting(
        &self,
        live: &Arc<Live>,
    ) -> Result<Option<Arc<Tenure>>, TaskStoreError> {
        if live.is_at_work_here() {
            return Ok(None);
        }
        let Some(record) = self.in_doubt(self.0.store.claim(live.id.clone()).await)? else {
            if let Some(record) = self.0.store.load(live.id.clone()).await? {
                live.refresh(record).await;
            }
            return Ok(None);
        };
        if !record.task.status.state.is_interrupted() {
            self.take_up(live, record).await;
            return Ok(None);
        }
        live.refresh(record).await;
        let begun = live.begin_tenure(self.0.host.shutdown());
        Ok(begun.or_else(|| live.tenure()))
    }

    /// After a run: a task that was left in the middle is given back, so that another replica takes
    /// it at once; what became of one that was lost shows when the doubts are resolved.
    pub(super) async fn let_go(&self, live: &Arc<Live>, tenure: &Arc<Tenure>) {
        if !tenure.stopped.is_cancelled() {
            return;
        }
        let _reviving = self.0.reviving(&live.id).await;
        let is_left = live.is_under(tenure) && live.is_at_work_here();
        live.end_tenure(tenure);
        if !is_left {
            self.doubt();
        } else if let Err(error) = self.in_doubt(self.0.store.release(live.id.clone()).await) {
            tracing::warn!(task.id = %live.id, %error, "the task is not given back");
        }
    }

    /// Where the store did not answer, a write of it may be committed all the same.
    pub(super) fn in_doubt<T>(
        &self,
        answer: Result<T, TaskStoreError>,
    ) -> Result<T, TaskStoreError> {
        if answer.is_err() {
            self.doubt();
        }
        answer
    }

    fn doubt(&self) {
        self.0.is_in_doubt.store(true, Ordering::SeqCst);
        self.0.adoption.notify_one();
    }

    /// Waits for shutdown, then for the end of every run.
    async fn drained(&self) {
        self.0.host.shutdown().cancelled().await;
        while self.0.live.all().iter().any(|live| live.is_at_work_here()) {
            tokio::time::sleep(BUSY).await;
        }
    }

    /// Logs the first of several failures; returns how many there are now.
    fn noted<T>(&self, outcome: Result<T, TaskStoreError>, failures: u32, what: &str) -> u32 {
        match outcome {
            Ok(_) => 0,
            Err(error) => {
                if failures == 0 {
                    tracing::error!(%error, "{what}");
                }
                failures + 1
            }
        }
    }
}
