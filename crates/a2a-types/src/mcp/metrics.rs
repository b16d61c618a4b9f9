//! `system-monitor`: metrics, read only. No data is an empty answer and never an error; every
//! answer names its query, its time range and its newest sample, so that stale evidence shows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::schema::{
    any_text, input, labels, list, nullable, number, optional, output, range, required, target,
    text, time,
};
use super::{Effect, TimeRange, ToolDefinition};

/// The name of the server.
pub const SERVER: &str = "system-monitor";
pub const QUERY: &str = "query";
pub const QUERY_RANGE: &str = "query_range";
pub const SNAPSHOT: &str = "snapshot";
pub const RANK: &str = "rank";

pub const TOOLS: [ToolDefinition; 4] = [
    ToolDefinition {
        name: QUERY,
        title: "Instant query",
        description: "Evaluates PromQL at one instant. An empty `samples` means no data.",
        input_schema: query_input_schema,
        output_schema: query_output_schema,
        effect: Effect::ReadOnly,
    },
    ToolDefinition {
        name: QUERY_RANGE,
        title: "Range query",
        description: "Evaluates PromQL over a range with a step. Empty `series` means no data.",
        input_schema: query_range_input_schema,
        output_schema: query_range_output_schema,
        effect: Effect::ReadOnly,
    },
    ToolDefinition {
        name: SNAPSHOT,
        title: "Named signals of a target",
        description: "Reads the catalogued signals of one target at one instant. A signal that \
                      could not be read bears an `error`; the others are still answered.",
        input_schema: snapshot_input_schema,
        output_schema: snapshot_output_schema,
        effect: Effect::ReadOnly,
    },
    ToolDefinition {
        name: RANK,
        title: "Rank suspects",
        description: "Ranks targets by how far their catalogued signals moved from a baseline \
                      range, in robust deviations (median and MAD), worst first.",
        input_schema: rank_input_schema,
        output_schema: rank_output_schema,
        effect: Effect::ReadOnly,
    },
];

/// One value of one series. `value` is absent for NaN and infinities, which JSON cannot hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    pub time: Timestamp,
    pub value: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub labels: BTreeMap<String, String>,
    pub points: Vec<Point>,
}

