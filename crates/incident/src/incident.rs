//! An incident as it is stored: its alerts, where it stands, and what is known.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Alert, Brief, Diagnosis, IncidentId, IncidentKey, IncidentSummary, Limits, Outcome, Plan,
    Severity, TicketRef,
};

/// Bytes of alerts in a brief, and characters of one text in it.
const BRIEF_BYTES: usize = 512 << 10;
const BRIEF_TEXT_CHARS: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    pub id: IncidentId,
    pub key: IncidentKey,
    pub title: String,
    pub description: String,
    pub severity: Severity,
    pub affected_systems: Vec<String>,
    pub tags: Vec<String>,
    pub phase: Phase,
    /// The first of its alerts, up to `ALERTS_KEPT`; the store has all of them.
    pub alerts: Vec<TrackedAlert>,
    /// Those that are not in `alerts`.
    #[serde(default)]
    pub others: OtherAlerts,
    /// Whether the source of its alerts proves who it is. Without that nothing acts by itself.
    #[serde(default = "yes")]
    pub is_authenticated: bool,
    /// It takes the alerts of a storm: a person has it, whatever its cause.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_storm: bool,
    pub opened_at: Timestamp,
    /// Times the whole path was tried, from 1.
    pub round: u32,
    /// Rounds that do not count, as the alert came and went before anything was done.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spared: u32,
    /// Rounds that do not count, as every alert was silenced while certainly nothing was done.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub silenced: u32,
    /// When the present phase ends by itself, or is reminded of; every phase that is not final has
    /// one.
    pub deadline: Option<Timestamp>,
    #[serde(default)]
    pub diagnosis: Option<Diagnosis>,
    #[serde(default)]
    pub plan: Option<Plan>,
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// The resolution agent's task of this round.
    #[serde(default)]
    pub resolution_task: Option<String>,
    /// Entries of that task's progress that are in the timeline.
    #[serde(default)]
    pub progress_seen: usize,
    #[serde(default)]
    pub ticket: Option<TicketRef>,
    /// The closed incident with the same key that this one follows.
    #[serde(default)]
    pub follows: Option<IncidentId>,
}

/// Alerts that an incident keeps whole; of more it knows how many there are.
pub const ALERTS_KEPT: usize = 25;

/// Alerts that the incident of a storm keeps whole: it is written with every batch of thousands.
pub const STORM_ALERTS_KEPT: usize = 8;

/// Alerts that an incident knows the number of. They flap together: what comes and goes is that any of
/// them fires.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherAlerts {
    pub total: u64,
    pub firing: u64,
    /// When the last report of them was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<Timestamp>,
    /// When the first of them last began to fire and the last one ended, as `TrackedAlert::changes`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Timestamp>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_flapping: bool,
}

impl OtherAlerts {
    pub fn counts_as_firing(&self) -> bool {
        self.firing > 0 || self.is_flapping
    }

    fn has_fired_since(&self, at: Timestamp) -> bool {
        let fired_at = match self.firing {
            0 => before_last(&self.changes),
            _ => self.reported_at,
        };
        self.counts_as_firing() && fired_at.is_some_and(|fired_at| fired_at > at)
    }
}

/// When what has ended began to fire: its last change was its end.
fn before_last(changes: &[Timestamp]) -> Option<Timestamp> {
    changes.iter().rev().nth(1).copied()
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// An alert of an incident with the times that matter to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackedAlert {
    pub alert: Alert,
    /// When the last firing or resolved report was accepted.
    pub reported_at: Timestamp,
    /// When it last changed between firing and resolved, oldest first; no more than flapping needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Timestamp>,
    /// It changes so often that it counts as firing, whatever its last report says.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_flapping: bool,
    /// What silences or inhibits it at its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed_by: Option<String>,
}

impl TrackedAlert {
    pub fn new(alert: Alert, now: Timestamp) -> Self {
        Self {
            alert,
            reported_at: now,
            changes: Vec::new(),
            is_flapping: false,
            suppressed_by: None,
        }
    }

    pub fn counts_as_firing(&self) -> bool {
        self.alert.is_firing() || self.is_flapping
    }

    /// Whether it was said to fire after a time, and counts as firing still.
    fn has_fired_since(&self, at: Timestamp) -> bool {
        let fired_at = match self.alert.is_firing() {
            true => Some(self.reported_at),
            false => before_last(&self.changes),
        };
        self.counts_as_firing() && fired_at.is_some_and(|fired_at| fired_at > at)
    }
}

