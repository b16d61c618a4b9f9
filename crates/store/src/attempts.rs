//! Attempts at steps: the intent is committed before the effect, the outcome after it.

use incident::AttemptId;
use jiff::Timestamp;
use serde_json::Value;

/// An attempt that is about to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub id: AttemptId,
    /// The A2A task it is part of.
    pub task_id: String,
    pub target: String,
    /// Step, action and arguments, in the agent's own form.
    pub body: Value,
    pub started_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRow {
    pub attempt: Attempt,
    /// `None` while it runs, and for ever when its process died.
    pub outcome: Option<Value>,
    pub finished_at: Option<Timestamp>,
}
