//! The gates between a plan and an act. Pure: policy, plan and situation in, one verdict per gate
//! out. Every gate is evaluated and recorded even when another has already stopped the plan, and
//! what is not known stops it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Confidence, GateVerdict, Mode, Plan};

/// What may be done without asking. Nothing that is not allowed here is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Mode of runbooks that are not named below.
    pub mode: Mode,
    /// Mode by runbook id.
    pub runbooks: BTreeMap<String, Mode>,
    /// The targets of each environment. A target that is in none is not acted upon.
    pub environments: BTreeMap<String, BTreeSet<String>>,
    /// What is allowed; empty allows nothing.
    pub scope: Vec<Scope>,
    /// Targets never acted upon, whatever the scope says.
    pub protected_targets: BTreeSet<String>,
    /// While this file exists nothing is done. Looked at before every effect.
    pub kill_switch: PathBuf,
    /// A diagnosis less sure than this leads to no act.
    pub confidence_floor: Confidence,
    /// Pieces of evidence with different queries that a diagnosis must rest on.
    pub independent_signals: usize,
    /// Seconds after an act during which its target is left alone.
    pub cooldown_seconds: u64,
    pub rate: RateLimits,
    pub repeat: RepeatLimit,
    /// Percent of the environment's other targets that must be healthy.
    pub min_healthy_percent: u8,
    /// Seconds after planning in which an approval counts; later it is a no.
    pub approval_seconds: u64,
}

/// Actions allowed on targets of environments. `*` stands for all that are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    pub actions: BTreeSet<String>,
    pub targets: BTreeSet<String>,
    pub environments: BTreeSet<String>,
}

/// Plans carried out within a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    pub window_seconds: u64,
    pub per_target: usize,
    pub per_runbook: usize,
    pub total: usize,
}

/// The same action on the same target within a window; beyond `attempts` it is refused, since an
/// act that has to be repeated does not cure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepeatLimit {
    pub window_seconds: u64,
    pub attempts: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            runbooks: BTreeMap::new(),
            environments: BTreeMap::new(),
            scope: Vec::new(),
            protected_targets: BTreeSet::new(),
            kill_switch: "data/kill-switch".into(),
            confidence_floor: Confidence::new(0.7).expect("within 0..=1"),
            independent_signals: 2,
            cooldown_seconds: 30,
            rate: RateLimits::default(),
            repeat: RepeatLimit::default(),
            min_healthy_percent: 50,
            approval_seconds: 1800,
        }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { window_seconds: 3600, per_target: 10, per_runbook: 10, total: 30 }
    }
}

impl Default for RepeatLimit {
    fn default() -> Self {
        Self { window_seconds: 600, attempts: 2 }
    }
}

impl Policy {
    pub fn mode_of(&self, runbook: &str) -> Mode {
        self.runbooks.get(runbook).copied().unwrap_or(self.mode)
    }

    pub fn environment_of(&self, target: &str) -> Option<&str> {
        let found = self.environments.iter().find(|(_, targets)| targets.contains(target));
        found.map(|(environment, _)| environment.as_str())
    }

    /// Every target of every environment.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.environments.values().flatten().map(String::as_str)
    }

    /// The longest time the gates look back.
    pub fn memory(&self) -> SignedDuration {
        let seconds =
            self.cooldown_seconds.max(self.rate.window_seconds).max(self.repeat.window_seconds);
        span(seconds)
    }
}

/// What the gates look at beside the plan, as it is right before the act.
#[derive(Clone, Debug, PartialEq)]
pub struct Situation {
    pub now: Timestamp,
    pub confidence: Confidence,
    /// Tool and query of each piece of evidence.
    pub signals: Vec<(String, String)>,
    /// Alerts of the incident that still fire.
    pub firing_alerts: usize,
    pub symptom: Symptom,
    /// What the runbook requires, in words, and whether it is so.
    pub preconditions: Vec<(String, bool)>,
    pub kill_switch: bool,
    /// Why the target is left to a person.
    pub quarantine: Option<String>,
    /// Acts of the past, undo aside.
    pub history: Vec<PastAct>,
    /// Whether the environment's other targets are healthy.
    pub neighbours: BTreeMap<String, bool>,
}

/// The symptom, asked for again right before the act.
#[derive(Clone, Debug, PartialEq)]
pub enum Symptom {
    Present { value: f64 },
    Gone { value: f64 },
    Unknown { why: String },
}

/// One step of a plan that was begun earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastAct {
    pub plan: String,
    pub runbook: String,
    pub target: String,
    pub action: String,
    pub at: Timestamp,
}

/// What follows from the mode and the verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Refuse,
    /// Every gate passed, and the mode is to tell a person only.
    Recommend,
    AskApproval,
    Act,
}

