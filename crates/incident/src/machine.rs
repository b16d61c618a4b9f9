//! The one place that decides what happens to an incident. An event and the time go in; the phase
//! changes and effects come out. It performs nothing, and an event that comes late, twice or out
//! of order changes nothing it should not.

mod alerts;
mod flapping;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Alert, Diagnosis, EntryKind, HandOff, Incident, IncidentId, NeedsHuman, Outcome, OutcomeResult,
    Phase, Plan, ResolvedBy, Severity, TicketRef, TimelineEntry,
};

pub use flapping::FLAP_CHANGES_MOST;

/// The actor of entries that the machine itself writes.
const ACTOR: &str = "ingress";

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A report of one alert, firing or resolved.
    AlertReported(Alert),
    /// Reports, each of them news, of alerts that the incident does not keep whole: how many of them
    /// it had not, how many began to fire, and how many ended. With all three 0: they are reported
    /// again as they are known, which matters to an incident that was thought to be over.
    OthersReported {
        new: u64,
        fired: u64,
        resolved: u64,
        severity: Severity,
    },
    /// Alerts that fire are silenced or inhibited at their source. A report of one that fires says
    /// that it is not any more.
    AlertsSuppressed {
        source: String,
        fingerprints: Vec<String>,
        /// What does it, such as `silence 5f2c`.
        by: String,
    },
    /// So many incidents open at a time that this one takes what would open more: the first event of
    /// such an incident.
    StormBegan {
        why: String,
    },
    /// What a storm has grown to.
    StormCounted {
        title: String,
        description: String,
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
    /// Changes of an alert between firing and resolved, within `flap_window_seconds`, that make it one
    /// that flaps: it counts as firing until it has kept still. 0: never.
    pub flap_changes: u32,
    pub flap_window_seconds: u64,
    /// Seconds without a change after which an alert flaps no more.
    pub flap_quiet_seconds: u64,
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
            flap_changes: 6,
            flap_window_seconds: 600,
            flap_quiet_seconds: 300,
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
            Self::AlertsSuppressed { .. } => "alerts_suppressed",
            Self::StormBegan { .. } => "storm_began",
            Self::StormCounted { .. } => "storm_counted",
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
        let is_calmed = step.end_flapping();
        // What has become quiet may have moved the incident on: then its old deadline means nothing.
        let is_overtaken = is_calmed
            && event == Event::DeadlineReached
            && step.incident.deadline.is_none_or(|deadline| deadline > now);
        if is_overtaken {
            return Ok(step.effects);
        }
        match step.take(event) {
            Err(error) if !is_calmed => Err(error),
            _ => Ok(step.effects),
        }
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
            (_, Event::AlertsSuppressed { source, fingerprints, by }) => {
                return self.alerts_suppressed(&source, &fingerprints, &by).ok_or(error);
            }
            (Phase::Open, Event::StormBegan { why }) => {
                self.incident.is_storm = true;
                self.hand_over(&why);
            }
            (_, Event::StormCounted { title, description }) if self.incident.is_storm => {
                return self.storm_counted(title, description).ok_or(error);
            }
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

    fn start_round(&mut self) {
        if self.incident.is_storm {
            return self.hand_over("alerts of the storm fire again");
        }
        if self.incident.counted_rounds() > self.limits.rounds {
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
        if has_cause && !self.incident.is_authenticated {
            self.hand_over(&format!("{}; found: {summary}", self.unproven()));
        } else if has_cause {
            self.enter(Phase::Planned, self.limits.resolution_seconds);
            self.effects.extend([Effect::Resolve, Effect::SyncTicket]);
        } else {
            self.hand_over(&format!("no cause found: {summary}"));
        }
    }

    /// Why an incident whose source may be anybody is left to a person.
    fn unproven(&self) -> String {
        let source = self.incident.alerts.first().map_or("", |tracked| &tracked.alert.source);
        format!("the source {source} does not prove who it is, so nothing acts by itself")
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
                if self.incident.has_fired_since(at) {
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

    fn storm_counted(&mut self, title: String, description: String) -> Option<()> {
        if self.incident.title == title && self.incident.description == description {
            return None;
        }
        self.record(EntryKind::Note, &title);
        (self.incident.title, self.incident.description) = (title, description);
        self.effects.push(Effect::SyncTicket);
        Some(())
    }

    fn close(&mut self, by: ResolvedBy, why: &str) {
        self.forget_flapping();
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
