//! Time as an argument: programs read it from here, so that a test can hold it still.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;

/// The source of the current time and of waiting.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock and tokio's timers.
    #[default]
    System,
    /// A clock that moves only when its `ManualClock` is told to.
    Manual(ManualClock),
    /// Another clock on the wall, which may jump, and tokio's timers, which do not.
    Wall(WallClock),
}

/// Tells a time that is not the machine's.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl WallClock {
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WallClock").field(&(self.0)()).finish()
    }
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is where system time enters")]
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => Timestamp::now(),
            Clock::Manual(manual) => manual.now(),
            Clock::Wall(wall) => (wall.0)(),
        }
    }

    /// A moment of this process, to measure how long something takes. It never jumps, whatever the
    /// clock on the wall does, and means nothing to another process.
    pub fn instant(&self) -> Instant {
        match self {
            Clock::System | Clock::Wall(_) => Instant::now(),
            Clock::Manual(manual) => manual.moment.borrow().instant,
        }
    }

    /// Waits until `duration` has passed on this clock.
    pub async fn sleep(&self, duration: Duration) {
        match self {
            Clock::System | Clock::Wall(_) => tokio::time::sleep(duration).await,
            Clock::Manual(manual) => manual.pass(duration).await,
        }
    }
}

/// A clock for tests and simulation.
#[derive(Clone, Debug)]
pub struct ManualClock {
    moment: Arc<watch::Sender<Moment>>,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    /// What the clock on the wall says.
    now: Timestamp,
    /// Moves with time alone.
    instant: Instant,
}

impl ManualClock {
    pub fn starting_at(now: Timestamp) -> Self {
        let moment = Moment { now, instant: Instant::now() };
        Self { moment: Arc::new(watch::Sender::new(moment)) }
    }

    pub fn now(&self) -> Timestamp {
        self.moment.borrow().now
    }

    /// Moves time forward and wakes whoever waited for it.
    pub fn advance(&self, duration: Duration) {
        self.moment.send_modify(|moment| {
            moment.now += duration;
            moment.instant += duration;
        });
    }

    /// Sets the clock on the wall forward or back. No time passes, and nobody wakes.
    pub fn jump(&self, by: SignedDuration) {
        self.moment.send_modify(|moment| moment.now += by);
    }

    async fn pass(&self, duration: Duration) {
        let mut receiver = self.moment.subscribe();
        let until = receiver.borrow().instant + duration;
        // The sender lives in `self`, so the channel cannot close while this waits.
        let _ = receiver.wait_for(|moment| moment.instant >= until).await;
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

    #[tokio::test]
    async fn a_clock_that_is_set_neither_ends_a_sleep_nor_prolongs_it() {
        let manual = ManualClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let clock = Clock::Manual(manual.clone());
        for hours in [1, -1] {
            let before = clock.instant();
            let sleeping = clock.sleep(Duration::from_secs(60));
            tokio::pin!(sleeping);
            assert!(futures::poll!(&mut sleeping).is_pending());
            manual.jump(SignedDuration::from_hours(hours));
            assert!(futures::poll!(&mut sleeping).is_pending(), "{hours}");
            manual.advance(Duration::from_secs(60));
            sleeping.await;
            assert_eq!(clock.instant() - before, Duration::from_secs(60));
        }
        assert_eq!(clock.now().to_string(), "2026-01-01T00:02:00Z");
    }
}
