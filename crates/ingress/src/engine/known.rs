//! What is known of one alert, and what a report says beside it. Deliveries come late, twice and in
//! any order: the episode, which begins at `starts_at`, says what is news.

use std::borrow::Cow;

use incident::{Alert, IncidentId};
use store::{AlertRow, AlertState, AlertWrite, Repeat};

use jiff::Timestamp;

/// What a report says beside what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// An alert that is not known.
    First,
    /// What is known.
    Same,
    /// Of an episode that is over here, or older than the one that is known.
    Late,
    /// Another severity of the same episode.
    Changed,
    /// It fires, or has ended, or both for another time.
    News,
}

/// An alert as it is stored, and as it will be.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) alert: Alert,
    pub(super) incident: Option<IncidentId>,
    pub(super) held: Option<String>,
    version: i64,
    /// When it was last reported.
    last_at: Option<Timestamp>,
    /// Reports since it was read.
    reports: u32,
    is_changed: bool,
}

impl Known {
    pub(super) fn of(row: AlertRow) -> Self {
        let AlertRow { alert, incident, held, version, last_at, .. } = row;
        let last_at = Some(last_at);
        Self { alert, incident, held, version, last_at, reports: 0, is_changed: false }
    }

    pub(super) fn new(alert: &Alert) -> Self {
        let alert = alert.clone();
        let (incident, held, last_at) = (None, None, None);
        Self { alert, incident, held, version: 0, last_at, reports: 0, is_changed: true }
    }

    /// What a report says, and the report as it is kept: its episode's start may be known here only.
    pub(super) fn told_by<'a>(&self, report: &'a Alert) -> (Told, Cow<'a, Alert>) {
        let report = report.in_episode_of(&self.alert);
        (self.told_in_episode(&report), report)
    }

    fn told_in_episode(&self, report: &Alert) -> Told {
        let (old, new) = (&self.alert, report);
        if new.is_late_after(old) {
            Told::Late
        } else if old.status != new.status || old.starts_at != new.starts_at {
            Told::News
        } else if old.severity != new.severity {
            Told::Changed
        } else {
            Told::Same
        }
    }

    /// Whether it fires in the incident.
    pub(super) fn fires_in(&self, id: IncidentId) -> bool {
        self.incident == Some(id) && self.alert.is_firing()
    }

    /// Whether it was reported since a question was asked.
    pub(super) fn is_reported_since(&self, asked_at: Timestamp) -> bool {
        self.last_at.is_some_and(|last_at| last_at >= asked_at)
    }

    pub(super) fn count(&mut self, reports: u32, now: Timestamp) {
        self.reports += reports;
        if reports > 0 {
            self.last_at = Some(now);
        }
    }

    pub(super) fn put(
        &mut self,
        report: &Alert,
        incident: Option<IncidentId>,
        held: Option<String>,
    ) {
        self.alert.clone_from(report);
        (self.incident, self.held, self.is_changed) = (incident, held, true);
    }

    pub(super) fn state(&self) -> AlertState {
        AlertState::of(&self.alert)
    }

    /// What is to be written. `is_repeatable`: the store takes a report of it as a repeat.
    pub(super) fn write(self, key: store::AlertKey, is_repeatable: bool, now: Timestamp) -> Writes {
        if !self.is_changed && self.reports == 0 {
            return Writes::Nothing;
        }
        if !self.is_changed && is_repeatable {
            let (state, reports) = (self.state(), self.reports);
            return Writes::Repeat(Repeat { alert: key, state, reports, at: now });
        }
        let Self { alert, incident, held, version, reports, .. } = self;
        Writes::Alert(AlertWrite { alert, incident, held, version, reports, at: now })
    }
}

#[derive(Debug)]
pub(super) enum Writes {
    Nothing,
    Repeat(Repeat),
    Alert(AlertWrite),
}

#[cfg(test)]
mod tests {
    use incident::Severity;

    use super::super::sample::{firing, resolved};
    use super::*;

    #[test]
    fn the_episode_says_what_is_news() {
        let told = |known: &Alert, report: &Alert| Known::new(known).told_by(report).0;
        assert_eq!(told(&firing(10), &firing(10)), Told::Same);
        assert_eq!(told(&firing(10), &resolved(10, 20)), Told::News);
        assert_eq!(told(&firing(10), &firing(30)), Told::News, "its end was lost");
        assert_eq!(told(&firing(10), &firing(5)), Told::Late);
        assert_eq!(told(&firing(10), &resolved(5, 8)), Told::Late, "the end of one before");
        assert_eq!(told(&firing(10), &resolved(5, 20)), Told::News, "its start was moved back");
        assert_eq!(told(&resolved(10, 20), &firing(10)), Told::Late, "the end came first");
        assert_eq!(told(&resolved(10, 20), &firing(5)), Told::Late);
        assert_eq!(told(&resolved(10, 20), &firing(30)), Told::News);
        assert_eq!(told(&resolved(10, 20), &resolved(10, 20)), Told::Same);
        let raised = Alert { severity: Severity::Critical, ..firing(10) };
        assert_eq!(told(&firing(10), &raised), Told::Changed);
    }

    fn guessed(alert: Alert) -> Alert {
        Alert { is_start_known: false, ..alert }
    }

    #[test]
    fn a_report_that_knows_no_start_is_of_the_known_episode() {
        let told = |known: &Alert, report: Alert| {
            let (told, kept) = Known::new(known).told_by(&report);
            (told, kept.starts_at.as_second(), kept.is_start_known)
        };
        for known in [firing(10), guessed(firing(10))] {
            let is_known = known.is_start_known;
            for seconds in [5, 10, 30] {
                let again = guessed(firing(seconds));
                assert_eq!(told(&known, again.clone()), (Told::Same, 10, is_known), "{seconds}");
                let raised = Alert { severity: Severity::Critical, ..again };
                assert_eq!(told(&known, raised), (Told::Changed, 10, is_known), "{seconds}");
            }
            let ended = guessed(resolved(20, 20));
            assert_eq!(told(&known, ended), (Told::News, 10, is_known));
            let ended_before = guessed(resolved(8, 8));
            assert_eq!(told(&known, ended_before).0, Told::Late);
        }
        let over = resolved(10, 20);
        assert_eq!(told(&over, guessed(resolved(30, 30))), (Told::Same, 10, true));
        for seconds in [5, 10, 30] {
            let anew = guessed(firing(seconds));
            assert_eq!(told(&over, anew), (Told::News, seconds, false), "{seconds}");
        }
    }

    #[test]
    fn a_start_that_is_told_later_begins_no_episode_unless_it_is_later() {
        let known = Known::new(&guessed(firing(10)));
        let (earlier, kept) = (firing(5), guessed(firing(10)));
        assert_eq!(known.told_by(&earlier), (Told::Same, Cow::Owned(kept)));
        assert_eq!(known.told_by(&firing(10)).0, Told::Same);
        assert_eq!(known.told_by(&firing(30)).0, Told::News);
        assert_eq!(known.told_by(&resolved(5, 20)).0, Told::News);
    }
}
