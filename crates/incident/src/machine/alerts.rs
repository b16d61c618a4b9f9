//! What reports of alerts do to an incident: it begins, is over, begins anew, or is silenced. Reports
//! come late, twice and out of order; only what is news counts.

use std::collections::BTreeSet;

use serde_json::json;

use super::{ACTOR, Effect, Step};
use crate::{
    Alert, EntryKind, OtherAlerts, Phase, ResolvedBy, Severity, TimelineEntry, TrackedAlert,
};

/// Characters kept of what silences an alert: hostile text.
const BY_CHARS: usize = 200;
/// Silences named in a reason.
const NAMED: usize = 5;

/// What a report says that was not known.
enum News {
    None,
    /// The same episode is worse than anything the incident has.
    Raised,
    /// It fires, or has ended.
    Changed,
    /// The same, once too often.
    FlappingBegins,
    /// A change of an alert that flaps: kept, and nothing else.
    Flip,
}

impl Step<'_> {
    pub(super) fn alert_reported(&mut self, alert: Alert) {
        match self.track(&alert) {
            News::None => return,
            News::Raised => return self.raise(alert.severity),
            News::Flip => {
                self.incident.severity = self.incident.severity.max(alert.severity);
                return;
            }
            News::Changed => self.record_alert(&alert),
            News::FlappingBegins => self.flapping_began(&alert),
        }
        if alert.is_firing() {
            self.fired(alert.severity)
        } else {
            self.alert_gone()
        }
        if self.incident.phase.is_final() {
            self.forget_flapping();
        }
    }

    fn record_alert(&mut self, alert: &Alert) {
        let (kind, verb) = match alert.is_firing() {
            true => (EntryKind::AlertFired, "fires"),
            false => (EntryKind::AlertResolved, "is resolved at its source"),
        };
        let summary = format!("alert {} {verb} ({})", alert.name, alert.source);
        let entry = TimelineEntry::new(self.now, &alert.source, kind, summary)
            .with_detail(json!({"fingerprint": alert.fingerprint, "starts_at": alert.starts_at,
                "ends_at": alert.ends_at, "labels": alert.labels, "annotations": alert.annotations}));
        self.effects.push(Effect::Record(entry));
    }

    pub(super) fn others_reported(
        &mut self,
        new: u64,
        fired: u64,
        resolved: u64,
        severity: Severity,
    ) {
        let others = &mut self.incident.others;
        let before = others.clone();
        others.total = others.total.saturating_add(new);
        others.firing = others.firing.saturating_add(fired).saturating_sub(resolved);
        others.reported_at = Some(self.now);
        let is_any_firing = others.firing > 0;
        let came_and_went = !is_any_firing && fired > 0 && resolved > 0;
        let is_change = is_any_firing != (before.firing > 0) || came_and_went;
        let begins = is_change && others.have_changed(self.now, self.limits);
        if is_change && before.is_flapping {
            self.incident.severity = self.incident.severity.max(severity);
            return;
        }
        // A source that still reports alerts of an incident that is over contradicts that.
        let contradicts = is_any_firing && resolved == 0 && self.incident.phase.is_final();
        if fired == 0 && resolved == 0 && !contradicts {
            if is_any_firing && severity > self.incident.severity {
                self.raise(severity);
            }
            return;
        }
        if begins {
            self.others_flapping_began();
        } else if contradicts || is_worth_telling(&before, &self.incident.others) {
            self.tell_of_others(fired, resolved, contradicts && fired == 0);
        }
        if is_any_firing && (fired > 0 || contradicts) {
            self.fired(severity);
        } else {
            self.alert_gone();
        }
        if self.incident.phase.is_final() {
            self.forget_flapping();
        }
    }

    fn tell_of_others(&mut self, fired: u64, resolved: u64, still_fire: bool) {
        let kind = if fired > 0 { EntryKind::AlertFired } else { EntryKind::AlertResolved };
        let (total, firing) = (self.incident.others.total, self.incident.others.firing);
        let (kind, summary) = match still_fire {
            true => (EntryKind::AlertFired, "other alerts still fire".to_owned()),
            false => (kind, format!("{firing} of {total} other alerts fire")),
        };
        let detail =
            json!({"fired": fired, "resolved": resolved, "total": total, "firing": firing});
        self.effects.push(Effect::Record(
            TimelineEntry::new(self.now, ACTOR, kind, summary).with_detail(detail),
        ));
    }

    /// Takes the report into the list of alerts.
    fn track(&mut self, alert: &Alert) -> News {
        let known = self.incident.alerts.iter_mut().find(|tracked| {
            tracked.alert.source == alert.source && tracked.alert.fingerprint == alert.fingerprint
        });
        let Some(known) = known else {
            self.incident.alerts.push(TrackedAlert::new(alert.clone(), self.now));
            return News::Changed;
        };
        let (old, new) = (&known.alert, alert.in_episode_of(&known.alert));
        // Firing after resolved counts only for a newer episode; an older one is a late delivery.
        if new.is_late_after(old) {
            return News::None;
        }
        // A source that still reports an alert of an incident that is over contradicts that.
        let contradicts = new.is_firing() && self.incident.phase.is_final();
        let is_change = old.status != new.status || old.starts_at != new.starts_at;
        known.reported_at = self.now;
        known.alert = new.into_owned();
        known.suppressed_by = None;
        if !is_change {
            let is_worse = alert.is_firing() && alert.severity > self.incident.severity;
            return match (contradicts, is_worse) {
                (true, _) => News::Changed,
                (false, true) => News::Raised,
                (false, false) => News::None,
            };
        }
        let was_flapping = known.is_flapping;
        let begins = known.has_changed(self.now, self.limits);
        match (was_flapping, begins) {
            (true, _) => News::Flip,
            (false, true) => News::FlappingBegins,
            (false, false) => News::Changed,
        }
    }

    fn raise(&mut self, severity: Severity) {
        self.incident.severity = severity;
        let summary = match severity {
            Severity::Info => "an alert is worse now: info",
            Severity::Warning => "an alert is worse now: warning",
            Severity::Critical => "an alert is worse now: critical",
        };
        self.record(EntryKind::Note, summary);
        self.effects.push(Effect::SyncTicket);
    }

    fn fired(&mut self, severity: Severity) {
        self.incident.severity = self.incident.severity.max(severity);
        match &self.incident.phase {
            Phase::Open => self.start_round(),
            Phase::Resolved { .. } | Phase::Closed { .. } | Phase::Suppressed { .. } => {
                self.record(EntryKind::IncidentReopened, "the alert fires again: reopened");
                self.incident.spared += u32::from(self.may_be_flapping());
                self.incident.round += 1;
                self.start_round();
            }
            _ => {}
        }
    }

    pub(super) fn alert_gone(&mut self) {
        if self.incident.is_any_alert_firing() {
            return self.suppress_if_all_are();
        }
        match self.incident.phase.clone() {
            Phase::Open | Phase::Diagnosing | Phase::Planned | Phase::AwaitingApproval { .. } => {
                self.all_gone("every alert is gone before anything was done");
                self.effects.push(Effect::CancelResolution);
            }
            Phase::Resolved { by: ResolvedBy::Proof, .. } => {
                self.close(ResolvedBy::ProofAndSource, "proven, and gone at the source");
            }
            Phase::NeedsHuman { .. } if self.incident.is_storm => {
                self.all_gone("every alert of the storm is gone");
            }
            // A running step finishes and is verified; a person keeps what a person has.
            _ => {}
        }
    }

    fn all_gone(&mut self, why: &str) {
        self.record(EntryKind::Resolved, why);
        let resolved = Phase::Resolved { by: ResolvedBy::Source, at: self.now };
        self.enter(resolved, self.limits.quiet_seconds);
        self.effects.push(Effect::SyncTicket);
    }

    /// Takes what the source says of its silences; `None` when nothing of it is new.
    pub(super) fn alerts_suppressed(
        &mut self,
        source: &str,
        fingerprints: &[String],
        by: &str,
    ) -> Option<()> {
        let by: String = by.chars().take(BY_CHARS).collect();
        let of_source = |tracked: &&mut TrackedAlert| {
            tracked.alert.source == source
                && fingerprints.contains(&tracked.alert.fingerprint)
                && tracked.counts_as_firing()
                && tracked.suppressed_by.is_none()
        };
        let mut count = 0_usize;
        for tracked in self.incident.alerts.iter_mut().filter(of_source) {
            tracked.suppressed_by = Some(by.clone());
            count += 1;
        }
        if count == 0 {
            return None;
        }
        let summary = format!("{count} of its alerts are suppressed at {source}: {by}");
        self.record(EntryKind::Note, &summary);
        self.suppress_if_all_are();
        Some(())
    }

    /// Ends an incident all of whose firing alerts somebody has silenced, unless something was done.
    fn suppress_if_all_are(&mut self) {
        let is_before_acting = matches!(
            self.incident.phase,
            Phase::Open | Phase::Diagnosing | Phase::Planned | Phase::AwaitingApproval { .. }
        );
        let firing = || self.incident.alerts.iter().filter(|tracked| tracked.counts_as_firing());
        let is_any_heard =
            self.incident.others.counts_as_firing() || firing().any(|t| t.suppressed_by.is_none());
        if !is_before_acting || is_any_heard {
            return;
        }
        let by: BTreeSet<&str> = firing().filter_map(|t| t.suppressed_by.as_deref()).collect();
        let named: Vec<&str> = by.into_iter().take(NAMED).collect();
        let reason = format!("every alert is suppressed at its source: {}", named.join(", "));
        self.record(EntryKind::Suppressed, &reason);
        self.incident.silenced += u32::from(self.has_certainly_not_acted());
        self.incident.phase = Phase::Suppressed { reason, at: self.now };
        self.incident.deadline = None;
        self.forget_flapping();
        self.effects.extend([Effect::CancelResolution, Effect::SyncTicket]);
    }

    /// Whether no step of this round can be under way: a resolution that plans may have begun one before
    /// it is cancelled, and one that waits for a person has not.
    fn has_certainly_not_acted(&self) -> bool {
        let phase = &self.incident.phase;
        matches!(phase, Phase::Open | Phase::Diagnosing | Phase::AwaitingApproval { .. })
    }
}

/// Whether other alerts began or ceased to fire, or are twice as many: a storm is told of now and then,
/// not by each of its thousands.
fn is_worth_telling(before: &OtherAlerts, after: &OtherAlerts) -> bool {
    (before.firing == 0) != (after.firing == 0)
        || after.total.checked_ilog2() > before.total.checked_ilog2()
}
