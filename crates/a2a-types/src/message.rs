//! Messages and their parts (specification section 4.1).

use serde_json::Value;

use crate::Part;
use crate::proto::{enumeration, message};

/// Free-form metadata of an object.
pub type Metadata = serde_json::Map<String, Value>;

message! {
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct Message {
        message_id: String => required("messageId"),
        context_id: String => optional("contextId"),
        task_id: String => optional("taskId"),
        role: Role => required("role"),
        parts: Vec<Part> => required("parts"),
        metadata: Metadata => optional("metadata"),
        extensions: Vec<String> => optional("extensions"),
        reference_task_ids: Vec<String> => optional("referenceTaskIds"),
        ..extra
    }
}

impl Message {
    pub fn new(message_id: impl Into<String>, role: Role, parts: Vec<Part>) -> Self {
        Self { message_id: message_id.into(), role, parts, ..Self::default() }
    }

    /// The text of all text parts, one a line.
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self.parts.iter().filter_map(Part::as_text).collect();
        texts.join("\n")
    }
}

enumeration! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub enum Role {
        #[default]
        Unspecified = 0 "ROLE_UNSPECIFIED",
        User = 1 "ROLE_USER",
        Agent = 2 "ROLE_AGENT",
    }
}
