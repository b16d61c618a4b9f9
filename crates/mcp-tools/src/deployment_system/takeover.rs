//! Changes whose process is gone: each is owned by this one first, then whatever carried it out is
//! ended and proven to be, and only then is its end recorded. What cannot be proven keeps its target
//! closed until it can, or until a person says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use a2a_types::mcp::deployment::{Change, ChangeState};
use store::{ChangeRow, StoreError};

use super::action::{Action, Asked, parse};
use super::change::Deployer;
use super::executor::{Effect, read_record};
use super::group;
use super::record::{differences, read_change, split};
use super::run::{ExecutorKind, ExecutorRecord, RunDirectory};

/// Between looks, while something is held that has no end yet.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Time for an executor to end by SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
/// How often a change is looked for that may not have been begun.
const LOOKS: u8 = 5;

/// What this process has to bring to an end.
#[derive(Debug, Default)]
pub(super) struct Held {
    rows: BTreeMap<String, HeldChange>,
    /// Changes that may have no end and nobody to see to it, with the looks left.
    doubtful: BTreeMap<String, u8>,
    /// Changes that this process carries out.
    at_work: BTreeSet<String>,
    /// The answer to a takeover was lost: what it took is not known.
    is_in_doubt: bool,
}

/// A change that this process carries out.
pub(super) struct AtWork<'a> {
    deployer: &'a Deployer,
    id: String,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.deployer.held().at_work.remove(&self.id);
    }
}

#[derive(Clone, Debug)]
struct HeldChange {
    row: ChangeRow,
    /// Its target was closed here for a person to look at.
    is_closed: bool,
}

/// What became of the executor of a change.
enum Proof {
    /// It never ran.
    NeverActed,
    /// It has ended, and nothing more comes of it.
    Ended,
    /// Why that cannot be told.
    None(String),
}

impl Deployer {
    /// Brings changes to their end whose process is gone, for as long as this one lives.
    pub(super) async fn take_over_always(self: Arc<Self>, interval: Duration) {
        loop {
            let pause = match self.is_holding() {
                true => LOOK_AGAIN.min(interval),
                false => interval,
            };
            let _ = tokio::time::timeout(pause, self.bell.notified()).await;
            self.take_over().await;
        }
    }

    /// A change that this process began, or may have begun, may have nobody who brings it to its end.
    pub(super) fn doubt(&self, id: String) {
        self.held().doubtful.insert(id, LOOKS);
        self.bell.notify_one();
    }

    pub(super) async fn take_over(&self) {
        if let Err(error) = self.adopt().await {
            tracing::warn!(%error, "changes of other processes cannot be seen");
        }
        self.look_for_doubtful().await;
        let rows: Vec<HeldChange> = self.held().rows.values().cloned().collect();
        for held in rows {
            let id = held.row.change.id.clone();
            if let Err(error) = self.settle(held).await {
                tracing::warn!(change.id = id, %error, "taken over, and has no end yet");
            }
        }
        if let Err(error) = self.reopen().await {
            tracing::warn!(%error, "closed targets cannot be seen");
        }
    }

    /// Owns what nobody does. What this process carries out itself is its own again, where it had
    /// given no sign of life for too long.
    pub(super) async fn adopt(&self) -> Result<(), StoreError> {
        let is_in_doubt = std::mem::replace(&mut self.held().is_in_doubt, true);
        let mut rows = self.store.adopt_changes().await?;
        if is_in_doubt {
            rows.extend(self.store.claimed_changes().await?);
        }
        let mut held = self.held();
        held.is_in_doubt = false;
        rows.retain(|row| {
            let id = &row.change.id;
            !held.at_work.contains(id) && !held.rows.contains_key(id)
        });
        drop(held);
        rows.into_iter().for_each(|row| self.hold(row));
        Ok(())
    }

