//! From a diagnosis and a runbook to a plan. Pure: the same input gives the same plan.

use std::time::Duration;

use incident::gates::Policy;
use incident::{Check, CheckRole, Diagnosis, GateVerdict, Plan, PlanId, PlannedStep};
use jiff::Timestamp;

use crate::runbook::{CheckTemplate, Risk, Runbook};

/// How the metrics that checks read are made.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub scrape_interval: Duration,
}

/// Why no plan can be made: the verdict of a gate that stands before planning.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", .0.gate, .0.reason)]
pub struct PlanError(pub(crate) GateVerdict);

impl Profile {
    /// Long enough to hold two scrapes even when one comes late.
    pub(crate) fn window(self) -> Duration {
        self.scrape_interval * 5 / 2
    }

    fn check(self, template: &CheckTemplate, role: CheckRole, target: &str) -> Check {
        let hold = Duration::from_secs_f64(template.hold_seconds).max(self.scrape_interval * 2);
        let least = self.window() + hold + self.scrape_interval * 4;
        Check {
            name: template.name.clone(),
            role,
            query: template.query.fill(target, self.window()),
            comparison: template.comparison,
            threshold: template.threshold,
            hold,
            within: Duration::from_secs_f64(template.within_seconds).max(least),
        }
    }
}

/// A condition of the present that a runbook requires.
#[derive(Clone, Debug)]
pub(crate) struct Requirement {
    pub(crate) name: String,
    pub(crate) query: String,
    pub(crate) comparison: incident::Comparison,
    pub(crate) threshold: f64,
}

pub(crate) fn requirements(runbook: &Runbook, target: &str, profile: Profile) -> Vec<Requirement> {
    let filled = runbook.requires.iter().map(|condition| Requirement {
        name: condition.name.clone(),
        query: condition.query.fill(target, profile.window()),
        comparison: condition.comparison,
        threshold: condition.threshold,
    });
    filled.collect()
}

pub(crate) fn plan(
    id: PlanId,
    runbook: &Runbook,
    diagnosis: &Diagnosis,
    policy: &Policy,
    profile: Profile,
    now: Timestamp,
) -> Result<Plan, PlanError> {
    let target = target(diagnosis, policy)?;
    let step = |step: &crate::runbook::Step| {
        let parameters = step
            .arguments(&diagnosis.facts)
            .map_err(|error| stopped("parameters", error.to_string()))?;
        Ok(PlannedStep {
            name: step.name.clone(),
            action: step.action.clone(),
            parameters,
            effect: step.effect,
            undo: step.undo.clone(),
        })
    };
    let checks = &runbook.checks;
    let filled = |list: &[CheckTemplate], role| -> Vec<Check> {
        list.iter().map(|template| profile.check(template, role, &target)).collect()
    };
    let mut all = filled(std::slice::from_ref(&checks.symptom), CheckRole::Symptom);
    all.extend(filled(&checks.recovers, CheckRole::Symptom));
    all.extend(filled(&checks.neighbours, CheckRole::Neighbour));
    Ok(Plan {
        id,
        incident_id: diagnosis.incident_id,
        runbook: runbook.id.clone(),
        cause: diagnosis.cause.clone().unwrap_or_default(),
        mode: policy.mode_of(&runbook.id),
        risk: match runbook.risk {
            Risk::Low => "low",
            Risk::Medium => "medium",
            Risk::High => "high",
        }
        .into(),
        steps: runbook.steps.iter().map(step).collect::<Result<_, PlanError>>()?,
        checks: all,
        target,
        gates: Vec::new(),
        baseline: Vec::new(),
        created_at: now,
    })
}

/// The target, if it is one of the inventory by its exact name. A diagnosis is built from labels
/// and log lines, so nothing else of it may enter a query.
fn target(diagnosis: &Diagnosis, policy: &Policy) -> Result<String, PlanError> {
    let target = diagnosis.target.as_deref().unwrap_or_default();
    if target.is_empty() {
        return Err(stopped("target", "the diagnosis names no target"));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    if !target.chars().all(is_plain) || policy.environment_of(target).is_none() {
        let shown: String = target.chars().take(80).collect();
        return Err(stopped("target", format!("{shown:?} is in no environment of the policy")));
    }
    Ok(target.to_owned())
}

fn stopped(gate: &str, reason: impl Into<String>) -> PlanError {
    PlanError(GateVerdict { gate: gate.into(), passed: false, reason: reason.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_check_grow_with_the_scrape_interval_and_never_shrink() {
        let written = r#"{"name": "n", "query": "rate(a{s=\"$target\"}[$window])", "comparison": "<",
            "threshold": 1, "hold_seconds": 3, "within_seconds": 15}"#;
        let template: CheckTemplate = serde_json::from_str(written).unwrap();
        let check = |seconds| {
            let profile = Profile { scrape_interval: Duration::from_secs(seconds) };
            let check = profile.check(&template, CheckRole::Symptom, "db-1");
            (check.query, check.hold.as_secs(), check.within.as_secs())
        };
        assert_eq!(check(1), ("rate(a{s=\"db-1\"}[2500ms])".into(), 3, 15));
        assert_eq!(check(10), ("rate(a{s=\"db-1\"}[25000ms])".into(), 20, 85));
    }
}