/// What the mode allows when every gate has passed.
pub fn decide(mode: Mode, verdicts: &[GateVerdict]) -> Decision {
    if verdicts.iter().any(|verdict| !verdict.passed) {
        return Decision::Refuse;
    }
    match mode {
        Mode::Off => Decision::Refuse,
        Mode::Observe | Mode::Recommend => Decision::Recommend,
        Mode::Approve => Decision::AskApproval,
        Mode::Auto => Decision::Act,
    }
}

/// One verdict per gate, always all of them, in a fixed order.
pub fn evaluate(policy: &Policy, plan: &Plan, situation: &Situation) -> Vec<GateVerdict> {
    vec![
        mode(policy, plan),
        target(policy, plan),
        scope(policy, plan),
        protected(policy, plan),
        kill_switch(policy, situation),
        quarantine(situation),
        alert(situation),
        fresh_evidence(plan, situation),
        precondition(situation),
        confidence(policy, situation),
        independent_signals(policy, situation),
        cooldown(policy, plan, situation),
        rate("rate_target", policy, policy.rate.per_target, situation, |act| {
            act.target == plan.target
        }),
        rate("rate_runbook", policy, policy.rate.per_runbook, situation, |act| {
            act.runbook == plan.runbook
        }),
        rate("rate_total", policy, policy.rate.total, situation, |_| true),
        repeated_action(policy, plan, situation),
        blast_radius(policy, situation),
    ]
}

/// The gate of approvals: whether `by` may approve this plan now.
pub fn approval(
    policy: &Policy,
    plan: &Plan,
    hash: &str,
    by: &str,
    author: &str,
    now: Timestamp,
) -> GateVerdict {
    let age = now.duration_since(plan.created_at);
    if hash != plan.hash() {
        verdict("approval", false, format!("approval is for plan {hash:.12}, not this one"))
    } else if by.trim().is_empty() || by == author {
        verdict(
            "approval",
            false,
            format!("{by:?} cannot approve: a plan needs another's approval"),
        )
    } else if age > span(policy.approval_seconds) {
        let limit = policy.approval_seconds;
        verdict("approval", false, format!("{} s old; approval_seconds is {limit}", age.as_secs()))
    } else {
        verdict("approval", true, format!("approved by {by} for plan {hash:.12}"))
    }
}

fn mode(policy: &Policy, plan: &Plan) -> GateVerdict {
    let mode = policy.mode_of(&plan.runbook);
    let name = serde_json::to_value(mode).unwrap_or_default();
    let reason = format!("mode of {} is {}", plan.runbook, name.as_str().unwrap_or_default());
    verdict("mode", mode != Mode::Off, reason)
}

fn target(policy: &Policy, plan: &Plan) -> GateVerdict {
    match policy.environment_of(&plan.target) {
        _ if plan.target.is_empty() => verdict("target", false, "the diagnosis names no target"),
        Some(environment) => {
            verdict("target", true, format!("{} is in environment {environment}", plan.target))
        }
        None => verdict("target", false, format!("{:?} is in no environment", plan.target)),
    }
}

fn scope(policy: &Policy, plan: &Plan) -> GateVerdict {
    let environment = policy.environment_of(&plan.target).unwrap_or_default();
    let allows = |set: &BTreeSet<String>, name: &str| set.contains(name) || set.contains("*");
    let denied = plan.steps.iter().find(|step| {
        !policy.scope.iter().any(|scope| {
            allows(&scope.actions, &step.action)
                && allows(&scope.targets, &plan.target)
                && allows(&scope.environments, environment)
        })
    });
    let place = format!("on {} in {environment:?}", plan.target);
    match denied {
        Some(step) => verdict("scope", false, format!("{} {place} is not allowed", step.action)),
        None if plan.steps.is_empty() => verdict("scope", false, "the plan has no steps"),
        None => verdict("scope", true, format!("every action is allowed {place}")),
    }
}

fn protected(policy: &Policy, plan: &Plan) -> GateVerdict {
    let is_protected = policy.protected_targets.contains(&plan.target);
    let word = if is_protected { "protected" } else { "not protected" };
    verdict("protected_target", !is_protected, format!("{} is {word}", plan.target))
}

fn kill_switch(policy: &Policy, situation: &Situation) -> GateVerdict {
    let path = policy.kill_switch.display();
    let word = if situation.kill_switch { "exists: nothing is done" } else { "does not exist" };
    verdict("kill_switch", !situation.kill_switch, format!("{path} {word}"))
}

fn quarantine(situation: &Situation) -> GateVerdict {
    match &situation.quarantine {
        Some(why) => verdict("quarantine", false, format!("left to a person: {why}")),
        None => verdict("quarantine", true, "not quarantined"),
    }
}

fn alert(situation: &Situation) -> GateVerdict {
    let count = situation.firing_alerts;
    verdict("alert", count > 0, format!("{count} alerts of the incident fire"))
}

