//! What callers of 0.3 send, as the objects of 1.0.

use a2a_types::{
    AuthenticationInfo, CancelTaskRequest, GetTaskPushNotificationConfigRequest, GetTaskRequest,
    ListTaskPushNotificationConfigsRequest, Message, Metadata, Part, PartContent, Role,
    SendMessageConfiguration, SendMessageRequest, SubscribeToTaskRequest,
    TaskPushNotificationConfig,
};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Parameters of `message/send` and `message/stream`.
#[derive(Debug, Deserialize)]
pub(super) struct SendParams {
    message: MessageParams,
    #[serde(default)]
    configuration: Option<Configuration>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageParams {
    message_id: String,
    role: RoleName,
    parts: Vec<PartParams>,
    #[serde(default)]
    context_id: Option<String>,
    #[serde(default)]
    task_id: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    extensions: Option<Vec<String>>,
    #[serde(default)]
    reference_task_ids: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleName {
    User,
    Agent,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum PartParams {
    Text {
        text: String,
        #[serde(default)]
        metadata: Option<Metadata>,
    },
    File {
        file: FileParams,
        #[serde(default)]
        metadata: Option<Metadata>,
    },
    Data {
        data: Metadata,
        #[serde(default)]
        metadata: Option<Metadata>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a file needs either `bytes` in base64 or `uri`")]
enum FileParams {
    #[serde(rename_all = "camelCase")]
    Bytes {
        #[serde(deserialize_with = "raw")]
        bytes: PartContent,
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        mime_type: Option<String>,
    },
    #[serde(rename_all = "camelCase")]
    Uri {
        uri: String,
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        mime_type: Option<String>,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Configuration {
    accepted_output_modes: Option<Vec<String>>,
    history_length: Option<i32>,
    blocking: Option<bool>,
    push_notification_config: Option<PushParams>,
}

#[derive(Debug, Deserialize)]
struct PushParams {
    url: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    authentication: Option<PushAuthentication>,
}

#[derive(Debug, Deserialize)]
struct PushAuthentication {
    #[serde(default)]
    schemes: Vec<String>,
    #[serde(default)]
    credentials: Option<String>,
}

/// Parameters of `tasks/get`, `tasks/cancel`, `tasks/resubscribe` and of listing configurations.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskParams {
    id: String,
    #[serde(default)]
    history_length: Option<i32>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

/// Parameters of `tasks/pushNotificationConfig/set`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetPushParams {
    task_id: String,
    push_notification_config: PushParams,
}

/// Parameters of `tasks/pushNotificationConfig/get` and `/delete`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OnePushParams {
    id: String,
    #[serde(default)]
    push_notification_config_id: Option<String>,
}

impl SendParams {
    pub(super) fn into_request(self) -> SendMessageRequest {
        SendMessageRequest {
            tenant: String::new(),
            message: self.message.into_message(),
            configuration: self.configuration.map(Configuration::into_configuration),
            metadata: self.metadata.unwrap_or_default(),
        }
    }
}

impl MessageParams {
    fn into_message(self) -> Message {
        let role = match self.role {
            RoleName::User => Role::User,
            RoleName::Agent => Role::Agent,
        };
        let parts = self.parts.into_iter().map(PartParams::into_part).collect();
        let mut message = Message::new(self.message_id, role, parts);
        message.context_id = self.context_id.unwrap_or_default();
        message.task_id = self.task_id.unwrap_or_default();
        message.metadata = self.metadata.unwrap_or_default();
        message.extensions = self.extensions.unwrap_or_default();
        message.reference_task_ids = self.reference_task_ids.unwrap_or_default();
        message
    }
}

impl PartParams {
    fn into_part(self) -> Part {
        let (mut part, metadata) = match self {
            Self::Text { text, metadata } => (Part::text(text), metadata),
            Self::Data { data, metadata } => (Part::data(Value::Object(data)), metadata),
            Self::File { file, metadata } => (file.into_part(), metadata),
        };
        part.metadata = metadata.unwrap_or_default();
        part
    }
}

impl FileParams {
    fn into_part(self) -> Part {
        let (content, name, mime_type) = match self {
            Self::Bytes { bytes, name, mime_type } => (bytes, name, mime_type),
            Self::Uri { uri, name, mime_type } => (PartContent::Url(uri), name, mime_type),
        };
        let part = Part::of(content, &mime_type.unwrap_or_default());
        Part { filename: name.unwrap_or_default(), ..part }
    }
}

impl Configuration {
    fn into_configuration(self) -> SendMessageConfiguration {
        SendMessageConfiguration {
            accepted_output_modes: self.accepted_output_modes.unwrap_or_default(),
            task_push_notification_config: self
                .push_notification_config
                .map(|config| config.into_config(String::new())),
            history_length: history_length(self.history_length),
            return_immediately: self.blocking == Some(false),
        }
    }
}

impl PushParams {
    fn into_config(self, task_id: String) -> TaskPushNotificationConfig {
        let authentication = self.authentication.and_then(|authentication| {
            let scheme = authentication.schemes.into_iter().next()?;
            let credentials = authentication.credentials.unwrap_or_default();
            Some(AuthenticationInfo { scheme, credentials })
        });
        TaskPushNotificationConfig {
            task_id,
            url: self.url,
            id: self.id.unwrap_or_default(),
            token: self.token.unwrap_or_default(),
            authentication,
            ..TaskPushNotificationConfig::default()
        }
    }
}

impl TaskParams {
    pub(super) fn into_get(self) -> GetTaskRequest {
        let history_length = history_length(self.history_length);
        GetTaskRequest { tenant: String::new(), id: self.id, history_length }
    }

    pub(super) fn into_cancel(self) -> CancelTaskRequest {
        let metadata = self.metadata.unwrap_or_default();
        CancelTaskRequest { tenant: String::new(), id: self.id, metadata }
    }

    pub(super) fn into_subscribe(self) -> SubscribeToTaskRequest {
        SubscribeToTaskRequest { tenant: String::new(), id: self.id }
    }

    pub(super) fn into_list_pushes(self) -> ListTaskPushNotificationConfigsRequest {
        ListTaskPushNotificationConfigsRequest {
            tenant: String::new(),
            task_id: self.id,
            page_size: 0,
            page_token: String::new(),
        }
    }
}

impl SetPushParams {
    pub(super) fn into_config(self) -> TaskPushNotificationConfig {
        self.push_notification_config.into_config(self.task_id)
    }
}

impl OnePushParams {
    pub(super) fn is_named(&self) -> bool {
        self.push_notification_config_id.is_some()
    }

    pub(super) fn task_id(&self) -> &str {
        &self.id
    }

    pub(super) fn into_list(self) -> ListTaskPushNotificationConfigsRequest {
        TaskParams { id: self.id, history_length: None, metadata: None }.into_list_pushes()
    }

    /// `id` is the task's.
    pub(super) fn into_request(self) -> GetTaskPushNotificationConfigRequest {
        GetTaskPushNotificationConfigRequest {
            tenant: String::new(),
            id: self.push_notification_config_id.unwrap_or_default(),
            task_id: self.id,
        }
    }
}

/// 0.3 reads zero as no limit, 1.0 as no history.
fn history_length(length: Option<i32>) -> Option<i32> {
    length.filter(|length| *length != 0)
}

/// Bytes as they are stored: what is no base64 could not be read again.
fn raw<'de, D: Deserializer<'de>>(from: D) -> Result<PartContent, D::Error> {
    let content = PartContent::raw(String::deserialize(from)?);
    content.ok_or_else(|| D::Error::custom("is no base64"))
}
