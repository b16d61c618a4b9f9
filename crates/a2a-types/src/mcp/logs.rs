//! `log-analyzer`: lines that match, and templates that grew. Every answer is bounded and says
//! when it was cut, what was searched, and how new the newest line is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::schema::{
    any_text, count, flag, input, labels, list, nullable, number, optional, output, range,
    required, target, text, time,
};
use super::{Effect, TimeRange, ToolDefinition};

/// The name of the server.
pub const SERVER: &str = "log-analyzer";
pub const SEARCH: &str = "search";
pub const PATTERNS: &str = "patterns";

pub const TOOLS: [ToolDefinition; 2] = [
    ToolDefinition {
        name: SEARCH,
        title: "Search log lines",
        description: "Log lines of one server or of all, newest last, that match a pattern (RE2 \
                      syntax) within a time range. When there are more than `limit`, the newest \
                      are returned and `truncated` is true.",
        input_schema: search_input_schema,
        output_schema: search_output_schema,
        effect: Effect::ReadOnly,
    },
    ToolDefinition {
        name: PATTERNS,
        title: "Log templates and their change",
        description: "Groups log lines into templates (variable parts become <*>) and counts them \
                      in a time range and in a baseline range; the largest change comes first.",
        input_schema: patterns_input_schema,
        output_schema: patterns_output_schema,
        effect: Effect::ReadOnly,
    },
];

/// The severity of a line, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    /// Reads the usual spellings (`WARNING`, `err`, `CRITICAL`, …).
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" | "notice" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" | "err" => Self::Error,
            "fatal" | "critical" | "crit" | "panic" | "alert" | "emerg" => Self::Fatal,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SearchInput {
    /// A server's name, such as `db-server-01`. Absent: every source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A regular expression in RE2 syntax, matched anywhere in the line. Absent: every line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Absent: 15 minutes before `end`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Lines without a recognised level are left out when this is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_level: Option<Level>,
    /// Lines returned at most. Absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchOutput {
    /// What was searched, in one line that a person can repeat.
    pub query: String,
    pub range: TimeRange,
    /// Oldest first.
    pub lines: Vec<LogLine>,
    /// There was more than was returned or read.
    pub truncated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_reason: Option<String>,
    /// Sources that were read.
    pub sources: Vec<String>,
    pub scanned_bytes: u64,
    /// Time of the newest line read, matching or not: how fresh this evidence can be.
    pub newest: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// Absent when the line bears no time; it then takes its place from its neighbours.
    pub time: Option<Timestamp>,
    pub source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The line's text: hostile input, quoted and bounded wherever it is shown.
    pub message: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PatternsInput {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only lines that match this regular expression are grouped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Absent: the range of the same length that ends where `start` begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_start: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_end: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_level: Option<Level>,
    /// Templates returned at most. Absent: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatternsOutput {
    pub query: String,
    pub range: TimeRange,
    pub baseline: TimeRange,
    /// Largest change first.
    pub templates: Vec<LogTemplate>,
    pub truncated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_reason: Option<String>,
    pub sources: Vec<String>,
    pub scanned_bytes: u64,
    pub newest: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogTemplate {
    /// The constant words of the line, with `<*>` for what varies.
    pub template: String,
    pub source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Lines in the range.
    pub count: u64,
    /// Lines in the baseline.
    pub baseline_count: u64,
    /// log2((count + 1) / (baseline_count scaled to the range's length + 1)); above 0 is growth.
    pub change: f64,
    /// One line of it, the newest.
    pub sample: String,
}

fn search_input_schema() -> Value {
    input([
        optional("source", target("Server whose log is read; absent: all")),
        optional("pattern", pattern()),
        optional("start", time("Begin of the range; absent: 15 minutes before end")),
        optional("end", time("End of the range; absent: now")),
        optional("min_level", level()),
        optional("limit", limit(100)),
    ])
}

fn search_output_schema() -> Value {
    let line = output([
        required("time", nullable(time("Time of the line"))),
        required("source", any_text()),
        optional("level", level()),
        required("labels", labels()),
        required("message", any_text()),
    ]);
    output([
        required("query", any_text()),
        required("range", range()),
        required("lines", list(line)),
        required("truncated", flag("There was more than was returned or read")),
        optional("truncated_reason", any_text()),
        required("sources", list(any_text())),
        required("scanned_bytes", count()),
        required("newest", nullable(time("Newest line read"))),
    ])
}

fn patterns_input_schema() -> Value {
    input([
        optional("source", target("Server whose log is read; absent: all")),
        optional("pattern", pattern()),
        optional("start", time("Begin of the range; absent: 15 minutes before end")),
        optional("end", time("End of the range; absent: now")),
        optional("baseline_start", time("Absent: a range of equal length before start")),
        optional("baseline_end", time("Absent: start")),
        optional("min_level", level()),
        optional("limit", limit(50)),
    ])
}

fn patterns_output_schema() -> Value {
    let template = output([
        required("template", any_text()),
        required("source", any_text()),
        optional("level", level()),
        required("count", count()),
        required("baseline_count", count()),
        required("change", number()),
        required("sample", any_text()),
    ]);
    output([
        required("query", any_text()),
        required("range", range()),
        required("baseline", range()),
        required("templates", list(template)),
        required("truncated", flag("There was more than was returned or read")),
        optional("truncated_reason", any_text()),
        required("sources", list(any_text())),
        required("scanned_bytes", count()),
        required("newest", nullable(time("Newest line read"))),
    ])
}

fn pattern() -> Value {
    text("Regular expression, RE2 syntax (no look-around, no back-references)", 1000)
}

fn level() -> Value {
    json!({"type": "string", "enum": ["trace", "debug", "info", "warn", "error", "fatal"]})
}

fn limit(default: u32) -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": default})
}
