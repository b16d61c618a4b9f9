//! Which tasks this process has. A file belongs to one process, so this is known in memory: whatever
//! the process has not taken since it opened the file is nobody's, and nothing is written for it.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use a2a_types::{Adopted, TaskRecord};
use sqlx::Row;

use super::Tasks;
use super::read::read;
use crate::StoreError;
use crate::tasks::row::{readable, unreadable};

#[derive(Debug, Default)]
pub(super) struct Held(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ids: HashSet<String>,
    cancel_asked: BTreeSet<String>,
    /// The last task that was offered to whoever adopts.
    offered: i64,
    /// Every unfinished task was offered, and none was given back since.
    is_done: bool,
}

impl Held {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task was written by this process.
    pub(super) fn wrote(&self, id: &str, is_settled: bool) {
        let mut state = self.state();
        match is_settled {
            true => {
                state.ids.remove(id);
                state.cancel_asked.remove(id);
            }
            false => {
                state.ids.insert(id.to_owned());
            }
        }
    }

    pub(super) fn release(&self, id: &str) {
        let mut state = self.state();
        if state.ids.remove(id) {
            (state.offered, state.is_done) = (0, false);
        }
    }

    pub(super) fn among(&self, mut ids: Vec<String>) -> Vec<String> {
        let state = self.state();
        ids.retain(|id| state.ids.contains(id));
        ids
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.state().ids.iter().cloned().collect()
    }

    pub(super) fn ask_cancel(&self, id: String) {
        self.state().cancel_asked.insert(id);
    }

    pub(super) fn cancel_asked(&self) -> Vec<String> {
        let state = self.state();
        state.cancel_asked.iter().filter(|id| state.ids.contains(*id)).cloned().collect()
    }
}

impl Tasks {
    /// Goes on through the unfinished tasks from where it stopped.
    pub(super) async fn adopt_tasks(&self, limit: u32) -> Result<Adopted, StoreError> {
        let mut adopted = Adopted::default();
        while adopted.tasks.len() + adopted.unreadable.len() < limit as usize {
            let offered = {
                let state = self.held.state();
                if state.is_done {
                    break;
                }
                state.offered
            };
            let rows = sqlx::query(
                "SELECT * FROM task WHERE is_unfinished = 1 AND number > ? ORDER BY number LIMIT ?",
            )
            .bind(offered)
            .bind(limit)
            .fetch_all(&self.store.readers)
            .await?;
            let mut state = self.held.state();
            state.is_done = rows.len() < limit as usize;
            for row in &rows {
                if adopted.tasks.len() + adopted.unreadable.len() == limit as usize {
                    state.is_done = false;
                    break;
                }
                state.offered = row.get("number");
                let id: String = row.get("id");
                if state.ids.contains(&id) {
                    continue;
                }
                match read(row) {
                    Ok(record) => {
                        state.ids.insert(id);
                        adopted.tasks.push(record);
                    }
                    Err(error) => adopted.unreadable.push(unreadable(id, &error)),
                }
            }
        }
        Ok(adopted)
    }

    pub(super) async fn claim_task(&self, id: &str) -> Result<Option<TaskRecord>, StoreError> {
        let record = readable(self.load_task(id).await)?;
        let record = record.filter(|record| !record.task.status.state.is_terminal());
        if record.is_some() {
            self.held.state().ids.insert(id.to_owned());
        }
        Ok(record)
    }
}
