//! Push configurations of tasks. Only a task's owner has them; to anyone else it is unknown.

use std::sync::atomic::Ordering;

use a2a_types::{A2aError, TaskOwner, TaskPushNotificationConfig};

use super::live::Live;
use super::{Tasks, internal};

/// Push configurations of one task. Beyond it, another one is refused.
const PUSHES: usize = 16;

impl Tasks {
    /// Adds a push configuration to the task it names, or replaces the one with the same id. One
    /// without an id is given one.
    pub(crate) async fn put_push(
        &self,
        owner: &TaskOwner,
        config: TaskPushNotificationConfig,
    ) -> Result<TaskPushNotificationConfig, A2aError> {
        let id = config.task_id.clone();
        let config = self.push_for(&id, config);
        // Held while they are counted, and because a task that becomes live meanwhile must not miss
        // this one.
        let _reviving = self.0.reviving(&id).await;
        let known = self.pushes(owner, &id).await?;
        if known.len() >= PUSHES && known.iter().all(|known| known.id != config.id) {
            let why = format!("task {id} has {PUSHES} push notification configurations already");
            return Err(A2aError::UnsupportedOperation(why));
        }
        self.0.store.put_push(config.clone()).await.map_err(internal)?;
        if let Some(live) = self.0.live.get(&id) {
            live.has_push.store(true, Ordering::SeqCst);
        }
        Ok(config)
    }

    /// The push configurations of a task, by id.
    pub(crate) async fn pushes(
        &self,
        owner: &TaskOwner,
        task_id: &str,
    ) -> Result<Vec<TaskPushNotificationConfig>, A2aError> {
        self.record(owner, task_id).await?;
        self.0.store.pushes(task_id.to_owned()).await.map_err(internal)
    }

    /// Deletes a push configuration. No such one is no error.
    pub(crate) async fn delete_push(
        &self,
        owner: &TaskOwner,
        task_id: &str,
        id: &str,
    ) -> Result<(), A2aError> {
        self.record(owner, task_id).await?;
        self.0.store.delete_push(task_id.to_owned(), id.to_owned()).await.map_err(internal)
    }

    pub(super) fn push_for(
        &self,
        task_id: &str,
        mut config: TaskPushNotificationConfig,
    ) -> TaskPushNotificationConfig {
        task_id.clone_into(&mut config.task_id);
        if config.id.is_empty() {
            config.id = self.0.host.new_id().to_string();
        }
        config
    }

    /// Tells the sender that there may be something to send.
    pub(super) fn wake_deliveries(&self, live: &Live) {
        if live.has_push.load(Ordering::SeqCst) {
            self.wake_sender();
        }
    }

    pub(super) fn wake_sender(&self) {
        self.0.deliveries.notify_one();
    }
}
