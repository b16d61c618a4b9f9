//! Push notification configurations of one task.

use a2a_types::{
    A2aError, DeleteTaskPushNotificationConfigRequest, GetTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigsRequest, ListTaskPushNotificationConfigsResponse,
    TaskPushNotificationConfig,
};

use super::{Operations, owner};
use crate::a2a::server::admission::Call;
use crate::a2a::server::{check, list};

impl Operations {
    pub(in super::super) async fn create_push(
        self,
        call: Call,
        config: TaskPushNotificationConfig,
    ) -> Result<TaskPushNotificationConfig, A2aError> {
        check::id(&config.task_id, "taskId")?;
        self.check_push_config(&config, "").await?;
        let owner = owner(&call, &config.tenant)?;
        self.0.tasks.put_push(&owner, config).await
    }

    pub(in super::super) async fn get_push(
        self,
        call: Call,
        request: GetTaskPushNotificationConfigRequest,
    ) -> Result<TaskPushNotificationConfig, A2aError> {
        self.check_push()?;
        check::id(&request.task_id, "taskId")?;
        check::id(&request.id, "id")?;
        let owner = owner(&call, &request.tenant)?;
        let configs = self.0.tasks.pushes(&owner, &request.task_id).await?;
        let found = configs.into_iter().find(|config| config.id == request.id);
        found.ok_or_else(|| {
            A2aError::TaskNotFound(format!(
                "{} has no configuration {}",
                request.task_id, request.id
            ))
        })
    }

    pub(in super::super) async fn list_pushes(
        self,
        call: Call,
        request: ListTaskPushNotificationConfigsRequest,
    ) -> Result<ListTaskPushNotificationConfigsResponse, A2aError> {
        self.check_push()?;
        check::id(&request.task_id, "taskId")?;
        let (limit, after) = list::push_page(&request)?;
        let owner = owner(&call, &request.tenant)?;
        let mut configs = self.0.tasks.pushes(&owner, &request.task_id).await?;
        configs.retain(|config| after.as_ref().is_none_or(|after| config.id > *after));
        Ok(list::push_response(configs, limit))
    }

    /// No such configuration is no error: deleting twice is the same as once.
    pub(in super::super) async fn delete_push(
        self,
        call: Call,
        request: DeleteTaskPushNotificationConfigRequest,
    ) -> Result<serde_json::Map<String, serde_json::Value>, A2aError> {
        self.check_push()?;
        check::id(&request.task_id, "taskId")?;
        check::id(&request.id, "id")?;
        let owner = owner(&call, &request.tenant)?;
        self.0.tasks.delete_push(&owner, &request.task_id, &request.id).await?;
        Ok(serde_json::Map::new())
    }

    /// Checks a configuration, with its URL and where that leads.
    pub(super) async fn check_push_config(
        &self,
        config: &TaskPushNotificationConfig,
        within: &str,
    ) -> Result<(), A2aError> {
        self.check_push()?;
        self.0.push.check(config, within).await
    }

    fn check_push(&self) -> Result<(), A2aError> {
        self.0.offer.push.then_some(()).ok_or(A2aError::PushNotificationNotSupported)
    }
}