/// Where an incident stands. Data that a phase alone has stands in its variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Phase {
    Open,
    Diagnosing,
    /// Diagnosed; the resolution agent plans and asks its gates.
    Planned,
    AwaitingApproval {
        plan_hash: String,
    },
    Remediating,
    Verifying,
    RollingBack,
    Resolved {
        by: ResolvedBy,
        at: Timestamp,
    },
    Closed {
        by: ResolvedBy,
        at: Timestamp,
    },
    NeedsHuman {
        reason: NeedsHuman,
        at: Timestamp,
        #[serde(default)]
        handoff: HandOff,
    },
    Suppressed {
        reason: String,
        at: Timestamp,
    },
}

impl Phase {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Diagnosing => "diagnosing",
            Self::Planned => "planned",
            Self::AwaitingApproval { .. } => "awaiting_approval",
            Self::Remediating => "remediating",
            Self::Verifying => "verifying",
            Self::RollingBack => "rolling_back",
            Self::Resolved { .. } => "resolved",
            Self::Closed { .. } => "closed",
            Self::NeedsHuman { .. } => "needs_human",
            Self::Suppressed { .. } => "suppressed",
        }
    }

    /// Final phases need no owner, deadline or next step.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Closed { .. } | Self::Suppressed { .. })
    }

    /// Who moves the incident on, and how. `None`: it is over.
    pub fn next_step(&self) -> Option<NextStep> {
        let (owner, step) = match self {
            Self::Open => ("ingress", "start the diagnosis"),
            Self::Diagnosing => ("diagnostic-agent", "find the cause"),
            Self::Planned => ("resolution-agent", "choose a runbook and ask its gates"),
            Self::AwaitingApproval { .. } => ("a person", "approve the plan or refuse it"),
            Self::Remediating => ("resolution-agent", "finish the steps"),
            Self::Verifying => ("resolution-agent", "prove that the fix worked"),
            Self::RollingBack => ("resolution-agent", "undo the steps, and verify that"),
            Self::Resolved { .. } => ("ingress", "close it when its source is quiet"),
            Self::NeedsHuman { handoff: HandOff::Delivered, .. } => ("a person", "see the ticket"),
            Self::NeedsHuman { .. } => ("ticketing-agent", "tell a person by the ticket"),
            Self::Closed { .. } | Self::Suppressed { .. } => return None,
        };
        Some(NextStep { owner, step })
    }

    /// The resolution agent is at work, or about to be.
    pub fn is_resolving(&self) -> bool {
        matches!(
            self,
            Self::Planned
                | Self::AwaitingApproval { .. }
                | Self::Remediating
                | Self::Verifying
                | Self::RollingBack
        )
    }
}

/// What shows that the fault is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolvedBy {
    /// Our own check held on fresh samples.
    Proof,
    /// The alert is gone from its source; nothing was done by us.
    Source,
    /// Both our check and the source.
    ProofAndSource,
    /// A person said so.
    Person,
}

/// Who moves an incident on, and how; when it is too late for that, its deadline says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NextStep {
    pub owner: &'static str,
    pub step: &'static str,
}

/// Whether the ticket says that a person is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandOff {
    /// The ticketing agent is being told.
    #[default]
    Pending,
    Delivered,
    /// It could not be told; it is tried again now and then.
    Failed,
}

/// Why a person is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct NeedsHuman {
    /// The phase in which it was given up.
    pub during: String,
    pub why: String,
}

/// What a new incident is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    pub id: IncidentId,
    pub key: IncidentKey,
    pub title: String,
    pub description: String,
    pub severity: Severity,
    pub affected_systems: Vec<String>,
    pub tags: Vec<String>,
    pub follows: Option<IncidentId>,
    pub is_authenticated: bool,
}

impl Incident {
    /// An incident without an alert yet. The first one starts its diagnosis; one that has none by its
    /// deadline goes to a person.
    pub fn open(opening: Opening, now: Timestamp, limits: &Limits) -> Self {
        let until = now.checked_add(Duration::from_secs(limits.diagnosis_seconds));
        Self {
            id: opening.id,
            key: opening.key,
            title: opening.title,
            description: opening.description,
            severity: opening.severity,
            affected_systems: opening.affected_systems,
            tags: opening.tags,
            phase: Phase::Open,
            alerts: Vec::new(),
            others: OtherAlerts::default(),
            is_authenticated: opening.is_authenticated,
            is_storm: false,
            opened_at: now,
            round: 1,
            spared: 0,
            silenced: 0,
            deadline: Some(until.unwrap_or(Timestamp::MAX)),
            diagnosis: None,
            plan: None,
            outcome: None,
            resolution_task: None,
            progress_seen: 0,
            ticket: None,
            follows: opening.follows,
        }
    }

