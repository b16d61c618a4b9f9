//! The objects, states, errors and envelope of A2A 1.0, and the schemas of the three MCP tools, as
//! plain data. No socket, clock or policy; unknown fields and enum values of newer peers survive.
//!
//! Field names and meanings: <https://a2a-protocol.org/latest/specification/>.

mod card;
pub mod envelope;
mod error;
mod event;
pub mod mcp;
mod message;
mod methods;
mod part;
mod proto;
mod push;
mod security;
mod store;
mod task;

pub use card::{
    AgentCapabilities, AgentCard, AgentCardSignature, AgentExtension, AgentInterface,
    AgentProvider, AgentSkill,
};
pub use envelope::{Id, Request, Response, ResponsePayload};
pub use error::{A2aError, ErrorObject, FieldViolation};
pub use event::{StreamResponse, TaskArtifactUpdateEvent, TaskStatusUpdateEvent};
pub use message::{Message, Metadata, Role};
pub use methods::{
    CancelTaskRequest, DeleteTaskPushNotificationConfigRequest, GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse, ListTasksRequest, ListTasksResponse,
    SendMessageConfiguration, SendMessageRequest, SendMessageResponse, SubscribeToTaskRequest,
};
pub use part::{Part, PartContent};
pub use push::{AuthenticationInfo, TaskPushNotificationConfig};
pub use security::{
    ApiKeySecurityScheme, AuthorizationCodeOAuthFlow, ClientCredentialsOAuthFlow,
    DeviceCodeOAuthFlow, HttpAuthSecurityScheme, ImplicitOAuthFlow, MutualTlsSecurityScheme,
    OAuth2SecurityScheme, OAuthFlows, OpenIdConnectSecurityScheme, PasswordOAuthFlow,
    SecurityRequirement, SecurityScheme, StringList,
};
pub use store::{
    Adopted, Delivery, Expiry, Inserted, NewTask, PAGE_BYTES, StoreFuture, TaskCursor, TaskEvent,
    TaskOwner, TaskPage, TaskQuery, TaskRecord, TaskStore, TaskStoreError, Unreadable,
};
pub use task::{Artifact, Task, TaskState, TaskStatus};

/// The protocol version these types speak.
pub const PROTOCOL_VERSION: &str = "1.0";
/// Whether this version is the one these types speak: the number of a patch changes nothing.
pub fn is_supported_version(version: &str) -> bool {
    let rest = version.strip_prefix(PROTOCOL_VERSION);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The header that names the protocol version of a request.
pub const VERSION_HEADER: &str = "A2A-Version";
/// The header that names the extensions a request asks for, and those an answer uses.
pub const EXTENSIONS_HEADER: &str = "A2A-Extensions";
/// The header that makes a caller's retry safe.
pub const IDEMPOTENCY_HEADER: &str = "Idempotency-Key";
/// Where every agent publishes its card.
pub const CARD_PATH: &str = "/.well-known/agent-card.json";
