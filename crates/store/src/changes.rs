//! The changes deployment-system made: begun before the effect, finished after it, found again by
//! their idempotency key.

use jiff::Timestamp;
use serde_json::Value;

/// A change that is about to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub id: String,
    pub idempotency_key: String,
    /// The single-use grant that allows it.
    pub grant_id: Option<String>,
    pub arguments_sha256: String,
    pub target: String,
    pub action: String,
    pub request: Value,
    pub started_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ChangeRow {
    pub change: Change,
    /// What carries it out, as it was recorded before it could act.
    pub executor: Option<Value>,
    /// `None` while it runs, and for ever when its process died: the outcome is unknown.
    pub outcome: Option<Value>,
    pub finished_at: Option<Timestamp>,
}