    /// Rounds that count against the limit of them: those that may have acted, and the present one.
    pub fn counted_rounds(&self) -> u32 {
        self.round.saturating_sub(self.spared).saturating_sub(self.silenced)
    }

    pub fn is_any_alert_firing(&self) -> bool {
        self.others.counts_as_firing() || self.alerts.iter().any(TrackedAlert::counts_as_firing)
    }

    /// Whether its source says, after a time, that something fires.
    pub(crate) fn has_fired_since(&self, at: Timestamp) -> bool {
        self.others.has_fired_since(at)
            || self.alerts.iter().any(|tracked| tracked.has_fired_since(at))
    }

    /// What a peer is told. One incident can hold thousands of alerts, and an alert megabytes: those
    /// that fire come first, up to a bound, with their texts cut.
    pub fn brief(&self) -> Brief {
        let alerts = self.brief_alerts();
        let description = match self.left_out(alerts.len()) {
            Some(left_out) => format!("{}\n\n{left_out}", self.description),
            None => self.description.clone(),
        };
        Brief {
            incident: IncidentSummary {
                id: self.id,
                title: self.title.clone(),
                description,
                severity: self.severity,
                affected_systems: self.affected_systems.clone(),
                tags: self.tags.clone(),
                opened_at: self.opened_at,
            },
            alerts,
            timeline: Vec::new(),
        }
    }

    /// What is said of the alerts that a brief of so many leaves out.
    fn left_out(&self, told: usize) -> Option<String> {
        let kept = u64::try_from(self.alerts.len() - told).unwrap_or(u64::MAX);
        let other = self.others.total.saturating_add(kept);
        let firing = self.alerts.iter().filter(|tracked| tracked.alert.is_firing()).count();
        let firing = u64::try_from(firing.saturating_sub(told)).unwrap_or(u64::MAX);
        let firing = self.others.firing.saturating_add(firing);
        (other > 0).then(|| format!("{other} other alerts belong to it, {firing} of them firing."))
    }

    fn brief_alerts(&self) -> Vec<Alert> {
        let of = |is_firing: bool| {
            self.alerts.iter().filter(move |tracked| tracked.alert.is_firing() == is_firing)
        };
        let mut left = BRIEF_BYTES;
        let mut told = Vec::new();
        for tracked in of(true).chain(of(false)) {
            let alert = tracked.alert.bounded(BRIEF_TEXT_CHARS);
            let bytes = alert.text_bytes();
            if bytes > left && !told.is_empty() {
                break;
            }
            left = left.saturating_sub(bytes);
            told.push(alert);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AlertStatus;

    fn tracked(number: usize, status: AlertStatus, text: &str) -> TrackedAlert {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let alert = Alert {
            source: "alertmanager".into(),
            fingerprint: number.to_string(),
            status,
            name: "A".into(),
            severity: Severity::Warning,
            labels: [("server".to_owned(), "db-1".to_owned())].into(),
            annotations: [("text".to_owned(), text.to_owned())].into(),
            starts_at: now,
            is_start_known: true,
            ends_at: None,
            generator_url: String::new(),
        };
        TrackedAlert::new(alert, now)
    }

    #[test]
    fn a_brief_is_bounded_and_tells_of_what_fires_first() {
        let long = "é".repeat(60_000);
        let mut incident = crate::machine::tests::opened();
        incident.alerts = vec![tracked(0, AlertStatus::Resolved, "")];
        incident.alerts.extend((1..4_000).map(|n| tracked(n, AlertStatus::Firing, &long)));
        let alerts = incident.brief().alerts;
        assert!(alerts.len() > 100 && alerts.iter().all(Alert::is_firing), "{}", alerts.len());
        assert!(alerts.iter().map(Alert::text_bytes).sum::<usize>() <= BRIEF_BYTES);
        assert_eq!(alerts[0].label("server"), Some("db-1"));
        incident.alerts.truncate(2);
        let names: Vec<String> =
            incident.brief().alerts.into_iter().map(|alert| alert.fingerprint).collect();
        assert_eq!(names, ["1", "0"]);
    }
}
