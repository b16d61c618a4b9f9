//! What the gates look at, gathered right before an act: metrics, the health of other targets,
//! the kill switch, and what was done before.

use std::collections::BTreeMap;

use a2a_types::mcp::deployment::StatusInput;
use futures::future::join_all;
use incident::gates::{PastAct, Situation, Symptom};
use incident::{AlertStatus, Baseline, Check, Plan};
use jiff::Timestamp;
use rpc::a2a::AgentError;
use store::AttemptRow;

use crate::agent::{Resolver, stored};
use crate::planner::{Requirement, requirements};
use crate::request::Resolve;
use crate::resolution::{ActBody, ActKind, Surveyed};

/// How far back an ill check is looked at: long enough to see it fluctuate, short enough to see
/// little of the time before the fault.
const SCRAPES_LOOKED_BACK: u32 = 8;

impl Resolver {
    /// Reads the present. What the checks read becomes the plan's baseline.
    pub(crate) async fn survey(
        &self,
        plan: &mut Plan,
        request: &Resolve,
    ) -> Result<(Situation, Surveyed), AgentError> {
        let now = self.process.now();
        let (baseline, preconditions, neighbours, rows, quarantined) = tokio::join!(
            self.baseline(plan, now),
            self.preconditions(plan, now),
            self.neighbours(&plan.target),
            self.store.attempts_since(now - self.policy.memory()),
            self.store.quarantined_targets(),
        );
        let (rows, quarantined) = (rows.map_err(stored)?, quarantined.map_err(stored)?);
        let of_target = rows.iter().filter(|row| row.attempt.target == plan.target);
        let attempts = of_target.map(|row| row.attempt.id).collect();
        let symptom = symptom(plan, &baseline);
        plan.baseline = baseline.into_iter().map(|(baseline, _)| baseline).collect();
        let evidence = request.diagnosis.evidence.iter();
        let firing = |alert: &&incident::Alert| alert.status == AlertStatus::Firing;
        let situation = Situation {
            now,
            confidence: request.diagnosis.confidence,
            signals: evidence.map(|one| (one.tool.clone(), one.query.clone())).collect(),
            firing_alerts: request.brief.alerts.iter().filter(firing).count(),
            symptom,
            preconditions,
            kill_switch: self.is_killed(),
            quarantine: quarantined
                .into_iter()
                .find_map(|(target, reason)| (target == plan.target).then_some(reason)),
            history: history(rows),
            neighbours,
        };
        Ok((situation, Surveyed { at: now, attempts }))
    }

    /// Whether the kill switch is on. A place that cannot be looked at counts as on.
    pub(crate) fn is_killed(&self) -> bool {
        !matches!(self.policy.kill_switch.try_exists(), Ok(false))
    }

    async fn baseline(&self, plan: &Plan, now: Timestamp) -> Vec<(Baseline, Option<String>)> {
        let reads = plan.checks.iter().map(|check| async move {
            let reading = self.tools.read(&check.query, check.comparison, now).await;
            let (value, why) = match reading.value {
                Ok(value) if self.is_stale(now, reading.newest) => {
                    (None, Some(format!("{value} is of old samples")))
                }
                Ok(value) => (Some(self.ill_as_it_was(check, value, now).await), None),
                Err(why) => (None, Some(why)),
            };
            (Baseline { check: check.name.clone(), value, at: reading.evaluated_at }, why)
        });
        join_all(reads).await
    }

    /// What is ill fluctuates, and one look at it is not how it was: where a check fails now, the
    /// worst of the last scrapes is what it is compared with later.
    async fn ill_as_it_was(&self, check: &Check, value: f64, now: Timestamp) -> f64 {
        if check.comparison.holds(value, check.threshold) {
            return value;
        }
        let scrape = self.config.scrape_interval();
        let range = (scrape * SCRAPES_LOOKED_BACK, scrape);
        let worst = self.tools.worst_within(&check.query, check.comparison, now, range).await;
        check.comparison.worst([worst.or(Some(value)), Some(value)]).unwrap_or(value)
    }

    /// Evidence is fresh when its newest sample is; an unknown age is no proof of it.
    fn is_stale(&self, now: Timestamp, newest: Option<Timestamp>) -> bool {
        let longest = jiff::SignedDuration::try_from(self.config.longest_gap());
        let longest = longest.unwrap_or(jiff::SignedDuration::MAX);
        newest.is_none_or(|newest| now.duration_since(newest) > longest)
    }

    async fn preconditions(&self, plan: &Plan, now: Timestamp) -> Vec<(String, bool)> {
        let Some(runbook) = self.runbooks.get(&plan.runbook) else {
            return vec![(format!("runbook {} is no longer there", plan.runbook), false)];
        };
        let required = requirements(runbook, &plan.target, self.profile());
        join_all(required.iter().map(|one| self.precondition(one, now))).await
    }

    async fn precondition(&self, one: &Requirement, now: Timestamp) -> (String, bool) {
        let reading = self.tools.read(&one.query, one.comparison, now).await;
        let goal = format!("{} {}", one.comparison.sign(), one.threshold);
        match reading.value {
            Ok(value) => {
                let is_met = one.comparison.holds(value, one.threshold);
                (format!("{}: {value}, required {goal}", one.name), is_met)
            }
            Err(why) => (format!("{}: {why}, required {goal}", one.name), false),
        }
    }

    /// Whether the other targets of the environment are healthy; one that does not say is not.
    async fn neighbours(&self, target: &str) -> BTreeMap<String, bool> {
        let environment = self.policy.environment_of(target).unwrap_or_default();
        let others = self.policy.environments.get(environment).into_iter().flatten();
        let asked = others.filter(|other| *other != target).map(|other| async move {
            let input = StatusInput { target: Some(other.clone()), ..StatusInput::default() };
            let status = self.tools.status(&input).await;
            let is_healthy = status.is_ok_and(|status| status.target.is_some_and(|t| t.healthy));
            (other.clone(), is_healthy)
        });
        join_all(asked).await.into_iter().collect()
    }
}

fn history(rows: Vec<AttemptRow>) -> Vec<PastAct> {
    let acts = rows.into_iter().filter_map(|row| {
        // An attempt that cannot be read still happened: it counts under its target.
        let body = serde_json::from_value::<ActBody>(row.attempt.body).unwrap_or_default();
        (body.kind == ActKind::Act).then_some(PastAct {
            plan: body.plan,
            runbook: body.runbook,
            target: row.attempt.target,
            action: body.action,
            at: row.attempt.started_at,
        })
    });
    acts.collect()
}

/// The first check of a plan is its symptom.
fn symptom(plan: &Plan, baseline: &[(Baseline, Option<String>)]) -> Symptom {
    let (Some(check), Some((baseline, why))) = (plan.checks.first(), baseline.first()) else {
        return Symptom::Unknown { why: "the plan has no check".into() };
    };
    match baseline.value {
        Some(value) if check.comparison.holds(value, check.threshold) => Symptom::Gone { value },
        Some(value) => Symptom::Present { value },
        None => Symptom::Unknown { why: why.clone().unwrap_or_else(|| "no data".into()) },
    }
}
