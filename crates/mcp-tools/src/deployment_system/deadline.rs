//! When a change must have ended, as a moment on the clock of its process: it does not jump where the
//! clock on the wall does, and a test that holds the clock decides when it passes.

use std::time::Duration;

use service::Clock;
use tokio::time::Instant;

#[derive(Clone, Debug)]
pub(super) struct Deadline {
    clock: Clock,
    at: Instant,
}

impl Deadline {
    pub(super) fn after(clock: &Clock, time: Duration) -> Self {
        Self { clock: clock.clone(), at: clock.instant() + time }
    }

    pub(super) fn left(&self) -> Duration {
        self.at.saturating_duration_since(self.clock.instant())
    }

    /// Waits until it has been passed by `overtime`.
    pub(super) async fn passed_by(&self, overtime: Duration) {
        self.clock.sleep(self.left() + overtime).await;
    }
}
