//! What a body says, or why it says nothing.

use incident::Alert;

use crate::limits::QUOTED_CHARS;

/// What was read from one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    pub alerts: Vec<Alert>,
    /// Alerts that the sender left out of the body, by its own word.
    pub truncated: u64,
    /// The key under which the sender asks to find it again (PagerDuty's `dedup_key`).
    pub dedup_key: Option<String>,
}

/// A field of a request that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct BadField {
    pub field: String,
    pub why: String,
}

impl BadField {
    pub fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

/// A sender's text as an error repeats it: quoted, its controls escaped, not too long.
pub(crate) fn quoted(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(QUOTED_CHARS).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("{start:?}{more}")
}
