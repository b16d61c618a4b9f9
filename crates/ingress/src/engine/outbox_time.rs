//! The time by which effects are put off. It goes on with the clock on the wall but never back with
//! it: what is to be done in a second is not done in an hour because somebody set the clock.

use std::sync::Mutex;

use jiff::Timestamp;
use service::Clock;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct OutboxTime(Mutex<Option<(Timestamp, Instant)>>);

impl OutboxTime {
    pub(super) fn now(&self, clock: &Clock) -> Timestamp {
        let (wall, instant) = (clock.now(), clock.instant());
        let mut last = self.0.lock().expect("no panic while it is held");
        let steady = last.map_or(wall, |(then, at)| {
            then.checked_add(instant.saturating_duration_since(at)).unwrap_or(Timestamp::MAX)
        });
        let now = wall.max(steady);
        *last = Some((now, instant));
        now
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;
    use service::ManualClock;

    use super::*;

    #[test]
    fn it_goes_forward_with_the_wall_and_never_back() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let manual = ManualClock::starting_at(start);
        let (clock, time) = (Clock::Manual(manual.clone()), OutboxTime::default());
        let after = |seconds| start + SignedDuration::from_secs(seconds);
        assert_eq!(time.now(&clock), start);
        manual.jump(SignedDuration::from_hours(-1));
        assert_eq!(time.now(&clock), start);
        manual.advance(Duration::from_secs(5));
        assert_eq!(time.now(&clock), after(5));
        manual.jump(SignedDuration::from_hours(2));
        assert_eq!(time.now(&clock), after(3_605));
    }
}
