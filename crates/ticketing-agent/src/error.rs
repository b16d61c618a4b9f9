//! What can go wrong at a tracker, by what the caller can do about it.

use std::path::PathBuf;
use std::time::Duration;

use incident::IncidentId;
use jiff::Timestamp;

#[derive(Debug, thiserror::Error)]
pub enum TrackerError {
    /// No answer, or one that says "later".
    #[error("{operation}: tracker unavailable: {reason}")]
    Unavailable {
        operation: &'static str,
        reason: String,
        retry_after: Option<Duration>,
        /// A write whose answer was lost may have taken effect.
        may_have_happened: bool,
    },
    /// An earlier create may have made a ticket that the search does not show yet.
    #[error("ticket of {incident} may exist since an unanswered create; searching until {until}")]
    CreateUnsettled { incident: IncidentId, until: Timestamp },
    #[error("{operation}: not allowed ({status}): {reason}; check the user and the token file")]
    Unauthorised { operation: &'static str, status: u16, reason: String },
    #[error("{operation}: refused ({status}): {}", messages.join("; "))]
    Refused { operation: &'static str, status: u16, messages: Vec<String> },
    #[error(
        "ticket {key} cannot go from {from:?} to {wanted:?}; available: {}",
        if available.is_empty() { "none".to_owned() } else { available.join(", ") }
    )]
    NoTransition { key: String, from: String, wanted: String, available: Vec<String> },
    #[error("{operation}: ticket {key} not found")]
    NotFound { operation: &'static str, key: String },
    #[error("{operation}: answer not understood: {reason}")]
    BadAnswer { operation: &'static str, reason: String },
    #[error("ticket file {} is damaged", path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("ticket file {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Another process is writing, or froze while it was.
    #[error("ticket directory {} is in use by another process", directory.display())]
    DirectoryInUse { directory: PathBuf },
}

impl TrackerError {
    /// Whether the same call can succeed later with nobody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::CreateUnsettled { .. }
                | Self::File { .. }
                | Self::DirectoryInUse { .. }
        )
    }

    /// Whether a write may have taken effect in spite of the error.
    pub(crate) fn may_have_happened(&self) -> bool {
        match self {
            Self::Unavailable { may_have_happened, .. } => *may_have_happened,
            Self::BadAnswer { .. } => true,
            _ => false,
        }
    }

    /// How long the tracker asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
