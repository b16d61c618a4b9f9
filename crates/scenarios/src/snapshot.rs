//! The world at one moment, as its programs tell it. What a program that is down would have told
//! is absent.

use std::fmt;

use incident::{EntryKind, Incident, TicketStatus, TimelineEntry};
use serde::Deserialize;

/// One incident with its timeline.
#[derive(Clone, Debug)]
pub struct Case {
    pub incident: Incident,
    pub timeline: Vec<TimelineEntry>,
}

/// A ticket of the built-in tracker.
#[derive(Clone, Debug, Deserialize)]
pub struct Ticket {
    pub key: String,
    pub incident: incident::IncidentId,
    pub status: TicketStatus,
}

#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Newest first; `None` while ingress does not answer.
    pub cases: Option<Vec<Case>>,
    /// Names of the faults that are at work.
    pub active_faults: Vec<String>,
    /// Faults that are over, with how they ended: `repaired`, `expired`, `deleted`.
    pub ended_faults: Vec<(String, String)>,
    /// Names of the alerts that Prometheus says are firing.
    pub firing_alerts: Vec<String>,
    pub tickets: Vec<Ticket>,
    /// Playbooks that deployment-system has begun and not ended.
    pub playbooks_running: usize,
    /// The configured size of the database's connection pool, which is what its playbook sets.
    pub pool_size: Option<u64>,
}

impl Snapshot {
    /// The one incident; `None` where there is none yet, or more than one.
    pub fn only_case(&self) -> Option<&Case> {
        match self.cases.as_deref() {
            Some([case]) => Some(case),
            _ => None,
        }
    }
}

impl Case {
    pub fn has(&self, kind: &EntryKind) -> bool {
        self.timeline.iter().any(|entry| entry.kind == *kind)
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "faults: active {:?}, ended {:?}", self.active_faults, self.ended_faults)?;
        writeln!(f, "alerts firing: {:?}", self.firing_alerts)?;
        writeln!(f, "playbooks: {} running; pool {:?}", self.playbooks_running, self.pool_size)?;
        for ticket in &self.tickets {
            writeln!(f, "ticket {} of {}: {:?}", ticket.key, ticket.incident, ticket.status)?;
        }
        let Some(cases) = &self.cases else { return writeln!(f, "ingress does not answer") };
        for Case { incident, timeline } in cases {
            writeln!(f, "{}: {:?}", incident.id, incident.phase)?;
            for entry in timeline {
                writeln!(f, "  {} {:?} {}: {}", entry.at, entry.kind, entry.actor, entry.summary)?;
            }
        }
        Ok(())
    }
}