fn fresh_evidence(plan: &Plan, situation: &Situation) -> GateVerdict {
    let Some(check) = plan.checks.first() else {
        return verdict("fresh_evidence", false, "the plan has no check");
    };
    let goal = format!("healthy is {} {}", check.comparison.sign(), check.threshold);
    match &situation.symptom {
        Symptom::Present { value } => {
            verdict("fresh_evidence", true, format!("{} is {value} now; {goal}", check.name))
        }
        Symptom::Gone { value } => {
            verdict("fresh_evidence", false, format!("{} is {value} now; {goal}: gone", check.name))
        }
        Symptom::Unknown { why } => {
            verdict("fresh_evidence", false, format!("{} cannot be read: {why}", check.name))
        }
    }
}

fn precondition(situation: &Situation) -> GateVerdict {
    let unmet: Vec<_> = situation.preconditions.iter().filter(|(_, is_met)| !is_met).collect();
    let shown =
        if unmet.is_empty() { situation.preconditions.iter().collect() } else { unmet.clone() };
    let words: Vec<_> = shown.iter().map(|(words, _)| words.as_str()).collect();
    let reason = if words.is_empty() { "none required".to_owned() } else { words.join("; ") };
    verdict("precondition", unmet.is_empty(), reason)
}

fn confidence(policy: &Policy, situation: &Situation) -> GateVerdict {
    let (is, floor) = (situation.confidence.value(), policy.confidence_floor.value());
    verdict("confidence", is >= floor, format!("{is:.2}; confidence_floor is {floor:.2}"))
}

fn independent_signals(policy: &Policy, situation: &Situation) -> GateVerdict {
    let count = situation.signals.iter().collect::<BTreeSet<_>>().len();
    let needed = policy.independent_signals;
    let reason = format!("{count} different queries; independent_signals is {needed}");
    verdict("independent_signals", count >= needed, reason)
}

fn cooldown(policy: &Policy, plan: &Plan, situation: &Situation) -> GateVerdict {
    let on_target = situation.history.iter().filter(|act| act.target == plan.target);
    let last = on_target.map(|act| act.at).max();
    let limit = policy.cooldown_seconds;
    match last.map(|at| situation.now.duration_since(at)) {
        None => verdict("cooldown", true, "no act on the target before"),
        Some(age) => {
            let reason = format!(
                "last act on the target {} s ago; cooldown_seconds is {limit}",
                age.as_secs()
            );
            verdict("cooldown", age >= span(limit), reason)
        }
    }
}

fn rate(
    name: &str,
    policy: &Policy,
    limit: usize,
    situation: &Situation,
    counts: impl Fn(&PastAct) -> bool,
) -> GateVerdict {
    let window = policy.rate.window_seconds;
    let since = situation.now - span(window);
    let recent = situation.history.iter().filter(|act| act.at > since && counts(act));
    let plans = recent.map(|act| &act.plan).collect::<BTreeSet<_>>().len();
    verdict(name, plans < limit, format!("{plans} plans in {window} s; the limit is {limit}"))
}

fn repeated_action(policy: &Policy, plan: &Plan, situation: &Situation) -> GateVerdict {
    let RepeatLimit { window_seconds, attempts } = policy.repeat;
    let since = situation.now - span(window_seconds);
    let count = |action: &str| {
        let same =
            |act: &&PastAct| act.at > since && act.target == plan.target && act.action == action;
        situation.history.iter().filter(same).count()
    };
    let most = plan.steps.iter().map(|step| (count(&step.action), &step.action)).max();
    let (count, action) = most.map_or((0, ""), |(count, action)| (count, action.as_str()));
    let reason = format!(
        "{action} ran {count} times here in {window_seconds} s; repeat.attempts is {attempts}"
    );
    verdict("repeated_action", count < attempts, reason)
}

/// A plan has one target by its type; what is left to look at are the others.
fn blast_radius(policy: &Policy, situation: &Situation) -> GateVerdict {
    let (all, needed) = (situation.neighbours.len(), usize::from(policy.min_healthy_percent));
    let ill: Vec<_> = situation
        .neighbours
        .iter()
        .filter(|(_, is_healthy)| !**is_healthy)
        .map(|(n, _)| n.as_str())
        .collect();
    let healthy = all - ill.len();
    let mut reason =
        format!("1 target; {healthy} of {all} others are healthy; min_healthy_percent is {needed}");
    if !ill.is_empty() {
        reason = format!("{reason}; not healthy: {}", ill.join(", "));
    }
    verdict("blast_radius", healthy * 100 >= needed * all, reason)
}

fn verdict(gate: &str, passed: bool, reason: impl Into<String>) -> GateVerdict {
    GateVerdict { gate: gate.into(), passed, reason: reason.into() }
}

fn span(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX).min(1 << 32))
}

#[cfg(test)]
mod tests;
