//! The one place that decides what happens to an incident. An event and the time go in; the phase
//! changes and effects come out. It performs nothing, and an event that comes late, twice or out
//! of order changes nothing it should not.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Alert, Diagnosis, EntryKind, HandOff, Incident, IncidentId, NeedsHuman, Outcome, OutcomeResult,
    Phase, Plan, ResolvedBy, Severity, TicketRef, TimelineEntry, TrackedAlert,
};

/// The actor of entries that the machine itself writes.
const ACTOR: &str = "ingress";

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A report of one alert, firing or resolved.
    AlertReported(Alert),
    /// Reports, each of them news, of alerts that the incident does not keep whole: how many of them
    /// it had not, how many began to fire, and how many ended.
    OthersReported {
        new: u64,
        fired: u64,
        resolved: u64,
        severity: Severity,
    },
    DiagnosisReady(Diagnosis),
    /// The resolution agent took the plan as this task.
    ResolutionAccepted {
        task_id: String,
    },
    /// Something the resolution agent did: entry `index` of its progress, from 0.
    Progressed {
        index: usize,
        entry: TimelineEntry,
    },
    PlanReady(Plan),
    ApprovalAsked {
        plan_hash: String,
    },
    Concluded(Outcome),
    /// An agent could not do its part, for good.
    AgentFailed {
        agent: String,
        why: String,
    },
    TicketSynced {
        ticket: TicketRef,
        /// The hand-over that the ticket was told of: `at` of `needs_human`.
        handed_over_at: Option<Timestamp>,
    },
    /// The ticket could not be told, for now.
    TicketFailed {
        why: String,
    },
    /// A person has an effect performed again that was given up.
    EffectReplayed {
        kind: String,
        by: String,
    },
    /// The time of `Incident::deadline` has come.
    DeadlineReached,
    /// A person takes the incident to its end.
    ClosedByPerson {
        by: String,
        why: String,
    },
}

/// What must be done now. Performed at least once; each is safe to repeat.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Record(TimelineEntry),
    Diagnose,
    Resolve,
    CancelResolution,
    SyncTicket,
}

/// Times and counts that bound every phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Seconds a diagnosis may take.
    pub diagnosis_seconds: u64,
    /// Seconds planning, acting, verifying and undoing may take together.
    pub resolution_seconds: u64,
    /// Seconds a person has to approve; then it counts as a no.
    pub approval_seconds: u64,
    /// Seconds of quiet after a proof that close an incident whose source has not said `resolved`.
    pub quiet_seconds: u64,
    /// Seconds after closing in which the same alert reopens the incident.
    pub reopen_seconds: u64,
    /// Seconds a person has before a hand-over is repeated on the ticket.
    pub reminder_seconds: u64,
    /// Rounds after which the same incident goes to a person.
    pub rounds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            diagnosis_seconds: 60,
            resolution_seconds: 900,
            approval_seconds: 1800,
            quiet_seconds: 600,
            reopen_seconds: 900,
            reminder_seconds: 14_400,
            rounds: 2,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id} in phase {phase} does not take {event}")]
pub struct TransitionError {
    id: IncidentId,
    phase: &'static str,
    event: &'static str,
}

impl Event {
    pub fn name(&self) -> &'static str {
        match self {
            Self::AlertReported(_) => "alert_reported",
            Self::OthersReported { .. } => "others_reported",
            Self::DiagnosisReady(_) => "diagnosis_ready",
            Self::ResolutionAccepted { .. } => "resolution_accepted",
            Self::Progressed { .. } => "progressed",
            Self::PlanReady(_) => "plan_ready",
            Self::ApprovalAsked { .. } => "approval_asked",
            Self::Concluded(_) => "concluded",
            Self::AgentFailed { .. } => "agent_failed",
            Self::TicketSynced { .. } => "ticket_synced",
            Self::TicketFailed { .. } => "ticket_failed",
            Self::EffectReplayed { .. } => "effect_replayed",
            Self::DeadlineReached => "deadline_reached",
            Self::ClosedByPerson { .. } => "closed_by_person",
        }
    }
}

