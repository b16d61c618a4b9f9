//! Push notification configurations (specification section 4.3).

use crate::proto::message;

message! {
    /// Where the events of one task are sent.
    #[derive(Clone, Default, PartialEq, Eq)]
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

/// Without the token, and without the path and query of the URL, which may be one as well.
impl std::fmt::Debug for TaskPushNotificationConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, rest) = self.url.split_once("://").unwrap_or_default();
        let host = rest.split(['/', '?', '#']).next().and_then(|host| host.rsplit('@').next());
        f.debug_struct("TaskPushNotificationConfig")
            .field("tenant", &self.tenant)
            .field("id", &self.id)
            .field("task_id", &self.task_id)
            .field("url", &format_args!("{scheme}://{}/***", host.unwrap_or_default()))
            .field("authentication", &self.authentication)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for AuthenticationInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthenticationInfo").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let config = TaskPushNotificationConfig {
            id: "c-1".into(),
            url: "https://user:s3cret@hooks.example/s3cret?key=s3cret".into(),
            token: "s3cret".into(),
            authentication: Some(AuthenticationInfo {
                scheme: "Bearer".into(),
                credentials: "s3cret".into(),
            }),
            ..Default::default()
        };
        let text = format!("{config:?}");
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains("c-1") && text.contains("hooks.example") && text.contains("Bearer"));
    }
}
