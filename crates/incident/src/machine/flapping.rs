//! Alerts that flap: one that changes `flap_changes` times within `flap_window_seconds` counts as
//! firing until it has not changed for `flap_quiet_seconds`. Its changes are kept, and told once at the
//! beginning and once at the end; no round is used up. There is no timer: every event looks first at what has become quiet,
//! and every phase that is not over has a deadline, which is such an event.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{ACTOR, Effect, Limits, Step};
use crate::{Alert, EntryKind, OtherAlerts, Phase, ResolvedBy, TimelineEntry, TrackedAlert};

/// Changes of an alert that are remembered at most, and so the greatest `flap_changes`.
pub const FLAP_CHANGES_MOST: u32 = 64;

impl TrackedAlert {
    /// Keeps the time of a change; true when the alert flaps from this one on.
    pub(super) fn has_changed(&mut self, now: Timestamp, limits: &Limits) -> bool {
        begins_to_flap(&mut self.changes, &mut self.is_flapping, now, limits)
    }
}

impl OtherAlerts {
    /// The same for all alerts that are only counted.
    pub(super) fn have_changed(&mut self, now: Timestamp, limits: &Limits) -> bool {
        begins_to_flap(&mut self.changes, &mut self.is_flapping, now, limits)
    }
}

fn begins_to_flap(
    changes: &mut Vec<Timestamp>,
    is_flapping: &mut bool,
    now: Timestamp,
    limits: &Limits,
) -> bool {
    let most = usize::try_from(limits.flap_changes.min(FLAP_CHANGES_MOST)).unwrap_or(0);
    if most == 0 {
        return false;
    }
    changes.push(now);
    changes.drain(..changes.len().saturating_sub(most));
    let is_often = changes.len() == most
        && changes
            .first()
            .is_some_and(|first| now.duration_since(*first) <= seconds(limits.flap_window_seconds));
    let begins = is_often && !*is_flapping;
    *is_flapping |= is_often;
    begins
}

fn are_quiet(changes: &[Timestamp], now: Timestamp, limits: &Limits) -> bool {
    let last = changes.last();
    limits.flap_changes == 0
        || last.is_none_or(|last| now.duration_since(*last) >= seconds(limits.flap_quiet_seconds))
}

impl Step<'_> {
    pub(super) fn flapping_began(&mut self, alert: &Alert) {
        let Limits { flap_changes, flap_window_seconds, flap_quiet_seconds, .. } = self.limits;
        let summary = format!(
            "alert {} flaps ({}): {flap_changes} changes within {flap_window_seconds} s; it counts as \
             firing until it has not changed for {flap_quiet_seconds} s",
            alert.name, alert.source
        );
        self.record_flapping(EntryKind::FlappingBegan, summary, alert);
    }

    /// Ends the flapping of alerts that have become quiet; true when there were any.
    pub(super) fn end_flapping(&mut self) -> bool {
        let mut calmed = Vec::new();
        for tracked in &mut self.incident.alerts {
            if tracked.is_flapping && are_quiet(&tracked.changes, self.now, self.limits) {
                tracked.is_flapping = false;
                tracked.changes.clear();
                calmed.push(tracked.alert.clone());
            }
        }
        for alert in &calmed {
            let state = if alert.is_firing() { "fires" } else { "is resolved" };
            let summary = format!(
                "alert {} flaps no more ({}): it {state}, without a change for {} s",
                alert.name, alert.source, self.limits.flap_quiet_seconds
            );
            self.record_flapping(EntryKind::FlappingEnded, summary, alert);
        }
        let are_others_calmed = self.end_flapping_of_others();
        let has_one_ended = calmed.iter().any(|alert| !alert.is_firing());
        if has_one_ended || (are_others_calmed && self.incident.others.firing == 0) {
            self.alert_gone();
        }
        !calmed.is_empty() || are_others_calmed
    }

    fn end_flapping_of_others(&mut self) -> bool {
        let others = &mut self.incident.others;
        if !others.is_flapping || !are_quiet(&others.changes, self.now, self.limits) {
            return false;
        }
        others.is_flapping = false;
        others.changes.clear();
        let quiet = self.limits.flap_quiet_seconds;
        let (firing, total) = (others.firing, others.total);
        let summary = format!(
            "other alerts flap no more: {firing} of {total} fire, without a change for {quiet} s"
        );
        self.record_others_flapping(EntryKind::FlappingEnded, summary);
        true
    }

    pub(super) fn others_flapping_began(&mut self) {
        let Limits { flap_changes, flap_window_seconds, flap_quiet_seconds, .. } = self.limits;
        let summary = format!(
            "other alerts flap: {flap_changes} times within {flap_window_seconds} s the first of them \
             fired or the last one ended; they count as firing until that has not happened for \
             {flap_quiet_seconds} s"
        );
        self.record_others_flapping(EntryKind::FlappingBegan, summary);
    }

    fn record_others_flapping(&mut self, kind: EntryKind, summary: String) {
        let (total, firing) = (self.incident.others.total, self.incident.others.firing);
        let detail = json!({"total": total, "firing": firing});
        let entry = TimelineEntry::new(self.now, ACTOR, kind, summary).with_detail(detail);
        self.effects.push(Effect::Record(entry));
    }

    /// Whether a round that ended by itself may turn out to be one flip of many: a few of them do not
    /// count, as flapping is known only after its last change.
    pub(super) fn may_be_flapping(&self) -> bool {
        let is_soon = match self.incident.phase {
            Phase::Resolved { by: ResolvedBy::Source, at } => {
                self.now.duration_since(at) <= seconds(self.limits.flap_window_seconds)
            }
            _ => false,
        };
        is_soon && self.incident.spared < self.limits.flap_changes / 2
    }

    /// An incident that is over begins anew with the next report that fires, flapping or not.
    pub(super) fn forget_flapping(&mut self) {
        self.incident.alerts.iter_mut().for_each(|tracked| tracked.is_flapping = false);
        self.incident.others.is_flapping = false;
    }

    fn record_flapping(&mut self, kind: EntryKind, summary: String, alert: &Alert) {
        let detail = json!({"fingerprint": alert.fingerprint, "status": alert.status});
        let entry = TimelineEntry::new(self.now, ACTOR, kind, summary).with_detail(detail);
        self.effects.push(Effect::Record(entry));
    }
}

fn seconds(count: u64) -> SignedDuration {
    SignedDuration::try_from(Duration::from_secs(count)).unwrap_or(SignedDuration::MAX)
}
