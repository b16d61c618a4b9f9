//! What the resolution agent intends to do: steps with their undo, the check that must prove the
//! fix, and the verdicts of the gates.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{IncidentId, PlanId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub id: PlanId,
    pub incident_id: IncidentId,
    pub runbook: String,
    pub cause: String,
    pub target: String,
    pub mode: Mode,
    pub risk: String,
    pub steps: Vec<PlannedStep>,
    /// The symptom first, then the neighbours; all must hold.
    pub checks: Vec<Check>,
    pub gates: Vec<GateVerdict>,
    /// What the checks read right before the act; a fix must leave no neighbour worse.
    #[serde(default)]
    pub baseline: Vec<Baseline>,
    pub created_at: Timestamp,
}

impl Plan {
    /// SHA-256 over this plan and what would be done; an approval is bound to it.
    pub fn hash(&self) -> String {
        let subject =
            (&self.id, &self.incident_id, &self.runbook, &self.target, &self.steps, &self.checks);
        let bytes = serde_json::to_vec(&subject).expect("a plan has string keys only");
        hex::encode(Sha256::digest(bytes))
    }
}

/// How far Firebreak may go by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Off,
    /// Plan and record, tell nobody to act.
    #[default]
    Observe,
    /// Plan and recommend it to a person.
    Recommend,
    /// Act after a recorded approval.
    Approve,
    Auto,
}

/// What one check read before the act.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    pub check: String,
    /// `None`: no data, or not a number.
    pub value: Option<f64>,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    pub name: String,
    /// An action of deployment-system, such as `run_playbook`.
    pub action: String,
    pub parameters: Map<String, Value>,
    pub effect: EffectClass,
    pub undo: Undo,
}

/// What may be done when a step's outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectClass {
    Pure,
    Idempotent,
    Fenced,
    Probeable,
    /// Never retried by itself.
    AtMostOnce,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// The inverse that deployment-system recorded with the change.
    Recorded,
    Irreversible,
}

/// A PromQL expression that must hold on samples newer than the act, for the hold time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    #[serde(default)]
    pub role: CheckRole,
    pub query: String,
    pub comparison: Comparison,
    pub threshold: f64,
    #[serde(with = "millis")]
    pub hold: Duration,
    /// How long after the act the check may take to become true.
    #[serde(with = "millis")]
    pub within: Duration,
}

/// What a check stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckRole {
    /// Must pass its threshold after the act, whatever it was before.
    #[default]
    Symptom,
    /// Must pass its threshold if it did so before the act, and else be no worse than it was.
    Neighbour,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    #[serde(rename = "<")]
    Below,
    #[serde(rename = "<=")]
    AtMost,
    #[serde(rename = ">")]
    Above,
    #[serde(rename = ">=")]
    AtLeast,
    #[serde(rename = "==")]
    Equal,
}

impl Comparison {
    /// Whether `value` passes; not a number never does.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Below => value < threshold,
            Self::AtMost => value <= threshold,
            Self::Above => value > threshold,
            Self::AtLeast => value >= threshold,
            Self::Equal => value == threshold,
        }
    }

    /// The value furthest from passing; `None` when there is none, or one is not a number.
    pub fn worst(self, values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
        let numbers: Option<Vec<f64>> =
            values.into_iter().map(|value| value.filter(|number| !number.is_nan())).collect();
        let numbers = numbers?.into_iter();
        match self {
            Self::Below | Self::AtMost => numbers.max_by(f64::total_cmp),
            Self::Above | Self::AtLeast => numbers.min_by(f64::total_cmp),
            Self::Equal => {
                let numbers: Vec<f64> = numbers.collect();
                let is_one = numbers.windows(2).all(|pair| pair[0] == pair[1]);
                numbers.first().copied().filter(|_| is_one)
            }
        }
    }

    /// The threshold moved to where `value` still passes, `share` of it away; never tightened.
    pub fn loosened(self, threshold: f64, value: f64, share: f64) -> f64 {
        let slack = value.abs() * share;
        match self {
            Self::Below | Self::AtMost => threshold.max(value + slack),
            Self::Above | Self::AtLeast => threshold.min(value - slack),
            Self::Equal => value,
        }
    }

    pub fn sign(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
        }
    }
}

/// One gate's decision, as it stands in the guard ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateVerdict {
    pub gate: String,
    pub passed: bool,
    /// What was looked at, against which setting.
    pub reason: String,
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_millis)
    }
}
