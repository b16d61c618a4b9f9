//! Locks whose task is over. Nobody goes on with such a task, so its lock would close the target for
//! ever. It is given back where nothing was done under it; where something was, and nobody has said
//! how it ended, the target is left to a person.

use std::sync::Arc;
use std::time::Duration;

use incident::AttemptId;
use serde_json::json;
use store::{AttemptRow, LockedTarget, StoreError};

use crate::agent::Resolver;
use crate::journal;
use crate::resolution::step::End;

/// Pause between two looks at the locks.
const LOOK: Duration = Duration::from_secs(30);

impl Resolver {
    /// Looks at the locks now and then: a task may end without its run, as by a panic.
    pub(crate) async fn watch_locks(self: Arc<Self>) {
        loop {
            self.process.clock().sleep(LOOK).await;
            if let Err(error) = self.free_locks().await {
                tracing::warn!(error = format!("{error:#}"), "the locks could not be looked at");
            }
        }
    }

    /// Gives back the locks of tasks that are over, or that nobody knows any more.
    pub(crate) async fn free_locks(&self) -> anyhow::Result<()> {
        for lock in self.store.locked_targets().await? {
            let record = match self.tasks.load(lock.holder.clone()).await {
                Ok(record) => record,
                // One that cannot be read keeps its own lock only.
                Err(error) => {
                    let (target, task) = (&lock.target, &lock.holder);
                    tracing::error!(target.name = target, task.id = task, %error, "lock kept");
                    continue;
                }
            };
            let task = record.map(|record| record.task);
            if task.as_ref().is_some_and(|task| !task.status.state.is_terminal()) {
                continue;
            }
            let has_outcome = task.as_ref().and_then(journal::outcome_of).is_some();
            self.free(&lock, has_outcome).await?;
        }
        Ok(())
    }

    /// Gives back what a task holds whose run has failed for good.
    pub(crate) async fn abandon(&self, task_id: &str) -> Result<(), StoreError> {
        let locks = self.store.locked_targets().await?;
        for lock in locks.iter().filter(|lock| lock.holder == task_id) {
            self.free(lock, false).await?;
        }
        Ok(())
    }

    async fn free(&self, lock: &LockedTarget, has_outcome: bool) -> Result<(), StoreError> {
        let LockedTarget { target, holder, .. } = lock;
        let rows = match has_outcome {
            true => Vec::new(),
            false => self.store.attempts_of_task(holder.clone()).await?,
        };
        let why = format!("task {holder} is over and did not say how its changes ended");
        for row in rows.iter().filter(|row| row.outcome.is_none()) {
            self.leave_unknown(row.attempt.id, &why).await?;
        }
        if rows.iter().any(may_have_acted) {
            self.quarantine(target.clone(), why).await?;
        }
        tracing::warn!(target.name = target, task.id = holder, "the lock of an ended task is free");
        self.store.unlock_target(target.clone(), holder.clone()).await
    }

    /// Records that nobody knows how an attempt ended, unless somebody has recorded how.
    pub(crate) async fn leave_unknown(&self, id: AttemptId, why: &str) -> Result<(), StoreError> {
        let end = End::Unknown { error: why.to_owned() };
        let outcome = json!(end);
        match self.store.finish_attempt(id, outcome, self.process.now()).await {
            Ok(()) => self.metrics.count(&end),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Closes a target until a person releases it.
    pub(crate) async fn quarantine(&self, target: String, why: String) -> Result<(), StoreError> {
        tracing::warn!(target.name = target, "quarantined: {why}");
        self.store.quarantine_target(target, why).await?;
        self.metrics.quarantines.inc();
        Ok(())
    }
}

fn may_have_acted(row: &AttemptRow) -> bool {
    let end = row.outcome.clone().and_then(|outcome| serde_json::from_value::<End>(outcome).ok());
    !matches!(end, Some(End::Untouched { .. }))
}
