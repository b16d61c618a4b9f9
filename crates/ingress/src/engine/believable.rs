//! Times of a report that nobody can know yet. A sender whose clock was years ahead, or a hostile one,
//! must not make an alert that nothing later than its start could ever end, or fire again.

use std::borrow::Cow;

use incident::Alert;
use jiff::{SignedDuration, Timestamp};

/// How far the clock of a sender may be ahead: more than the hour that clocks are wrong by when summer
/// ends.
const AHEAD: SignedDuration = SignedDuration::from_hours(2);

/// Whether a time is one that a sender cannot know yet.
pub(crate) fn is_ahead(at: Timestamp, now: Timestamp) -> bool {
    at.duration_since(now) > AHEAD
}

/// The report, with times that may be true. A start that is too far ahead is none: the report is of
/// the episode that is known, or of one that begins now.
pub(super) fn believable(report: &Alert, now: Timestamp) -> Cow<'_, Alert> {
    let mut report = Cow::Borrowed(report);
    if is_ahead(report.starts_at, now) {
        let believed = report.to_mut();
        (believed.starts_at, believed.is_start_known) = (millisecond(now), false);
    }
    if report.ends_at.is_some_and(|at| is_ahead(at, now)) {
        report.to_mut().ends_at = Some(now);
    }
    report
}

/// As starts are kept.
fn millisecond(now: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::super::known::{Known, Told};
    use super::super::sample::{at, firing, resolved};
    use super::*;

    const NOW: i64 = 100_000;
    const FAR: i64 = 200_000;

    /// What is told at `now`, and what is known then.
    fn told(known: &Alert, report: &Alert, now: i64) -> (Told, Alert) {
        let known = Known::new(known);
        let report = believable(report, at(now)).into_owned();
        let (told, kept) = known.told_by(&report);
        (told, kept.into_owned())
    }

    #[test]
    fn a_start_in_a_time_to_come_holds_up_no_later_episode() {
        let first = believable(&firing(FAR), at(NOW)).into_owned();
        assert_eq!(first.starts_at, at(NOW));
        assert_eq!(told(&first, &firing(FAR), NOW + 5).0, Told::Same, "it is repeated");
        let (news, ended) = told(&first, &resolved(FAR, FAR + 9), NOW + 9);
        assert_eq!((news, ended.ends_at), (Told::News, Some(at(NOW + 9))));
        assert_eq!(told(&ended, &resolved(FAR, FAR + 9), NOW + 10).0, Told::Same);
        assert_eq!(
            told(&ended, &firing(NOW + 20), NOW + 20).0,
            Told::News,
            "by a clock that is right"
        );
        assert_eq!(told(&ended, &firing(FAR + 30), NOW + 30).0, Told::News);
    }

    #[test]
    fn a_clock_that_is_a_little_ahead_is_believed() {
        let report = firing(NOW + 599);
        assert!(matches!(believable(&report, at(NOW)), Cow::Borrowed(_)));
    }
}
