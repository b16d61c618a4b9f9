//! The pause before something that failed is tried again.

use std::time::Duration;

/// Bounds of the pause after the task store failed.
pub(super) const STORE_PAUSE: (Duration, Duration) =
    (Duration::from_millis(200), Duration::from_secs(30));

/// The first pause, doubled with each failure before this one, up to the longest.
pub(super) fn backoff(failures: u32, (first, longest): (Duration, Duration)) -> Duration {
    first.saturating_mul(1 << failures.min(30)).min(longest)
}
