//! An incident as it is stored: its alerts, where it stands, and what is known.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Alert, Brief, Diagnosis, IncidentId, IncidentKey, IncidentSummary, Outcome, Plan, Severity,
    TicketRef,
};

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
    pub alerts: Vec<TrackedAlert>,
    pub opened_at: Timestamp,
    /// Times the whole path was tried, from 1.
    pub round: u32,
    /// When the present phase ends by itself; every phase that is not final has one.
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

/// An alert of an incident with the times that matter to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackedAlert {
    pub alert: Alert,
    /// When the last firing or resolved report was accepted.
    pub reported_at: Timestamp,
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

/// Why a person is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct NeedsHuman {
    /// The phase in which it was given up.
    pub during: String,
    pub why: String,
}

impl Incident {
    pub fn is_any_alert_firing(&self) -> bool {
        self.alerts.iter().any(|tracked| tracked.alert.is_firing())
    }

    pub fn brief(&self) -> Brief {
        Brief {
            incident: IncidentSummary {
                id: self.id,
                title: self.title.clone(),
                description: self.description.clone(),
                severity: self.severity,
                affected_systems: self.affected_systems.clone(),
                tags: self.tags.clone(),
                opened_at: self.opened_at,
            },
            alerts: self.alerts.iter().map(|tracked| tracked.alert.clone()).collect(),
            timeline: Vec::new(),
        }
    }
}
