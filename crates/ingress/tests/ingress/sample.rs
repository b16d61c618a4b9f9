//! What the agents answer, and webhook bodies.

use incident::{
    Check, CheckRole, Comparison, Confidence, Diagnosis, EntryKind, IncidentId, Mode, Outcome,
    OutcomeResult, Plan, PlanId, TimelineEntry,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

pub(crate) fn diagnosis(incident_id: IncidentId, cause: Option<&str>) -> Diagnosis {
    Diagnosis {
        incident_id,
        cause: cause.map(str::to_owned),
        summary: "the pool is exhausted".into(),
        target: cause.map(|_| "db-1".to_owned()),
        confidence: Confidence::new(0.9).unwrap(),
        cases: 0,
        rule: None,
        evidence: Vec::new(),
        missing: Vec::new(),
        alternatives: Vec::new(),
        runbooks: Vec::new(),
        facts: [].into(),
        started_at: at(0),
        finished_at: at(1),
    }
}

pub(crate) fn plan(incident_id: IncidentId) -> Plan {
    Plan {
        id: PlanId::new(Uuid::from_u128(7)),
        incident_id,
        runbook: "raise-pool".into(),
        cause: "db.pool".into(),
        target: "db-1".into(),
        mode: Mode::Approve,
        risk: "low".into(),
        steps: Vec::new(),
        checks: vec![Check {
            name: "timeouts stop".into(),
            role: CheckRole::Symptom,
            query: "rate(db_connection_timeout_total[30s])".into(),
            comparison: Comparison::AtMost,
            threshold: 0.05,
            hold: std::time::Duration::from_secs(5),
            within: std::time::Duration::from_secs(30),
        }],
        gates: Vec::new(),
        baseline: Vec::new(),
        created_at: at(2),
    }
}

pub(crate) fn outcome(incident_id: IncidentId, result: OutcomeResult) -> Outcome {
    Outcome {
        incident_id,
        plan_id: None,
        result,
        summary: format!("the fix ended {result:?}"),
        steps: Vec::new(),
        checks: Vec::new(),
        undo: Vec::new(),
        undo_checks: Vec::new(),
        finished_at: at(9),
    }
}

pub(crate) fn entry(kind: EntryKind) -> TimelineEntry {
    let summary = format!("{kind:?}");
    TimelineEntry::new(at(3), "resolution-agent", kind, summary)
}

/// One alert of an Alertmanager body; its fingerprint and target are its name.
pub(crate) fn alert(name: &str, status: &str, starts_at: i64) -> Value {
    json!({"status": status, "fingerprint": format!("f-{name}"),
        "labels": {"alertname": "DatabaseConnectionTimeout", "server": name, "severity": "critical"},
        "annotations": {"summary": format!("{name} refuses connections")},
        "startsAt": at(starts_at).to_string(), "endsAt": "0001-01-01T00:00:00Z"})
}

pub(crate) fn body(alerts: &[Value]) -> String {
    json!({"version": "4", "status": "firing", "alerts": alerts}).to_string()
}

pub(crate) fn firing(name: &str) -> String {
    body(&[alert(name, "firing", 0)])
}

pub(crate) fn resolved(name: &str) -> String {
    body(&[alert(name, "resolved", 0)])
}