impl Incident {
    /// Takes one event at `now` and returns what must be done.
    ///
    /// # Errors
    /// An event that has no meaning in the present phase: a late or repeated answer. The incident is
    /// unchanged, and the caller may drop the event.
    pub fn handle(
        &mut self,
        event: Event,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<Vec<Effect>, TransitionError> {
        let mut step = Step { incident: self, now, limits, effects: Vec::new() };
        step.take(event)?;
        Ok(step.effects)
    }
}

/// One event being handled.
struct Step<'a> {
    incident: &'a mut Incident,
    now: Timestamp,
    limits: &'a Limits,
    effects: Vec<Effect>,
}

impl Step<'_> {
    fn take(&mut self, event: Event) -> Result<(), TransitionError> {
        let error = TransitionError {
            id: self.incident.id,
            phase: self.incident.phase.name(),
            event: event.name(),
        };
        match (&self.incident.phase, event) {
            (_, Event::AlertReported(alert)) => self.alert_reported(alert),
            (_, Event::OthersReported { new, fired, resolved, severity }) => {
                self.others_reported(new, fired, resolved, severity);
            }
            (_, Event::TicketSynced { ticket, handed_over_at }) => {
                self.ticket_synced(ticket, handed_over_at);
            }
            (_, Event::EffectReplayed { kind, by }) => self.effect_replayed(&kind, &by),
            (Phase::Closed { .. } | Phase::Suppressed { .. }, _) => return Err(error),
            (_, Event::ClosedByPerson { by, why }) => self.closed_by_person(&by, &why),
            (_, Event::DeadlineReached) => self.deadline_reached(),
            (Phase::NeedsHuman { handoff: HandOff::Pending, .. }, Event::TicketFailed { why }) => {
                self.hand_off_failed(&why);
            }
            (Phase::Diagnosing, Event::DiagnosisReady(diagnosis)) => self.diagnosed(diagnosis),
            (Phase::Diagnosing, Event::AgentFailed { agent, why }) => {
                self.hand_over(&format!("{agent} failed: {why}"));
            }
            (phase, Event::AgentFailed { agent, why }) if phase.is_resolving() => {
                // Its answer cannot be used; what it was told to do may go on all the same.
                self.effects.push(Effect::CancelResolution);
                self.hand_over(&format!("{agent} failed: {why}"));
            }
            (Phase::Planned, Event::PlanReady(plan)) => self.incident.plan = Some(plan),
            (Phase::Planned, Event::ApprovalAsked { plan_hash }) => {
                self.enter(Phase::AwaitingApproval { plan_hash }, self.limits.approval_seconds);
                self.effects.push(Effect::SyncTicket);
            }
            (phase, Event::ResolutionAccepted { task_id }) if phase.is_resolving() => {
                self.resolution_accepted(task_id);
            }
            (phase, Event::Progressed { index, entry })
                if phase.is_resolving() && index == self.incident.progress_seen =>
            {
                self.incident.progress_seen += 1;
                self.progressed(entry);
            }
            (phase, Event::Concluded(outcome)) if phase.is_resolving() => self.concluded(outcome),
            (_, event) if self.is_winding_down() => return self.wound_down(event).ok_or(error),
            _ => return Err(error),
        }
        Ok(())
    }

    /// The incident has left its resolution behind, but that task has not said how it ended: what it
    /// did, or undid, still belongs in the timeline.
    fn is_winding_down(&self) -> bool {
        let is_left = matches!(
            self.incident.phase,
            Phase::NeedsHuman { .. } | Phase::Resolved { by: ResolvedBy::Source, .. }
        );
        is_left && self.incident.diagnosis.is_some() && self.incident.outcome.is_none()
    }

    /// Takes the rest of a resolution that was left behind; `None` when the event is not part of it.
    fn wound_down(&mut self, event: Event) -> Option<()> {
        match event {
            Event::ResolutionAccepted { task_id } => self.resolution_accepted(task_id),
            Event::Progressed { index, entry } if index == self.incident.progress_seen => {
                self.incident.progress_seen += 1;
                self.effects.push(Effect::Record(entry));
            }
            Event::Concluded(outcome) => {
                let (result, summary) = (outcome.result, outcome.summary.clone());
                self.record_outcome(outcome);
                let is_resolved = matches!(self.incident.phase, Phase::Resolved { .. });
                match result {
                    OutcomeResult::Proven if is_resolved => {
                        self.close(ResolvedBy::ProofAndSource, "proven, and gone at the source");
                    }
                    OutcomeResult::UndoFailed | OutcomeResult::StepFailed if is_resolved => {
                        self.hand_over(&summary);
                    }
                    _ => self.effects.push(Effect::SyncTicket),
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn alert_reported(&mut self, alert: Alert) {
        let is_news = self.track(&alert);
        if !is_news {
            return;
        }
        let (kind, verb) = match alert.is_firing() {
            true => (EntryKind::AlertFired, "fires"),
            false => (EntryKind::AlertResolved, "is resolved at its source"),
        };
        let summary = format!("alert {} {verb} ({})", alert.name, alert.source);
        let entry = TimelineEntry::new(self.now, &alert.source, kind, summary)
            .with_detail(json!({"fingerprint": alert.fingerprint, "starts_at": alert.starts_at,
                "ends_at": alert.ends_at, "labels": alert.labels, "annotations": alert.annotations}));
        self.effects.push(Effect::Record(entry));
        if alert.is_firing() { self.fired(alert.severity) } else { self.alert_gone() }
    }

    fn others_reported(&mut self, new: u64, fired: u64, resolved: u64, severity: Severity) {
        let others = &mut self.incident.others;
        others.total += new;
        others.firing = (others.firing + fired).saturating_sub(resolved);
        let kind = if fired > 0 { EntryKind::AlertFired } else { EntryKind::AlertResolved };
        let summary = format!("of the other alerts {fired} more fire, {resolved} are resolved");
        let detail = json!({"fired": fired, "resolved": resolved, "total": others.total,
            "firing": others.firing});
        self.effects.push(Effect::Record(
            TimelineEntry::new(self.now, ACTOR, kind, summary).with_detail(detail),
        ));
        if fired > 0 { self.fired(severity) } else { self.alert_gone() }
    }

    /// Takes the report into the list of alerts; false when it says nothing new.
    fn track(&mut self, alert: &Alert) -> bool {
        let known = self.incident.alerts.iter_mut().find(|tracked| {
            tracked.alert.source == alert.source && tracked.alert.fingerprint == alert.fingerprint
        });
        let Some(known) = known else {
            self.incident.alerts.push(TrackedAlert { alert: alert.clone(), reported_at: self.now });
            return true;
        };
        let (old, new) = (&known.alert, alert);
        // Firing after resolved counts only for a newer episode; an older one is a late delivery.
        // Sources may move the start of a running episode back: its end is known by when it ended.
        let ends_known_episode =
            !new.is_firing() && new.ends_at.is_some_and(|ends_at| ends_at > old.starts_at);
        let is_late = (new.starts_at < old.starts_at && !ends_known_episode)
            || (new.starts_at == old.starts_at && !old.is_firing() && new.is_firing());
        if is_late {
            return false;
        }
        // A source that still reports an alert of a closed incident contradicts the closing.
        let contradicts = new.is_firing() && matches!(self.incident.phase, Phase::Closed { .. });
        let is_news = old.status != new.status || old.starts_at != new.starts_at || contradicts;
        known.reported_at = self.now;
        known.alert = alert.clone();
        is_news
    }

    fn fired(&mut self, severity: Severity) {
        self.incident.severity = self.incident.severity.max(severity);
        match &self.incident.phase {
            Phase::Open => self.start_round(),
            Phase::Resolved { .. } | Phase::Closed { .. } => {
                self.record(EntryKind::IncidentReopened, "the alert fires again: reopened");
                self.incident.round += 1;
                self.start_round();
            }
            _ => {}
        }
    }

    fn alert_gone(&mut self) {
        if self.incident.is_any_alert_firing() {
            return;
        }
        match self.incident.phase.clone() {
            Phase::Open | Phase::Diagnosing | Phase::Planned | Phase::AwaitingApproval { .. } => {
                self.record(EntryKind::Resolved, "every alert is gone before anything was done");
                let resolved = Phase::Resolved { by: ResolvedBy::Source, at: self.now };
                self.enter(resolved, self.limits.quiet_seconds);
                self.effects.extend([Effect::CancelResolution, Effect::SyncTicket]);
            }
            Phase::Resolved { by: ResolvedBy::Proof, .. } => {
                self.close(ResolvedBy::ProofAndSource, "proven, and gone at the source");
            }
            // A running step finishes and is verified; a person keeps what a person has.
            _ => {}
        }
    }

    fn start_round(&mut self) {
        if self.incident.round > self.limits.rounds {
            let why = format!("the fault came back after {} rounds", self.limits.rounds);
            return self.hand_over(&why);
        }
        self.incident.diagnosis = None;
        self.incident.plan = None;
        self.incident.outcome = None;
        self.incident.resolution_task = None;
        self.incident.progress_seen = 0;
        self.enter(Phase::Diagnosing, self.limits.diagnosis_seconds);
        self.record(EntryKind::DiagnosisStarted, "diagnosis started");
        self.effects.extend([Effect::Diagnose, Effect::SyncTicket]);
    }

    fn diagnosed(&mut self, diagnosis: Diagnosis) {
        let detail = serde_json::to_value(&diagnosis).unwrap_or_default();
        let entry = TimelineEntry::new(
            self.now,
            "diagnostic-agent",
            EntryKind::Diagnosed,
            diagnosis.summary.clone(),
        );
        self.effects.push(Effect::Record(entry.with_detail(detail)));
        let has_cause = diagnosis.cause.is_some() && diagnosis.target.is_some();
        let summary = diagnosis.summary.clone();
        self.incident.diagnosis = Some(diagnosis);
        if has_cause {
            self.enter(Phase::Planned, self.limits.resolution_seconds);
            self.effects.extend([Effect::Resolve, Effect::SyncTicket]);
        } else {
            self.hand_over(&format!("no cause found: {summary}"));
        }
    }

    fn resolution_accepted(&mut self, task_id: String) {
        let known = self.incident.resolution_task.replace(task_id);
        if known.is_some() && known != self.incident.resolution_task {
            // Another task counts its progress from the start, and makes its own plan.
            self.incident.progress_seen = 0;
            self.incident.plan = None;
        }
    }

    fn progressed(&mut self, entry: TimelineEntry) {
        let is_waiting = matches!(self.incident.phase, Phase::AwaitingApproval { .. });
        let next = match entry.kind {
            EntryKind::Approved if is_waiting => Some(Phase::Planned),
            EntryKind::StepStarted if self.incident.phase != Phase::RollingBack => {
                Some(Phase::Remediating)
            }
            EntryKind::VerificationStarted if self.incident.phase != Phase::RollingBack => {
                Some(Phase::Verifying)
            }
            EntryKind::RollbackStarted => Some(Phase::RollingBack),
            _ => None,
        };
        if let Some(next) = next.filter(|next| *next != self.incident.phase) {
            // One deadline spans the whole resolution; the time a person took is not part of it.
            match is_waiting {
                true => self.enter(next, self.limits.resolution_seconds),
                false => self.incident.phase = next,
            }
            self.effects.push(Effect::SyncTicket);
        }
        self.effects.push(Effect::Record(entry));
    }

    fn concluded(&mut self, outcome: Outcome) {
        let (result, summary) = (outcome.result, outcome.summary.clone());
        self.record_outcome(outcome);
        if result != OutcomeResult::Proven {
            return self.hand_over(&summary);
        }
        self.record(EntryKind::Resolved, "the fix is proven on fresh samples");
        if self.incident.is_any_alert_firing() {
            let resolved = Phase::Resolved { by: ResolvedBy::Proof, at: self.now };
            self.enter(resolved, self.limits.quiet_seconds);
            self.effects.push(Effect::SyncTicket);
        } else {
            self.close(ResolvedBy::ProofAndSource, "proven, and gone at the source");
        }
    }

    fn record_outcome(&mut self, outcome: Outcome) {
        let detail = serde_json::to_value(&outcome).unwrap_or_default();
        let entry = TimelineEntry::new(
            outcome.finished_at,
            "resolution-agent",
            EntryKind::Concluded,
            outcome.summary.clone(),
        );
        self.effects.push(Effect::Record(entry.with_detail(detail)));
        self.incident.outcome = Some(outcome);
    }

    fn deadline_reached(&mut self) {
        match self.incident.phase.clone() {
            Phase::Resolved { by, at } => {
                let fired_since = self
                    .incident
                    .alerts
                    .iter()
                    .any(|tracked| tracked.alert.is_firing() && tracked.reported_at > at);
                if fired_since {
                    self.hand_over("the source still reports the alert after our proof");
                } else {
                    self.close(by, "quiet since it was resolved");
                }
            }
            Phase::AwaitingApproval { .. } => {
                self.effects.push(Effect::CancelResolution);
                self.hand_over("nobody approved in time; that counts as a no");
            }
            Phase::NeedsHuman { handoff, .. } => {
                self.record(EntryKind::Note, "still waiting for a person");
                if handoff == HandOff::Failed {
                    self.set_hand_off(HandOff::Pending);
                }
                self.incident.deadline = Some(self.after(self.limits.reminder_seconds));
                self.effects.push(Effect::SyncTicket);
            }
            phase => {
                self.effects.push(Effect::CancelResolution);
                self.hand_over(&format!("{} took longer than its deadline", phase.name()));
            }
        }
    }

    fn ticket_synced(&mut self, ticket: TicketRef, handed_over_at: Option<Timestamp>) {
        let before = self.incident.ticket.as_ref().map(|known| known.status.as_str());
        if before != Some(ticket.status.as_str()) {
            let summary = format!("ticket {} is {}", ticket.key, ticket.status);
            let entry =
                TimelineEntry::new(self.now, "ticketing-agent", EntryKind::TicketSynced, summary);
            self.effects.push(Effect::Record(entry.with_detail(json!({"url": ticket.url}))));
        }
        self.incident.ticket = Some(ticket);
        let is_asked = match &self.incident.phase {
            Phase::NeedsHuman { at, .. } => handed_over_at == Some(*at),
            _ => false,
        };
        if is_asked {
            self.set_hand_off(HandOff::Delivered);
        }
    }

    fn hand_off_failed(&mut self, why: &str) {
        self.record(EntryKind::Note, &format!("nobody could be told by the ticket yet: {why}"));
        self.set_hand_off(HandOff::Failed);
    }

    fn set_hand_off(&mut self, next: HandOff) {
        if let Phase::NeedsHuman { handoff, .. } = &mut self.incident.phase {
            *handoff = next;
        }
    }

    fn effect_replayed(&mut self, kind: &str, by: &str) {
        let summary = format!("{by} has {kind}, which was given up, performed again");
        let entry = TimelineEntry::new(self.now, by, EntryKind::Note, summary);
        self.effects.push(Effect::Record(entry));
    }

    fn closed_by_person(&mut self, by: &str, why: &str) {
        if self.incident.phase.is_resolving() {
            self.effects.push(Effect::CancelResolution);
        }
        self.close(ResolvedBy::Person, &format!("closed by {by}: {why}"));
    }

    fn close(&mut self, by: ResolvedBy, why: &str) {
        self.incident.phase = Phase::Closed { by, at: self.now };
        self.incident.deadline = None;
        self.record(EntryKind::Closed, &format!("closed: {why}"));
        self.effects.push(Effect::SyncTicket);
    }

    fn hand_over(&mut self, why: &str) {
        let during = self.incident.phase.name().to_owned();
        let reason = NeedsHuman { during, why: why.to_owned() };
        self.record(EntryKind::HandedOver, &format!("handed over to a person: {why}"));
        let phase = Phase::NeedsHuman { reason, at: self.now, handoff: HandOff::Pending };
        self.enter(phase, self.limits.reminder_seconds);
        self.effects.push(Effect::SyncTicket);
    }

    fn enter(&mut self, phase: Phase, seconds: u64) {
        self.incident.phase = phase;
        self.incident.deadline = Some(self.after(seconds));
    }

    fn after(&self, seconds: u64) -> Timestamp {
        self.now.checked_add(Duration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
    }

    fn record(&mut self, kind: EntryKind, summary: &str) {
        self.effects.push(Effect::Record(TimelineEntry::new(self.now, ACTOR, kind, summary)));
    }
}

#[cfg(test)]
pub(crate) mod tests;
