//! The simulated time: true time, which everything in the world shares, and the clock on the wall
//! of each program, which may be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// 2026-01-01T00:00:00Z, when every simulation begins.
const BEGIN_SECOND: i64 = 1_767_225_600;

pub(super) fn beginning() -> Timestamp {
    Timestamp::from_second(BEGIN_SECOND).expect("a time within range")
}

/// True time. A clone shows the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Time {
    /// Microseconds passed at the last step, for who looks from outside the simulated hosts.
    passed: Arc<AtomicU64>,
}

impl Time {
    pub(super) fn passed(&self) -> Duration {
        let last_step = || Duration::from_micros(self.passed.load(Ordering::Relaxed));
        turmoil::sim_elapsed().unwrap_or_else(last_step)
    }

    pub(super) fn now(&self) -> Timestamp {
        beginning() + self.passed()
    }

    pub(super) fn set_passed(&self, passed: Duration) {
        let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        self.passed.store(micros, Ordering::Relaxed);
    }
}

/// One program's clock.
#[derive(Clone, Debug)]
pub(super) struct Wall {
    time: Time,
    /// Seconds ahead of true time.
    ahead: Arc<AtomicI64>,
}

impl Wall {
    pub(super) fn new(time: Time) -> Self {
        Self { time, ahead: Arc::default() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.time.now() + SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed))
    }

    pub(super) fn set_ahead(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::Relaxed);
    }
}
