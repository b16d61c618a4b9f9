//! Claims about the world that a scenario waits for.

use std::fmt;
use std::time::Duration;

use incident::{EntryKind, Phase, ResolvedBy, TicketStatus};

use crate::{Case, Snapshot};

/// Long enough for any step of a healthy system on a busy machine.
const USUAL: Duration = Duration::from_secs(180);

/// Something that is true of a snapshot, or not yet.
pub struct Condition {
    claim: String,
    pub(crate) deadline: Duration,
    is_met: Box<dyn Fn(&Snapshot) -> bool + Send>,
}

impl Condition {
    pub fn new(
        claim: impl Into<String>,
        is_met: impl Fn(&Snapshot) -> bool + Send + 'static,
    ) -> Self {
        Self { claim: claim.into(), deadline: USUAL, is_met: Box::new(is_met) }
    }

    /// How long it may take; without this, three minutes. It ends what hangs: how fast the system is,
    /// benchmarks tell.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let claim = format!("{}, and {}", self.claim, other.claim);
        let deadline = self.deadline.max(other.deadline);
        let is_met = move |snapshot: &Snapshot| self.is_met(snapshot) && other.is_met(snapshot);
        Self::new(claim, is_met).within(deadline)
    }

    pub fn is_met(&self, snapshot: &Snapshot) -> bool {
        (self.is_met)(snapshot)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.claim)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({:?} within {:?})", self.claim, self.deadline)
    }
}

/// Claims about the incident; a second incident makes each of them false.
#[derive(Clone, Copy, Debug)]
pub struct IncidentClaims;

pub fn incident() -> IncidentClaims {
    IncidentClaims
}

impl IncidentClaims {
    fn claim(
        self,
        claim: impl fmt::Display,
        is_met: impl Fn(&Case) -> bool + Send + 'static,
    ) -> Condition {
        Condition::new(format!("the incident {claim}"), move |snapshot| {
            snapshot.only_case().is_some_and(&is_met)
        })
    }

    pub fn exists(self) -> Condition {
        self.claim("exists", |_| true)
    }

    /// In one of these phases, by name.
    pub fn is_in(self, phases: &'static [&'static str]) -> Condition {
        self.claim(format!("is in one of {phases:?}"), move |case| {
            phases.contains(&case.incident.phase.name())
        })
    }

    pub fn has(self, kind: EntryKind) -> Condition {
        self.claim(format!("has an entry {kind:?}"), move |case| case.has(&kind))
    }

    pub fn is_closed_with_proof(self) -> Condition {
        self.claim("is closed with proof", is_closed_with_proof)
    }

    pub fn needs_human(self) -> Condition {
        self.claim("needs a person", |case| matches!(case.incident.phase, Phase::NeedsHuman { .. }))
    }

    /// The end of a run in which something broke: proven, or honestly handed over.
    pub fn is_closed_with_proof_or_needs_human(self) -> Condition {
        let (closed, handed_over) = (self.is_closed_with_proof(), self.needs_human());
        Condition::new("the incident is closed with proof or needs a person", move |snapshot| {
            closed.is_met(snapshot) || handed_over.is_met(snapshot)
        })
    }
}

/// So many incidents, every one closed with proof.
pub fn incidents_closed_with_proof(count: usize) -> Condition {
    Condition::new(format!("{count} incidents are closed with proof"), move |snapshot| {
        let cases = snapshot.cases.as_deref().unwrap_or_default();
        cases.len() == count && cases.iter().all(is_closed_with_proof)
    })
}

/// So many tickets, all of this status.
pub fn tickets_are(count: usize, status: TicketStatus) -> Condition {
    Condition::new(format!("{count} tickets are {status:?}"), move |snapshot| {
        let tickets = &snapshot.tickets;
        tickets.len() == count && tickets.iter().all(|ticket| ticket.status == status)
    })
}

fn is_closed_with_proof(case: &Case) -> bool {
    let by_proof = matches!(
        case.incident.phase,
        Phase::Closed { by: ResolvedBy::Proof | ResolvedBy::ProofAndSource, .. }
    );
    by_proof && case.has(&EntryKind::Verified)
}

/// Claims about the ticket; a second ticket makes each of them false.
#[derive(Clone, Copy, Debug)]
pub struct TicketClaims;

pub fn ticket() -> TicketClaims {
    TicketClaims
}

impl TicketClaims {
    pub fn is(self, status: TicketStatus) -> Condition {
        Condition::new(
            format!("the ticket is {status:?}"),
            move |snapshot| matches!(snapshot.tickets.as_slice(), [ticket] if ticket.status == status),
        )
    }
}

/// Claims about a fault of the simulator.
#[derive(Clone, Copy, Debug)]
pub struct FaultClaims(&'static str);

pub fn fault(name: &'static str) -> FaultClaims {
    FaultClaims(name)
}

impl FaultClaims {
    pub fn is_active(self) -> Condition {
        let name = self.0;
        Condition::new(format!("the fault {name} is active"), move |snapshot| {
            snapshot.active_faults.iter().any(|active| active == name)
        })
    }

    /// Over, and how: `repaired`, `expired` or `deleted`.
    pub fn ended_by(self, how: &'static str) -> Condition {
        let name = self.0;
        Condition::new(format!("the fault {name} is {how}"), move |snapshot| {
            snapshot.ended_faults.iter().any(|(ended, by)| ended == name && by == how)
        })
    }
}

/// Claims about an alert of Prometheus.
#[derive(Clone, Copy, Debug)]
pub struct AlertClaims(&'static str);

pub fn alert(name: &'static str) -> AlertClaims {
    AlertClaims(name)
}

impl AlertClaims {
    pub fn is_firing(self) -> Condition {
        let name = self.0;
        Condition::new(format!("the alert {name} is firing"), move |snapshot| {
            snapshot.firing_alerts.iter().any(|firing| firing == name)
        })
    }
}

/// Claims about the playbook that repairs the database's connection pool.
#[derive(Clone, Copy, Debug)]
pub struct PlaybookClaims;

pub fn playbook() -> PlaybookClaims {
    PlaybookClaims
}

impl PlaybookClaims {
    pub fn is_running(self) -> Condition {
        Condition::new("a playbook is running", |snapshot| snapshot.playbooks_running > 0)
    }

    /// The pool is configured larger than the two connections the fault leaves.
    pub fn has_taken_effect(self) -> Condition {
        Condition::new("a playbook has taken effect", |snapshot| {
            snapshot.pool_size.is_some_and(|size| size > 2)
        })
    }
}
