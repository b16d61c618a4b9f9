//! What the programs are given in a chaos run: targets of every effect class, with a rule and a
//! runbook for each class, a policy that stands in nobody's way, and limits short enough that every
//! incident ends within the run.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

/// How a runbook's step may be repeated. Each has an alert, a rule and a runbook of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Idempotent,
    Fenced,
    Probeable,
    AtMostOnce,
}

/// Something that falls ill.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] =
        [Self::Idempotent, Self::Fenced, Self::Probeable, Self::AtMostOnce];

    /// As runbooks write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idempotent => "idempotent",
            Self::Fenced => "fenced",
            Self::Probeable => "probeable",
            Self::AtMostOnce => "at_most_once",
        }
    }

    pub(crate) fn alert(self) -> String {
        format!("stuck_{}", self.name())
    }

    fn runbook(self) -> String {
        format!("repair-{}", self.name().replace('_', "-"))
    }

    fn rule(self) -> Value {
        json!({
            "id": self.alert().replace('_', "-"),
            "cause": format!("chaos.{}", self.alert()),
            "summary": "{target} is stuck: {waiting} callers wait",
            "matches": format!("alert.name == {:?}", self.alert()),
            "target": "alert.labels.server",
            "evidence": [
                {
                    "name": "ill", "says": "Whether it is stuck", "weight": 2,
                    "metric": {"query": "max(chaos_ill{server=\"$target\"})", "unit": "{flag}"},
                },
                {
                    "name": "waiting", "says": "Callers that wait",
                    "metric": {
                        "query": "max(chaos_waiting{server=\"$target\"})", "unit": "{callers}",
                    },
                },
                {
                    "name": "complaints", "says": "Lines of its log that say so", "weight": 0,
                    "log": {"pattern": "worker stuck", "level": "error", "window_seconds": 60},
                },
            ],
            "conditions": ["ill > 0.5", "waiting > 10.0"],
            "confidence": {"prior": 0.9, "weight": 20},
            "runbooks": [self.runbook()],
            "tests": [{
                "name": "callers wait", "alert": self.alert(),
                "labels": {"server": "t-01"},
                "values": {"ill": 1, "waiting": 40}, "expect": "satisfied",
            }],
        })
    }

    fn runbook_text(self) -> Value {
        json!({
            "id": self.runbook(),
            "description": "Repairs a target of a chaos run.",
            "causes": [format!("chaos.{}", self.alert())],
            "risk": "low",
            "steps": [{
                "name": "Repair the target", "action": "run_playbook",
                "parameters": {"playbook": "repair", "variables": {}},
                "effect": self.name(), "irreversible": true,
            }],
            "checks": {"symptom": {
                "name": "whether it is stuck", "query": "max(chaos_ill{server=\"$target\"})",
                "comparison": "<", "threshold": 0.5, "hold_seconds": 1, "within_seconds": 8,
            }},
        })
    }
}

/// So many targets, every kind in turn.
pub(crate) fn targets(count: usize) -> Vec<Target> {
    let kinds = Kind::ALL.into_iter().cycle();
    let names = (1..=count).map(|number| format!("t-{number:02}"));
    names.zip(kinds).map(|(name, kind)| Target { name, kind }).collect()
}

/// Writes rules, runbooks, policy and inventory below `directory`.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write(directory: &Path, targets: &[Target], fleet: &str) -> anyhow::Result<()> {
    for kind in Kind::ALL {
        put(&directory.join("rules").join(format!("{}.yaml", kind.name())), &kind.rule())?;
        let runbook = directory.join("runbooks").join(format!("{}.yaml", kind.name()));
        put(&runbook, &kind.runbook_text())?;
    }
    put(&directory.join("policy.yaml"), &policy(directory, targets))?;
    let of_target = |target: &Target| {
        let url = format!("http://{fleet}/{}", target.name);
        let executor = json!({"kind": "http_admin", "url": url});
        let entry = json!({"service": "chaos", "executor": executor, "playbooks": ["repair"]});
        (target.name.clone(), entry)
    };
    let inventory: serde_json::Map<_, _> = targets.iter().map(of_target).collect();
    put(&directory.join("inventory.yaml"), &json!({"targets": inventory}))?;
    put(&directory.join("signals.yaml"), &json!({"targets": [], "signals": {}}))
}

fn policy(directory: &Path, targets: &[Target]) -> Value {
    // An environment each: neighbours in bad health are part of every run, and stop nothing here.
    let environments = targets.iter().map(|target| (target.name.clone(), json!([target.name])));
    let environments: serde_json::Map<_, _> = environments.collect();
    let modes = Kind::ALL.map(|kind| (kind.runbook(), json!("auto")));
    let modes: serde_json::Map<_, _> = modes.into_iter().collect();
    json!({
        "mode": "observe",
        "runbooks": modes,
        "environments": environments,
        "scope": [{"actions": ["run_playbook"], "targets": ["*"], "environments": ["*"]}],
        "kill_switch": directory.join("kill-switch"),
        "confidence_floor": 0.5,
        "independent_signals": 2,
        "cooldown_seconds": 0,
        "rate": {
            "window_seconds": 60, "per_target": 1_000, "per_runbook": 10_000, "total": 10_000,
        },
        "repeat": {"window_seconds": 60, "attempts": 1_000},
        "min_healthy_percent": 0,
    })
}

/// JSON is YAML.
fn put(path: &Path, value: &Value) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let text = serde_json::to_string_pretty(value)?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
