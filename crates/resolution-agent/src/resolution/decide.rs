//! From the request to a decision: the plan, its gates, and a person's approval where one is wanted.

use a2a_types::Part;
use incident::gates::{self, Decision, Situation, Symptom};
use incident::{EntryKind, GateVerdict, OutcomeResult, Payload, Plan, PlanId};
use rpc::a2a::AgentError;
use serde_json::{Value, json};
use store::{StoreError, TargetLock};

use super::{Account, Resolution};
use crate::agent::stored;
use crate::request::Decision as Answer;
use crate::{NAME, planner};

impl Resolution {
    pub(super) async fn plan(&mut self) -> Result<(), AgentError> {
        let resolver = self.resolver.clone();
        let diagnosis = self.request.diagnosis.clone();
        let cause = diagnosis.cause.clone().unwrap_or_default();
        let Some(runbook) = resolver.runbooks.choose(&cause, &diagnosis.runbooks) else {
            let summary = match cause.is_empty() {
                true => "the diagnosis names no cause, so no runbook fits".to_owned(),
                false => format!("no runbook repairs {cause:.100}"),
            };
            return self
                .conclude(None, OutcomeResult::NoRunbook, summary, Account::default())
                .await;
        };
        let process = &resolver.process;
        let id = PlanId::new(process.new_id());
        let made = planner::plan(
            id,
            runbook,
            &diagnosis,
            &resolver.policy,
            resolver.profile(),
            process.now(),
        );
        match made {
            Ok(plan) => self.gate(plan).await,
            Err(planner::PlanError(verdict)) => {
                let summary =
                    format!("{} was not planned: {}: {}", runbook.id, verdict.gate, verdict.reason);
                let detail = json!({"gates": [verdict]});
                self.journal.note(EntryKind::GateStopped, summary.clone(), detail).await?;
                self.conclude(None, OutcomeResult::Refused, summary, Account::default()).await
            }
        }
    }

    /// Asks every gate about the present, and does what mode and verdicts say.
    pub(super) async fn gate(&mut self, mut plan: Plan) -> Result<(), AgentError> {
        let resolver = self.resolver.clone();
        // The mode is the policy's at this moment, not that of the time of planning.
        plan.mode = resolver.policy.mode_of(&plan.runbook);
        let (situation, surveyed) = resolver.survey(&mut plan, &self.request).await?;
        self.surveyed = Some(surveyed);
        plan.gates = gates::evaluate(&resolver.policy, &plan, &situation);
        self.journal.put_plan(&plan).await?;
        let summary = format!("planned {} on {}", plan.runbook, plan.target);
        self.journal.note_once(EntryKind::Planned, summary, planned(&plan)).await?;
        if self.cancelled.is_cancelled() {
            return self.cancelled_before_act(&plan).await;
        }
        if let Symptom::Gone { .. } = situation.symptom {
            return self.nothing_to_do(&plan).await;
        }
        match gates::decide(plan.mode, &plan.gates) {
            Decision::Refuse => self.refused(&plan).await,
            Decision::Recommend => {
                let summary = format!(
                    "{} on {} would be done; the policy's mode leaves it to a person",
                    plan.runbook, plan.target
                );
                self.conclude(Some(&plan), OutcomeResult::Recommended, summary, Account::default())
                    .await
            }
            Decision::AskApproval => self.decide_by_person(plan, situation).await,
            Decision::Act => self.carry_out(plan, Vec::new()).await,
        }
    }

    async fn decide_by_person(
        &mut self,
        mut plan: Plan,
        situation: Situation,
    ) -> Result<(), AgentError> {
        let Some(answer) = self.request.decision.clone() else {
            return self.ask(&plan, None).await;
        };
        let policy = &self.resolver.policy;
        let Answer { plan_hash, approved, by } = &answer;
        let verdict = gates::approval(policy, &plan, plan_hash, by, NAME, situation.now);
        let is_in_time =
            gates::approval(policy, &plan, &plan.hash(), "anyone", NAME, situation.now).passed;
        if !verdict.passed && is_in_time {
            let summary = format!("approval refused: {}", verdict.reason);
            let detail = json!({"gates": [verdict]});
            self.journal.note(EntryKind::Note, summary.clone(), detail).await?;
            return self.ask(&plan, Some(summary)).await;
        }
        if verdict.passed && !self.is_recorded(&answer).await? {
            return self.refuse(&plan, "approval", "this plan was decided before".into()).await;
        }
        if verdict.passed && !approved {
            return self.refuse(&plan, "approval", format!("declined by {by}")).await;
        }
        plan.gates.push(verdict.clone());
        self.journal.put_plan(&plan).await?;
        if !verdict.passed {
            return self.refused(&plan).await;
        }
        let detail = json!({"plan_hash": plan_hash, "by": by});
        self.journal.note_once(EntryKind::Approved, verdict.reason, detail).await?;
        self.carry_out(plan, Vec::new()).await
    }

