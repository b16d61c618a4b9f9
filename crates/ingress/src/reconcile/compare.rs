//! What differs between what Alertmanagers list and what the store says. Pure.

use jiff::Timestamp;
use store::AlertRow;

use super::listing::{Listed, Listing, Standing};
use crate::engine::is_ahead;

/// What was answered to one question.
#[derive(Debug)]
pub(super) struct Answered<'a> {
    pub(super) listing: Listing<'a>,
    /// Before anybody was asked.
    pub(super) asked_at: Timestamp,
    /// Every Alertmanager answered, and has been up long enough to know its alerts.
    pub(super) is_whole: bool,
}

/// What is to be said of an alert that the store says fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// There is nothing to say, or nobody who could say it.
    None,
    /// None: it is listed as firing.
    Fires,
    /// Its end was missed, and that it fired again.
    FiresAnew,
    /// It is silenced or inhibited, by this.
    Suppressed(String),
    Gone,
}

impl Answered<'_> {
    /// Of an alert that the store says fires.
    pub(super) fn of_firing(&self, row: &AlertRow) -> Difference {
        match self.listing.alerts.get(row.alert.fingerprint.as_str()) {
            // Somebody who reported it since knows better.
            None if self.is_whole && row.last_at < self.asked_at => Difference::Gone,
            None => Difference::None,
            Some(listed) => match listed.standing {
                Standing::Firing if self.is_newer(listed, row) => Difference::FiresAnew,
                Standing::Suppressed => Difference::Suppressed(listed.suppressed_by()),
                Standing::Firing => Difference::Fires,
                Standing::Elsewhere => Difference::None,
            },
        }
    }

    /// Whether it is listed with a newer start. One in a time to come says nothing: it is kept otherwise.
    fn is_newer(&self, listed: &Listed<'_>, row: &AlertRow) -> bool {
        listed.starts_at > row.alert.starts_at && !is_ahead(listed.starts_at, self.asked_at)
    }

    /// Since when an alert fires that is listed as firing, and that the store does not know, or knows
    /// as resolved or of an incident that is over. `None`: there is nothing to say.
    pub(super) fn fires_since(
        &self,
        listed: &Listed<'_>,
        row: Option<&AlertRow>,
        was_suppressed: bool,
    ) -> Option<Timestamp> {
        let Some(row) = row else { return Some(listed.starts_at) };
        if self.is_newer(listed, row) {
            return Some(listed.starts_at);
        }
        if row.alert.is_firing() {
            // Whatever else ended its incident knew that it fired.
            return was_suppressed.then_some(row.alert.starts_at);
        }
        if row.last_at >= self.asked_at {
            return None;
        }
        // An Alertmanager that has heard of it after its end says that it fires again, whatever its
        // start: a source that could not be reached for a while goes on with the old one. One that
        // has not heard since only missed the end.
        let ended_at = row.alert.ends_at.unwrap_or(row.last_at);
        (listed.updated_at > ended_at).then_some(self.asked_at)
    }
}

#[cfg(test)]
mod tests {
    use incident::Alert;
    use serde_json::value::RawValue;

    use super::super::listing::SuppressedBy;
    use super::*;
    use crate::engine::sample::{self, at};

    fn row(alert: Alert, last_at: i64) -> AlertRow {
        let (incident, held) = (None, None);
        let (first_at, last_at) = (alert.starts_at, at(last_at));
        AlertRow { alert, incident, held, reports: 1, first_at, last_at, version: 1 }
    }

    fn firing(starts_at: i64, last_at: i64) -> AlertRow {
        row(sample::firing(starts_at), last_at)
    }

    fn resolved(starts_at: i64, ends_at: i64, last_at: i64) -> AlertRow {
        row(sample::resolved(starts_at, ends_at), last_at)
    }

    fn listed(standing: Standing, starts_at: i64, updated_at: i64) -> Listed<'static> {
        Listed {
            standing,
            starts_at: at(starts_at),
            updated_at: at(updated_at),
            suppressed_by: SuppressedBy { silence: Some("5f2c".into()), alert: None },
            labels: RawValue::NULL,
            annotations: None,
            generator_url: None,
        }
    }

    /// Asked at 100.
    fn answered(alert: Option<Listed<'_>>, is_whole: bool) -> Answered<'_> {
        let alerts = alert.map(|alert| ("f".into(), alert)).into_iter().collect();
        Answered { listing: Listing { alerts }, asked_at: at(100), is_whole }
    }

    fn of_firing(alert: Option<Listed<'_>>, row: &AlertRow) -> Difference {
        answered(alert, true).of_firing(row)
    }

    #[test]
    fn gone_is_what_all_could_list_and_none_does_and_nobody_reported_since() {
        assert_eq!(of_firing(None, &firing(10, 99)), Difference::Gone);
        assert_eq!(of_firing(None, &firing(10, 100)), Difference::None, "reported since");
        assert_eq!(answered(None, false).of_firing(&firing(10, 20)), Difference::None);
        let elsewhere = listed(Standing::Elsewhere, 10, 20);
        assert_eq!(of_firing(Some(elsewhere), &firing(10, 20)), Difference::None);
    }

    #[test]
    fn a_listed_alert_that_fires_is_as_it_was_unless_it_began_anew() {
        let fires = |starts_at| Some(listed(Standing::Firing, starts_at, 90));
        assert_eq!(of_firing(fires(10), &firing(10, 20)), Difference::Fires);
        assert_eq!(of_firing(fires(9), &firing(10, 20)), Difference::Fires, "its start moved back");
        assert_eq!(of_firing(fires(50), &firing(10, 20)), Difference::FiresAnew);
        assert_eq!(of_firing(fires(9_000), &firing(10, 20)), Difference::Fires, "to come");
        let silenced = Some(listed(Standing::Suppressed, 10, 90));
        let suppressed = Difference::Suppressed("silence 5f2c".into());
        assert_eq!(of_firing(silenced, &firing(10, 20)), suppressed);
    }

    #[test]
    fn what_the_store_does_not_know_as_firing_fires_only_by_newer_news() {
        let since = |starts_at, updated_at, row: Option<AlertRow>| {
            let alert = listed(Standing::Firing, starts_at, updated_at);
            let since = answered(None, true).fires_since(&alert, row.as_ref(), false);
            since.map(Timestamp::as_second)
        };
        assert_eq!(since(10, 90, None), Some(10));
        assert_eq!(since(50, 90, Some(resolved(10, 40, 45))), Some(50), "a new episode");
        assert_eq!(since(10, 90, Some(resolved(10, 40, 45))), Some(100), "heard of after its end");
        assert_eq!(since(10, 30, Some(resolved(10, 40, 45))), None, "its end was missed there");
        assert_eq!(since(10, 90, Some(resolved(10, 40, 100))), None, "reported since");
        assert_eq!(since(10, 90, Some(firing(10, 20))), None, "its incident was closed");
        assert_eq!(since(50, 90, Some(firing(10, 20))), Some(50));
    }

    #[test]
    fn an_alert_whose_silence_is_over_fires_as_before() {
        let alert = listed(Standing::Firing, 9, 90);
        let since = answered(None, true).fires_since(&alert, Some(&firing(10, 20)), true);
        assert_eq!(since, Some(at(10)));
    }
}