    /// Says that this process carries a change out, until what is returned is dropped.
    pub(super) fn at_work(&self, id: &str) -> AtWork<'_> {
        self.held().at_work.insert(id.to_owned());
        AtWork { deployer: self, id: id.to_owned() }
    }

    fn hold(&self, row: ChangeRow) {
        let id = row.change.id.clone();
        self.held().rows.entry(id).or_insert_with(|| {
            tracing::warn!(change.id = row.change.id, target = row.change.target, "taken over");
            HeldChange { row, is_closed: false }
        });
    }

    async fn look_for_doubtful(&self) {
        let ids: Vec<String> = self.held().doubtful.keys().cloned().collect();
        for id in ids {
            let Ok(row) = self.store.change(id.clone()).await else { continue };
            let mut held = self.held();
            let left = held.doubtful.get(&id).copied().unwrap_or_default();
            match row {
                None if left > 1 => {
                    held.doubtful.insert(id, left - 1);
                }
                row => {
                    held.doubtful.remove(&id);
                    drop(held);
                    row.filter(|row| row.outcome.is_none())
                        .into_iter()
                        .for_each(|row| self.hold(row));
                }
            }
        }
    }

    /// Ends one held change, or closes its target.
    async fn settle(&self, held: HeldChange) -> Result<(), StoreError> {
        let HeldChange { row, is_closed } = held;
        let target = row.change.target.clone();
        let change = match prove(&row).await {
            Proof::NeverActed => never_acted(&row, self.process.now()),
            Proof::Ended => self.interrupted(&row, INTERRUPTED).await,
            Proof::None(why) if is_closed => match self.reason(&target).await? {
                Some(_) => return Ok(()),
                None => {
                    tracing::warn!(change.id = row.change.id, target, "released by a person");
                    self.interrupted(&row, &format!("{RELEASED}: {why}")).await
                }
            },
            Proof::None(why) => return self.close(&row, &why).await,
        };
        match self.record_end(&row.change.id, &change).await {
            Ok(()) => {
                tracing::info!(
                    change.id = row.change.id, target, state = ?change.state, "ended for its process"
                );
                if let Some(directory) = self.directory(&row) {
                    directory.clear();
                }
                if is_closed {
                    self.store.release_target(target).await?;
                }
            }
            // Another has it by now.
            Err(StoreError::Lost { .. }) => {}
            Err(error) => return Err(error),
        }
        self.held().rows.remove(&row.change.id);
        Ok(())
    }

    async fn close(&self, row: &ChangeRow, why: &str) -> Result<(), StoreError> {
        let (id, target) = (&row.change.id, &row.change.target);
        tracing::error!(
            change.id = id,
            target,
            "its executor is not proven to have ended ({why}): target closed"
        );
        let reason = format!("{id} has no end, and its executor may still act: {why}");
        self.store.quarantine_target(target.clone(), reason).await?;
        if let Some(held) = self.held().rows.get_mut(id) {
            held.is_closed = true;
        }
        Ok(())
    }

    /// A closed target none of whose changes lacks an end is open: its process ended in between.
    async fn reopen(&self) -> Result<(), StoreError> {
        for (target, _) in self.store.quarantined_targets().await? {
            if self.store.unfinished_change(target.clone()).await?.is_none() {
                self.store.release_target(target).await?;
            }
        }
        Ok(())
    }

    /// Completes the record of a change whose executor goes no further: done, where the target itself
    /// shows it; otherwise nobody knows how far it came, but it can be undone.
    async fn interrupted(&self, row: &ChangeRow, why: &str) -> Change {
        let mut change = read_change(row);
        let recorded = match self.directory(row) {
            Some(directory) => read_record(directory.path()),
            None => Effect::default(),
        };
        change.before = recorded.before.unwrap_or(change.before);
        change.after = recorded.after.unwrap_or(change.after);
        if let Some(playbook) = row.change.request["playbook"].as_str() {
            let undo = self.playbooks.undo(&change.target, playbook, &change.before);
            (change.inverse, change.no_inverse) = split(undo);
        }
        change.error = Some(why.to_owned());
        self.probe(row, &mut change).await;
        change.diff = differences(&change.before, &change.after);
        change.finished_at = Some(self.process.now());
        change
    }

    /// Looks at the target, where what an action sets can be seen there.
    async fn probe(&self, row: &ChangeRow, change: &mut Change) {
        let Some(target) = self.targets.get(&change.target) else { return };
        let parameters = row.change.request["parameters"].as_object().cloned().unwrap_or_default();
        let action = match parse(&row.change.action, &parameters) {
            Ok(Asked::Action(Action::RunPlaybook(_)) | Asked::Rollback(_)) | Err(_) => return,
            Ok(Asked::Action(action)) => action,
        };
        let Ok(now) = target.executor.observe(&action).await else { return };
        if target.executor.shows(&action, &change.before, &now) {
            change.state = ChangeState::Done;
            change.output = "it was interrupted, and is found done".to_owned();
            change.error = None;
        }
        change.after = now;
    }

    fn directory(&self, row: &ChangeRow) -> Option<RunDirectory> {
        let record = row.executor.clone().and_then(executor_of);
        let path = record.map_or_else(|| self.runs().join(&row.change.id), |it| it.directory);
        RunDirectory::of_ended(&path)
    }

    /// Clears directories that earlier processes left, once nothing of their run goes on.
    pub(super) async fn sweep(&self) -> anyhow::Result<()> {
        for run in std::fs::read_dir(self.runs())? {
            let path = run?.path();
            if let Some(id) = path.file_name().and_then(|name| name.to_str()) {
                self.sweep_run(id, &path).await?;
            }
        }
        Ok(())
    }

    async fn sweep_run(&self, id: &str, path: &Path) -> anyhow::Result<()> {
        let Some(directory) = RunDirectory::of_ended(path) else { return Ok(()) };
        let row = self.store.change(id.to_owned()).await?;
        if row.is_none_or(|row| row.outcome.is_some()) {
            // Of a dry run, the executor may go on.
            for left in group::end_all(None, id, GRACE).await? {
                tracing::warn!(run = id, "ended a leftover: {left}");
            }
            directory.clear();
        }
        Ok(())
    }

    fn is_holding(&self) -> bool {
        let held = self.held();
        !held.rows.is_empty() || !held.doubtful.is_empty()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().expect("no panic while held")
    }
}

