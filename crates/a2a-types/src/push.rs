//! Push notification configurations (specification section 4.3).

use crate::proto::message;

message! {
    /// Where the events of one task are sent.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct TaskPushNotificationConfig {
        tenant: String => optional("tenant"),
        id: String => optional("id"),
        task_id: String => optional("taskId"),
        url: String => required("url"),
        /// Sent back with every notification, so that the receiver knows what it is about.
        token: String => optional("token"),
        authentication: Option<AuthenticationInfo> => optional("authentication"),
    }
}

message! {
    /// What the receiver of a notification wants to see in `Authorization`.
    #[derive(Clone, Default, PartialEq, Eq)]
    pub struct AuthenticationInfo {
        scheme: String => required("scheme"),
        credentials: String => optional("credentials"),
    }
}

impl std::fmt::Debug for AuthenticationInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthenticationInfo").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}