    /// Commits a person's decision; false when the plan was decided by another message before.
    async fn is_recorded(&self, answer: &Answer) -> Result<bool, AgentError> {
        let store = &self.resolver.store;
        let now = self.resolver.process.now();
        let (plan_hash, by) = (answer.plan_hash.clone(), answer.by.clone());
        match store.put_approval(plan_hash, answer.approved, by, now).await {
            Ok(()) => Ok(true),
            // The same message, taken up again after a restart in which nothing was attempted yet.
            Err(StoreError::Exists { .. }) => Ok(self.is_resumed),
            Err(error) => Err(stored(error)),
        }
    }

    async fn ask(&mut self, plan: &Plan, first: Option<String>) -> Result<(), AgentError> {
        let hash = plan.hash();
        let summary = format!("approval asked for {} on {}", plan.runbook, plan.target);
        self.journal
            .note_once(EntryKind::ApprovalAsked, summary.clone(), json!({"plan_hash": hash}))
            .await?;
        let text = format!(
            "{}{summary}. Answer this task with a data part of type Approval: plan_hash {hash}, \
             approved, by.",
            first.map(|first| format!("{first}. ")).unwrap_or_default()
        );
        let parts = vec![Part::text(text), rpc::part(&Payload::Plan(plan.clone()))];
        Ok(self.journal.updates().ask(parts).await?)
    }

    async fn nothing_to_do(&mut self, plan: &Plan) -> Result<(), AgentError> {
        let gate = plan.gates.iter().find(|verdict| verdict.gate == "fresh_evidence");
        let reason = gate.map(|verdict| verdict.reason.clone()).unwrap_or_default();
        let summary = format!("nothing to do: {reason}");
        self.journal
            .note(EntryKind::GateStopped, summary.clone(), json!({"gates": [gate]}))
            .await?;
        self.conclude(Some(plan), OutcomeResult::Cancelled, summary, Account::default()).await
    }

    async fn cancelled_before_act(&mut self, plan: &Plan) -> Result<(), AgentError> {
        if self.is_stopped() {
            return Err(super::shutting_down());
        }
        let summary = "cancelled before anything was done";
        self.conclude(Some(plan), OutcomeResult::Cancelled, summary, Account::default()).await
    }

    async fn refused(&mut self, plan: &Plan) -> Result<(), AgentError> {
        let stopped: Vec<&GateVerdict> = plan.gates.iter().filter(|gate| !gate.passed).collect();
        let reasons: Vec<_> =
            stopped.iter().map(|gate| format!("{}: {}", gate.gate, gate.reason)).collect();
        let summary =
            format!("{} on {} was refused: {}", plan.runbook, plan.target, reasons.join("; "));
        self.journal
            .note(EntryKind::GateStopped, summary.clone(), json!({"gates": stopped}))
            .await?;
        self.conclude(Some(plan), OutcomeResult::Refused, summary, Account::default()).await
    }

    /// Refuses a plan for one reason found after the gates.
    pub(super) async fn refuse(
        &mut self,
        plan: &Plan,
        gate: &str,
        reason: String,
    ) -> Result<(), AgentError> {
        let mut plan = plan.clone();
        plan.gates.retain(|verdict| verdict.gate != gate);
        plan.gates.push(GateVerdict { gate: gate.into(), passed: false, reason });
        self.journal.put_plan(&plan).await?;
        self.refused(&plan).await
    }

    /// The target's only writer from now on, or why not. The lock's token is a new one each
    /// time, so that a former run of this task, which may be frozen somewhere, is shut out too. Whether
    /// the task is ours is asked before: a run that woke must not shut out the one that overtook it.
    pub(super) async fn lock(&mut self, plan: &Plan) -> Result<Result<(), String>, AgentError> {
        self.check_owned().await?;
        let (target, task) = (plan.target.clone(), self.task.id.clone());
        let lock = self.resolver.store.lock_target(target, task).await;
        Ok(match lock.map_err(stored)? {
            TargetLock::Held { token } => {
                self.token = token;
                Ok(())
            }
            TargetLock::Busy { holder } => {
                Err(format!("task {holder} is working on {}", plan.target))
            }
            TargetLock::Quarantined { reason } => Err(format!("quarantined: {reason}")),
        })
    }
}

fn planned(plan: &Plan) -> Value {
    json!({
        "plan_hash": plan.hash(),
        "runbook": plan.runbook,
        "target": plan.target,
        "mode": plan.mode,
        "risk": plan.risk,
        "steps": plan.steps,
        "checks": plan.checks,
        "gates": plan.gates,
        "baseline": plan.baseline,
    })
}
