//! Parameters and results of the methods (specification section 9.4).

use jiff::Timestamp;

use crate::proto::{message, one_of};
use crate::{Message, Metadata, Task, TaskPushNotificationConfig, TaskState};

message! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct SendMessageRequest {
        tenant: String => optional("tenant"),
        message: Message => required("message"),
        configuration: Option<SendMessageConfiguration> => optional("configuration"),
        metadata: Metadata => optional("metadata"),
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct SendMessageConfiguration {
        accepted_output_modes: Vec<String> => optional("acceptedOutputModes"),
        task_push_notification_config: Option<TaskPushNotificationConfig> => optional("taskPushNotificationConfig"),
        history_length: Option<i32> => optional("historyLength"),
        return_immediately: bool => optional("returnImmediately"),
    }
}

one_of! {
    #[derive(Clone, Debug, PartialEq)]
    #[expect(clippy::large_enum_variant, reason = "an answer is made, written and gone")]
    pub enum SendMessageResponse {
        Task(Task) => "task" | "task",
        Message(Message) => "message" | "message",
    }
}

impl SendMessageResponse {
    /// The task, where the answer is one.
    pub fn into_task(self) -> Option<Task> {
        match self {
            Self::Task(task) => Some(task),
            Self::Message(_) => None,
        }
    }
}

message! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct GetTaskRequest {
        tenant: String => optional("tenant"),
        id: String => required("id"),
        history_length: Option<i32> => optional("historyLength"),
    }
}

message! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct CancelTaskRequest {
        tenant: String => optional("tenant"),
        id: String => required("id"),
        metadata: Metadata => optional("metadata"),
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct ListTasksRequest {
        tenant: String => optional("tenant"),
        context_id: String => optional("contextId"),
        status: Option<TaskState> => optional("status"),
        page_size: Option<i32> => optional("pageSize"),
        page_token: String => optional("pageToken"),
        history_length: Option<i32> => optional("historyLength"),
        status_timestamp_after: Option<Timestamp> => optional("statusTimestampAfter"),
        include_artifacts: Option<bool> => optional("includeArtifacts"),
    }
}

message! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct ListTasksResponse {
        tasks: Vec<Task> => required("tasks"),
        next_page_token: String => required("nextPageToken"),
        page_size: i32 => required("pageSize"),
        total_size: i32 => required("totalSize"),
    }
}

message! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SubscribeToTaskRequest {
        tenant: String => optional("tenant"),
        id: String => required("id"),
    }
}

message! {
    /// Names one push notification configuration, to get it or to delete it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct GetTaskPushNotificationConfigRequest {
        tenant: String => optional("tenant"),
        task_id: String => required("taskId"),
        id: String => required("id"),
    }
}

pub type DeleteTaskPushNotificationConfigRequest = GetTaskPushNotificationConfigRequest;

message! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ListTaskPushNotificationConfigsRequest {
        tenant: String => optional("tenant"),
        task_id: String => required("taskId"),
        page_size: i32 => optional("pageSize"),
        page_token: String => optional("pageToken"),
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct ListTaskPushNotificationConfigsResponse {
        configs: Vec<TaskPushNotificationConfig> => optional("configs"),
        next_page_token: String => optional("nextPageToken"),
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct GetExtendedAgentCardRequest {
        tenant: String => optional("tenant"),
    }
}