/// One value at one time. `value` is absent for NaN and infinities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub time: Timestamp,
    pub value: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryInput {
    pub query: String,
    /// Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryOutput {
    pub query: String,
    /// The instant of evaluation, as both ends.
    pub range: TimeRange,
    /// Empty when there is no data. `time` is that of evaluation, not of the scrape.
    pub samples: Vec<Sample>,
    /// Time of the newest scraped sample behind the answer: of each metric in the query its newest,
    /// and of these the oldest. Absent when there is none, or the backend cannot tell.
    pub newest: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryRangeInput {
    pub query: String,
    pub start: Timestamp,
    pub end: Timestamp,
    /// Seconds between points, above 0.
    pub step_seconds: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryRangeOutput {
    pub query: String,
    pub range: TimeRange,
    pub step_seconds: f64,
    /// Empty when there is no data.
    pub series: Vec<Series>,
    /// Time of the newest scraped sample behind the last point, as in [`QueryOutput::newest`].
    pub newest: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SnapshotInput {
    /// A target of the inventory, such as `db-server-01`.
    pub target: String,
    /// Names from the signal catalogue. Absent or empty: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<String>,
    /// Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotOutput {
    pub target: String,
    pub range: TimeRange,
    pub signals: Vec<Signal>,
    pub newest: Option<Timestamp>,
}

/// One catalogued signal of a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    pub name: String,
    /// The query as it was sent.
    pub query: String,
    /// UCUM-like unit, such as `s`, `By`, `1`, `{timeouts}/s`.
    pub unit: String,
    /// Empty when there is no data.
    pub samples: Vec<Sample>,
    /// As in [`QueryOutput::newest`].
    #[serde(default)]
    pub newest: Option<Timestamp>,
    /// Why this signal could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RankInput {
    /// Targets compared. Absent or empty: every target of the inventory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Names from the signal catalogue. Absent or empty: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<String>,
    /// Absent: 5 minutes before `end`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Absent: 30 minutes before `baseline_end`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_start: Option<Timestamp>,
    /// Absent: `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_end: Option<Timestamp>,
    /// Absent: chosen so that the window has at least 20 points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_seconds: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankOutput {
    pub range: TimeRange,
    pub baseline: TimeRange,
    /// Worst first. A target without any moved signal is not listed.
    pub suspects: Vec<Suspect>,
    /// Signals that gave no data or an error, in words: evidence that is missing.
    pub missing: Vec<String>,
    pub newest: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    pub target: String,
    /// The largest deviation among its signals.
    pub score: f64,
    /// Why, in one sentence with the values.
    pub reason: String,
    /// Largest deviation first.
    pub deviations: Vec<Deviation>,
}

/// How far one signal moved in its bad direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deviation {
    pub signal: String,
    pub query: String,
    pub unit: String,
    /// (window median - baseline median) / robust spread, signed so that above 0 is worse.
    pub score: f64,
    pub baseline_median: f64,
    pub window_median: f64,
}

fn query_input_schema() -> Value {
    input([required("query", promql()), optional("time", time("Evaluation instant; absent: now"))])
}

fn query_output_schema() -> Value {
    output([
        required("query", any_text()),
        required("range", range()),
        required("samples", list(sample())),
        required("newest", newest()),
        optional("warnings", list(any_text())),
    ])
}

fn query_range_input_schema() -> Value {
    input([
        required("query", promql()),
        required("start", time("Begin of the range")),
        required("end", time("End of the range")),
        required("step_seconds", step()),
    ])
}

fn query_range_output_schema() -> Value {
    let point = output([required("time", time("Time")), required("value", value())]);
    let series = output([required("labels", labels()), required("points", list(point))]);
    output([
        required("query", any_text()),
        required("range", range()),
        required("step_seconds", number()),
        required("series", list(series)),
        required("newest", newest()),
        optional("warnings", list(any_text())),
    ])
}

fn snapshot_input_schema() -> Value {
    input([
        required("target", target("Target of the inventory")),
        optional("signals", names("Signals of the catalogue; absent or empty: all")),
        optional("time", time("Evaluation instant; absent: now")),
    ])
}

fn snapshot_output_schema() -> Value {
    let signal = output([
        required("name", any_text()),
        required("query", any_text()),
        required("unit", any_text()),
        required("samples", list(sample())),
        optional("newest", newest()),
        optional("error", any_text()),
    ]);
    output([
        required("target", any_text()),
        required("range", range()),
        required("signals", list(signal)),
        required("newest", newest()),
    ])
}

fn rank_input_schema() -> Value {
    input([
        optional("targets", names("Targets of the inventory; absent or empty: all")),
        optional("signals", names("Signals of the catalogue; absent or empty: all")),
        optional("start", time("Begin of the window; absent: 5 minutes before end")),
        optional("end", time("End of the window; absent: now")),
        optional("baseline_start", time("Absent: 30 minutes before baseline_end")),
        optional("baseline_end", time("Absent: start")),
        optional("step_seconds", step()),
    ])
}

fn rank_output_schema() -> Value {
    let deviation = output([
        required("signal", any_text()),
        required("query", any_text()),
        required("unit", any_text()),
        required("score", number()),
        required("baseline_median", number()),
        required("window_median", number()),
    ]);
    let suspect = output([
        required("target", any_text()),
        required("score", number()),
        required("reason", any_text()),
        required("deviations", list(deviation)),
    ]);
    output([
        required("range", range()),
        required("baseline", range()),
        required("suspects", list(suspect)),
        required("missing", list(any_text())),
        required("newest", newest()),
    ])
}

fn promql() -> Value {
    text("PromQL expression", 10_000)
}

fn sample() -> Value {
    output([
        required("labels", labels()),
        required("time", time("Time")),
        required("value", value()),
    ])
}

fn value() -> Value {
    json!({"type": ["number", "null"], "description": "null: NaN or infinite"})
}

fn newest() -> Value {
    nullable(time("Newest sample behind this answer"))
}

fn step() -> Value {
    json!({"type": "number", "exclusiveMinimum": 0, "description": "Seconds between points"})
}

fn names(description: &str) -> Value {
    json!({
        "type": "array", "maxItems": 200, "description": description,
        "items": {
            "type": "string", "minLength": 1, "maxLength": 253, "pattern": "^[a-zA-Z0-9_.:-]+$"
        }
    })
}
