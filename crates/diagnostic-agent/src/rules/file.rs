//! The schema of a rule file.

use std::collections::BTreeMap;

use a2a_types::mcp::logs::Level;
use incident::Confidence;
use serde::Deserialize;
use serde_json::Value;

use super::expression::Expression;

/// One cause, and how it shows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub id: String,
    /// The catalogued cause, such as `db.connection_pool_exhausted`.
    pub cause: String,
    /// One sentence; `{name}` stands for a value of the evidence, `{target}` or `{alert}`.
    pub summary: String,
    /// Over `alert` (name, severity, source, labels, annotations) and `incident` (title,
    /// description, severity, tags, affected_systems).
    pub(crate) matches: Expression,
    /// What is at fault, over `alert`. Without it the first of the labels server, instance, service.
    #[serde(default)]
    pub(crate) target: Option<Expression>,
    pub(crate) evidence: Vec<EvidenceSpec>,
    /// All must hold. Over the evidence by name, and `target`.
    pub(crate) conditions: Vec<Expression>,
    pub confidence: Prior,
    /// Recommended runbooks, best first.
    pub runbooks: Vec<String>,
    /// Facts for the runbook, over the evidence.
    #[serde(default)]
    pub(crate) facts: BTreeMap<String, Expression>,
    #[serde(default)]
    pub(crate) tests: Vec<RuleTest>,
}

/// The confidence of a rule before any of its diagnoses was verified.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prior {
    pub prior: Confidence,
    /// Cases the prior is worth.
    pub weight: f64,
}

/// One named query.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "EvidenceFile")]
pub(crate) struct EvidenceSpec {
    pub(crate) name: String,
    /// What the value is, for people; the name without one.
    pub(crate) says: String,
    /// Share of the confidence that is lost when it is missing, against the others. 0: none.
    pub(crate) weight: f64,
    pub(crate) ask: Ask,
}

#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Metric(MetricAsk),
    Log(LogAsk),
}

/// A PromQL query; `$target` stands for the target's name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricAsk {
    pub(crate) query: String,
    #[serde(default)]
    pub(crate) unit: Option<String>,
    /// Of a range instead of an instant: what its points come to.
    #[serde(default)]
    pub(crate) over: Option<Over>,
    /// Length of that range before the alert began; it ends now.
    #[serde(default = "default_window")]
    pub(crate) window_seconds: u64,
    /// Take the values of this label among the series above 0, instead of one number.
    #[serde(default)]
    pub(crate) label: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Over {
    Max,
    Min,
    Mean,
    /// The oldest value.
    First,
    /// The newest value less the oldest.
    Change,
}

/// Lines of the target's log; `$target` in the pattern stands for the target's name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogAsk {
    pub(crate) pattern: String,
    #[serde(default)]
    pub(crate) level: Option<Level>,
    #[serde(default)]
    pub(crate) take: Take,
    /// Length of the range before the alert began; it ends now.
    #[serde(default = "default_window")]
    pub(crate) window_seconds: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Take {
    /// The number of lines; a count ends at 200.
    #[default]
    Count,
    /// What the pattern's first group matches in the newest line, if that is a plain name.
    Newest,
    /// How the number of lines grew against the same time before, as a power of two.
    Growth,
}

/// What the rule must make of given values.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleTest {
    pub(crate) name: String,
    /// The alert's name.
    pub(crate) alert: String,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Evidence by name; what is left out is missing.
    #[serde(default)]
    pub(crate) values: BTreeMap<String, Value>,
    pub(crate) expect: Expected,
    /// Facts that must come out, when satisfied.
    #[serde(default)]
    pub(crate) facts: BTreeMap<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expected {
    Satisfied,
    NotSatisfied,
    NoMatch,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EvidenceFile {
    name: String,
    #[serde(default)]
    says: String,
    #[serde(default = "default_weight")]
    weight: f64,
    #[serde(default)]
    metric: Option<MetricAsk>,
    #[serde(default)]
    log: Option<LogAsk>,
}

impl TryFrom<EvidenceFile> for EvidenceSpec {
    type Error = String;

    fn try_from(file: EvidenceFile) -> Result<Self, String> {
        let ask = match (file.metric, file.log) {
            (Some(metric), None) => Ask::Metric(metric),
            (None, Some(log)) => Ask::Log(log),
            _ => return Err(format!("`{}` needs either `metric` or `log`", file.name)),
        };
        let says = if file.says.is_empty() { file.name.replace('_', " ") } else { file.says };
        Ok(Self { name: file.name, says, weight: file.weight, ask })
    }
}

fn default_weight() -> f64 {
    1.0
}

fn default_window() -> u64 {
    60
}
