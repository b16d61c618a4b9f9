//! Why a request is refused for who sent it. The sender is never told which: it would be a hint.

use serde::Serialize;

/// In order of how near the request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// It does not say who it is.
    NoCredentials,
    /// It says so, and it is not true, or not any more.
    WrongCredentials,
    /// It was signed too long ago, or in the future.
    StaleTimestamp,
    /// It has been taken already.
    Replayed,
}

impl Reason {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoCredentials => "no_credentials",
            Self::WrongCredentials => "wrong_credentials",
            Self::StaleTimestamp => "stale_timestamp",
            Self::Replayed => "replayed",
        }
    }
}