const INTERRUPTED: &str = "it was interrupted; what carried it out has ended";
const RELEASED: &str = "a person released the target; it is not proven that its executor has ended";

fn executor_of(value: serde_json::Value) -> Option<ExecutorRecord> {
    serde_json::from_value(value).ok()
}

/// Ends what carries a change out, if it can be found, and says what is known of it.
async fn prove(row: &ChangeRow) -> Proof {
    let Some(executor) = &row.executor else {
        return match row.change.request["is_gated"].as_bool() {
            Some(true) => Proof::NeverActed,
            _ => Proof::None("an earlier version began it, which recorded no executor".to_owned()),
        };
    };
    let Some(record) = executor_of(executor.clone()) else {
        return Proof::None("its executor is recorded in a form not known here".to_owned());
    };
    let ended = match record.kind {
        ExecutorKind::InProcess => record.has_let_go(),
        ExecutorKind::Group => match record.can_be_ended() {
            Ok(true) => group::end_all(Some(&record.process), &row.change.id, GRACE)
                .await
                .map(|left| tracing::info!(change.id = row.change.id, ?left, "executor ended"))
                .map_err(|error| error.to_string()),
            Ok(false) => Ok(()),
            Err(why) => Err(why),
        },
    };
    match ended {
        Ok(()) => Proof::Ended,
        Err(why) => Proof::None(why),
    }
}

fn never_acted(row: &ChangeRow, now: jiff::Timestamp) -> Change {
    let mut change = read_change(row);
    change.state = ChangeState::Failed;
    change.error = Some("it was interrupted before it began to act: nothing was done".to_owned());
    (change.inverse, change.no_inverse) = (None, Some("nothing was done".to_owned()));
    change.finished_at = Some(now);
    change
}
