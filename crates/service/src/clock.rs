//! Time as an argument: programs read it from here, so that a test can hold it still.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

/// The source of the current time and of waiting.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock and tokio's timers.
    #[default]
    System,
    /// A clock that moves only when its `ManualClock` is told to.
    Manual(ManualClock),
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is where system time enters")]
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => Timestamp::now(),
            Clock::Manual(manual) => manual.now(),
        }
    }

    /// Waits until `duration` has passed on this clock.
    pub async fn sleep(&self, duration: Duration) {
        match self {
            Clock::System => tokio::time::sleep(duration).await,
            Clock::Manual(manual) => manual.reach(manual.now() + duration).await,
        }
    }
}

/// A clock for tests and simulation.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: Arc<watch::Sender<Timestamp>>,
}

impl ManualClock {
    pub fn starting_at(now: Timestamp) -> Self {
        Self { now: Arc::new(watch::Sender::new(now)) }
    }

    pub fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    /// Moves time forward and wakes whoever waited for it.
    pub fn advance(&self, duration: Duration) {
        self.now.send_modify(|now| *now += duration);
    }

    async fn reach(&self, at: Timestamp) {
        let mut receiver = self.now.subscribe();
        // The sender lives in `self`, so the channel cannot close while this waits.
        let _ = receiver.wait_for(|now| *now >= at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn manual_sleep_ends_when_time_is_advanced() {
        let manual = ManualClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let clock = Clock::Manual(manual.clone());
        let sleeping = clock.sleep(Duration::from_secs(60));
        tokio::pin!(sleeping);
        assert!(futures::poll!(&mut sleeping).is_pending());
        manual.advance(Duration::from_secs(59));
        assert!(futures::poll!(&mut sleeping).is_pending());
        manual.advance(Duration::from_secs(1));
        sleeping.await;
        assert_eq!(clock.now().to_string(), "2026-01-01T00:01:00Z");
    }
}
