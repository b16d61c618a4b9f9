//! The faults the simulator knows, the alert each raises, and the end each ought to have.

use incident::{CheckReport, Incident, Outcome, OutcomeResult, Phase};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) server: &'static str,
    pub(super) what: &'static str,
    pub(super) alert: &'static str,
    pub(super) end: End,
}

/// How an incident with a fault ends when everything works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Closed, the fix proven, the ticket done.
    Closed,
    /// The fix cannot work: undone, the undo verified, a person asked.
    HandedOver,
}

pub(super) const FAULTS: [Fault; 7] = [
    Fault {
        name: "database_timeout",
        server: "db-server-01",
        what: "a rollout shrinks the connection pool from 10 to 2",
        alert: "DatabaseConnectionTimeout",
        end: End::Closed,
    },
    Fault {
        name: "memory_leak",
        server: "app-server-01",
        what: "every request leaks memory",
        alert: "HighMemoryUsage",
        end: End::Closed,
    },
    Fault {
        name: "api_503",
        server: "api-gateway-01",
        what: "the gateway is scaled in from 3 replicas to 1",
        alert: "APIGateway503Errors",
        end: End::Closed,
    },
    Fault {
        name: "disk_full",
        server: "db-server-01",
        what: "old archive logs fill the disk",
        alert: "DiskSpaceCritical",
        end: End::Closed,
    },
    Fault {
        name: "high_cpu",
        server: "app-server-01",
        what: "the job report-generator runs away",
        alert: "HighCPUUsage",
        end: End::Closed,
    },
    Fault {
        name: "fix_that_fails",
        server: "db-server-01",
        what: "looks like a small pool, but one lock holds up every query",
        alert: "DatabaseConnectionTimeout",
        end: End::HandedOver,
    },
    Fault {
        name: "fix_that_hurts",
        server: "db-server-01",
        what: "looks like a small pool, but a larger one exhausts the memory",
        alert: "DatabaseConnectionTimeout",
        end: End::HandedOver,
    },
];

/// What the tracker calls a ticket whose work is over.
const DONE: &str = "Done";

/// Finds a fault by its name, for the command line.
pub(super) fn parse(name: &str) -> Result<&'static Fault, String> {
    FAULTS.iter().find(|fault| fault.name == name).ok_or_else(|| {
        let known: Vec<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        format!("no such fault; known: {}", known.join(", "))
    })
}

/// Whether the incident is at its end, and whether that is the right one. `None` is not yet.
pub(super) fn judge(end: End, incident: &Incident) -> Option<Result<(), String>> {
    let outcome = incident.outcome.as_ref();
    match (end, &incident.phase) {
        (End::Closed, Phase::Closed { .. }) => closed(incident, outcome),
        (End::HandedOver, Phase::NeedsHuman { .. }) => Some(undone(incident, outcome)),
        (End::Closed, Phase::NeedsHuman { reason, .. }) => {
            Some(Err(format!("handed over to a person: {}", reason.why)))
        }
        (End::HandedOver, Phase::Closed { .. }) => {
            Some(Err("closed although no repair can end its fault".into()))
        }
        (_, Phase::Suppressed { reason, .. }) => Some(Err(format!("suppressed: {reason}"))),
        _ => None,
    }
}

/// The ticket follows a closed incident; until it is done, the end is not reached.
fn closed(incident: &Incident, outcome: Option<&Outcome>) -> Option<Result<(), String>> {
    let result = outcome.map(|outcome| outcome.result);
    if result != Some(OutcomeResult::Proven) {
        return Some(Err(format!("closed without proof: {result:?}")));
    }
    incident.ticket.as_ref().is_some_and(|ticket| ticket.status == DONE).then_some(Ok(()))
}

fn undone(incident: &Incident, outcome: Option<&Outcome>) -> Result<(), String> {
    let Some(outcome) = outcome else { return Err("handed over before anything was tried".into()) };
    if outcome.result != OutcomeResult::Undone {
        return Err(format!("ended {:?}, not undone: {}", outcome.result, outcome.summary));
    }
    let is_verified = !outcome.undo_checks.is_empty() && outcome.undo_checks.iter().all(has_passed);
    if !is_verified {
        return Err("the undo was not verified".into());
    }
    match &incident.ticket {
        Some(_) => Ok(()),
        None => Err("there is no ticket that says what was tried".into()),
    }
}

fn has_passed(check: &CheckReport) -> bool {
    check.passed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn incident(phase: serde_json::Value, outcome: serde_json::Value, status: &str) -> Incident {
        let id = "inc_01890a5d-ac96-774b-bcce-b302099a8057";
        serde_json::from_value(json!({
            "id": id, "key": "service=database", "title": "t", "description": "", "severity": "critical",
            "affected_systems": [], "tags": [], "phase": phase, "alerts": [],
            "opened_at": "2026-01-01T00:00:00Z", "round": 1, "deadline": null, "outcome": outcome,
            "ticket": {"key": "FB-1", "url": "file:///t", "status": status, "sequence": 1},
        }))
        .unwrap()
    }

    fn outcome(result: &str, undo_passed: bool) -> serde_json::Value {
        json!({"incident_id": "inc_01890a5d-ac96-774b-bcce-b302099a8057", "plan_id": null,
            "result": result, "summary": "s", "steps": [], "checks": [], "undo": [],
            "undo_checks": [{"name": "c", "query": "q", "passed": undo_passed, "value": 1.0,
                "sampled_at": null, "reason": "r"}],
            "finished_at": "2026-01-01T00:00:00Z"})
    }

    fn closed() -> serde_json::Value {
        json!({"name": "closed", "by": "proof_and_source", "at": "2026-01-01T00:00:00Z"})
    }

    fn handed_over() -> serde_json::Value {
        json!({"name": "needs_human", "at": "2026-01-01T00:00:00Z",
            "reason": {"during": "verifying", "why": "undone"}})
    }

    #[test]
    fn closed_end_needs_proof_and_a_done_ticket() {
        let judged = |outcome, status| judge(End::Closed, &incident(closed(), outcome, status));
        assert_eq!(judged(outcome("proven", true), "Done"), Some(Ok(())));
        assert_eq!(judged(outcome("proven", true), "Done"), Some(Ok(())));
        assert_eq!(judged(outcome("proven", true), "In Progress"), None);
        assert!(judged(outcome("undone", true), "Done").unwrap().unwrap_err().contains("proof"));
    }

    #[test]
    fn handed_over_is_right_only_where_the_fix_cannot_work() {
        let undone = incident(handed_over(), outcome("undone", true), "To Do");
        assert_eq!(judge(End::HandedOver, &undone), Some(Ok(())));
        assert!(judge(End::Closed, &undone).unwrap().unwrap_err().contains("a person"));
        let unverified = incident(handed_over(), outcome("undone", false), "To Do");
        let why = judge(End::HandedOver, &unverified).unwrap().unwrap_err();
        assert!(why.contains("not verified"), "{why}");
    }

    #[test]
    fn work_in_progress_is_no_end() {
        let verifying = incident(json!({"name": "verifying"}), json!(null), "In Progress");
        assert_eq!(judge(End::Closed, &verifying), None);
    }

    #[test]
    fn unknown_fault_is_refused_with_the_known_ones() {
        assert!(parse("disk_ful").unwrap_err().contains("disk_full"));
        assert_eq!(parse("disk_full").unwrap().alert, "DiskSpaceCritical");
    }
}
