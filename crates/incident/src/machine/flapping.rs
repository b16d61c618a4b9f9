//! Alerts that flap: one that changes `flap_changes` times within `flap_window_seconds` counts as
//! firing until it has not changed for `flap_quiet_seconds`. Its changes are kept, and told once at the
//! beginning and once at the end; no round is used up. There is no timer: every event looks first at what has become quiet,
//! and every phase that is not over has a deadline, which is such an event.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{ACTOR, Effect, Limits, Step};
use crate::{Alert, EntryKind, Phase, ResolvedBy, TimelineEntry, TrackedAlert};

/// Changes of an alert that are remembered at most, and so the greatest `flap_changes`.
pub const FLAP_CHANGES_MOST: u32 = 64;

impl TrackedAlert {
    /// Keeps the time of a change; true when the alert flaps from this one on.
    pub(super) fn has_changed(&mut self, now: Timestamp, limits: &Limits) -> bool {
        let most = usize::try_from(limits.flap_changes.min(FLAP_CHANGES_MOST)).unwrap_or(0);
        if most == 0 {
            return false;
        }
        self.changes.push(now);
        self.changes.drain(..self.changes.len().saturating_sub(most));
        let is_often = self.changes.len() == most
            && self.changes.first().is_some_and(|first| {
                now.duration_since(*first) <= seconds(limits.flap_window_seconds)
            });
        let begins = is_often && !self.is_flapping;
        self.is_flapping |= is_often;
        begins
    }

    fn is_quiet(&self, now: Timestamp, limits: &Limits) -> bool {
        let last = self.changes.last();
        limits.flap_changes == 0
            || last
                .is_none_or(|last| now.duration_since(*last) >= seconds(limits.flap_quiet_seconds))
    }
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
            if tracked.is_flapping && tracked.is_quiet(self.now, self.limits) {
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
        if calmed.iter().any(|alert| !alert.is_firing()) {
            self.alert_gone();
        }
        !calmed.is_empty()
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
