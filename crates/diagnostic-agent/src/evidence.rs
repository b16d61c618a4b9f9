//! From a rule's named query to the call of a tool, and from the tool's answer to one value with
//! its query and time range. No data, stale data and what is not a number are no value: they are
//! missing, and say why.

use a2a_types::mcp::TimeRange;
use a2a_types::mcp::logs::{self, PatternsInput, PatternsOutput, SearchInput, SearchOutput};
use a2a_types::mcp::metrics::{
    self, Point, QueryInput, QueryOutput, QueryRangeInput, QueryRangeOutput,
};
use incident::Evidence;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use serde_json::{Value, json};

use crate::rules::{Ask, EvidenceSpec, LogAsk, MetricAsk, Over, Take};
use crate::text::{clean, is_plain_name, number, with_unit};

/// Lines fetched of one search: a count ends here.
const LINES: u32 = 200;
/// Points of a range.
const POINTS: f64 = 60.0;
/// Label values taken of one answer.
const NAMES: usize = 200;
/// How far back the beginning of an alert moves a window.
const OLDEST_ALERT: SignedDuration = SignedDuration::from_hours(6);

/// One call of a tool. Equal ones are asked once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Query {
    Instant(QueryInput),
    Range(QueryRangeInput),
    Search(SearchInput),
    Patterns(PatternsInput),
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Instant(QueryOutput),
    Range(QueryRangeOutput),
    Search(SearchOutput),
    Patterns(PatternsOutput),
}

/// The times a diagnosis is made at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    /// Age from which a newest sample is stale.
    pub(crate) stale_after: SignedDuration,
}

impl Query {
    /// The call for a piece of evidence of `target`, whose name is plain.
    pub(crate) fn of(spec: &EvidenceSpec, target: &str, began: Timestamp, now: Timestamp) -> Self {
        match &spec.ask {
            Ask::Metric(metric) => of_metric(metric, target, began, now),
            Ask::Log(log) => of_log(log, target, began, now),
        }
    }

    /// The tool and its action.
    pub(crate) fn tool(&self) -> String {
        let (server, action) = match self {
            Self::Instant(_) => (metrics::SERVER, metrics::QUERY),
            Self::Range(_) => (metrics::SERVER, metrics::QUERY_RANGE),
            Self::Search(_) => (logs::SERVER, logs::SEARCH),
            Self::Patterns(_) => (logs::SERVER, logs::PATTERNS),
        };
        format!("{server}.{action}")
    }

    /// The query as a person would repeat it.
    pub(crate) fn text(&self) -> String {
        let of = |source: &Option<String>, pattern: &Option<String>| {
            let (source, pattern) = (source.as_deref(), pattern.as_deref());
            format!("/{}/ in {}", pattern.unwrap_or_default(), source.unwrap_or("every log"))
        };
        match self {
            Self::Instant(input) => input.query.clone(),
            Self::Range(input) => input.query.clone(),
            Self::Search(input) => of(&input.source, &input.pattern),
            Self::Patterns(input) => of(&input.source, &input.pattern),
        }
    }
}

fn of_metric(metric: &MetricAsk, target: &str, began: Timestamp, now: Timestamp) -> Query {
    let query = metric.query.replace("$target", target);
    if metric.over.is_none() {
        return Query::Instant(QueryInput { query, time: Some(now) });
    }
    let start = window_start(metric.window_seconds, began, now);
    let step = (now.duration_since(start).as_secs_f64() / POINTS).max(1.0);
    Query::Range(QueryRangeInput { query, start, end: now, step_seconds: step })
}

fn of_log(log: &LogAsk, target: &str, began: Timestamp, now: Timestamp) -> Query {
    let source = Some(target.to_owned());
    let pattern = Some(pattern(log, target));
    let (start, end) = (Some(window_start(log.window_seconds, began, now)), Some(now));
    let min_level = log.level;
    match log.take {
        Take::Growth => Query::Patterns(PatternsInput {
            source,
            pattern,
            start,
            end,
            min_level,
            ..PatternsInput::default()
        }),
        Take::Count | Take::Newest => {
            let limit = Some(LINES);
            Query::Search(SearchInput { source, pattern, start, end, min_level, limit })
        }
    }
}

fn pattern(log: &LogAsk, target: &str) -> String {
    log.pattern.replace("$target", &regex::escape(target))
}

/// `seconds` before the alert began: what led to it lies there.
fn window_start(seconds: u64, began: Timestamp, now: Timestamp) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let earliest = now.checked_sub(OLDEST_ALERT).unwrap_or(Timestamp::MIN);
    let began = began.clamp(earliest, now);
    began.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN)
}

/// Reads what an answer says of a piece of evidence.
///
/// # Errors
/// Why it says nothing.
pub(crate) fn read(
    spec: &EvidenceSpec,
    query: &Query,
    target: &str,
    answer: &Answer,
    moment: Moment,
) -> Result<Evidence, String> {
    let (value, range, detail) = match (&spec.ask, answer) {
        (Ask::Metric(metric), Answer::Instant(output)) => {
            (instant(metric, output, moment)?, output.range, None)
        }
        (Ask::Metric(metric), Answer::Range(output)) => {
            (over(metric, output, moment)?, output.range, None)
        }
        (Ask::Log(log), Answer::Search(output)) => {
            let (value, detail) = lines(log, target, output)?;
            (value, output.range, detail)
        }
        (Ask::Log(_), Answer::Patterns(output)) => (growth(output)?, output.range, None),
        _ => return Err("the answer is of another kind".into()),
    };
    let unit = match &spec.ask {
        Ask::Metric(metric) => metric.unit.clone(),
        Ask::Log(log) => (log.take == Take::Count).then(|| "{lines}".to_owned()),
    };
    Ok(Evidence {
        name: spec.name.clone(),
        tool: query.tool(),
        query: query.text(),
        start: range.start,
        end: range.end,
        summary: sentence(spec, &value, unit.as_deref(), detail.as_deref(), range),
        value,
        unit,
    })
}

fn sentence(
    spec: &EvidenceSpec,
    value: &Value,
    unit: Option<&str>,
    detail: Option<&str>,
    range: TimeRange,
) -> String {
    let seconds = range.end.duration_since(range.start).as_secs();
    let within = if seconds > 0 { format!(" within {seconds} s") } else { String::new() };
    let detail = detail.map(|detail| format!(", {detail}")).unwrap_or_default();
    format!("{}: {}{within}{detail}", spec.says, with_unit(value, unit))
}

fn instant(metric: &MetricAsk, output: &QueryOutput, moment: Moment) -> Result<Value, String> {
    if output.samples.is_empty() {
        return Err("no data".into());
    }
    check_fresh(output.newest, moment)?;
    if let Some(label) = &metric.label {
        let names = output
            .samples
            .iter()
            .filter(|sample| sample.value.is_some_and(|value| value > 0.0))
            .filter_map(|sample| sample.labels.get(label).cloned())
            .take(NAMES);
        return Ok(Value::from_iter(names));
    }
    match output.samples.as_slice() {
        [one] => finite(one.value),
        many => Err(format!("{} series where the rule expects one", many.len())),
    }
}

fn over(metric: &MetricAsk, output: &QueryRangeOutput, moment: Moment) -> Result<Value, String> {
    let points: &[Point] = match output.series.as_slice() {
        [] => return Err("no data".into()),
        [one] => &one.points,
        many => return Err(format!("{} series where the rule expects one", many.len())),
    };
    check_fresh(output.newest, moment)?;
    let values: Vec<f64> = points.iter().filter_map(|point| point.value).collect();
    let (Some(first), Some(last)) = (values.first(), values.last()) else {
        return Err("no point is a number".into());
    };
    finite(Some(match metric.over {
        Some(Over::Max) => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Some(Over::Min) => values.iter().copied().fold(f64::INFINITY, f64::min),
        Some(Over::Mean) => values.iter().sum::<f64>() / values.len() as f64,
        Some(Over::First) => *first,
        Some(Over::Change) => last - first,
        None => *last,
    }))
}

/// A value with the newest matching line, quoted, for people.
fn lines(
    log: &LogAsk,
    target: &str,
    output: &SearchOutput,
) -> Result<(Value, Option<String>), String> {
    check_read(&output.sources, output.newest, output.range)?;
    let newest = output.lines.last();
    let quoted = newest.map(|line| format!("newest: {:?}", clean(&line.message)));
    if log.take == Take::Newest {
        let line = newest.ok_or("no line matches")?;
        return Ok((captured(&pattern(log, target), &line.message)?, quoted));
    }
    let cut = if output.truncated { ", and there were more" } else { "" };
    let detail = quoted.map(|quoted| format!("{quoted}{cut}"));
    Ok((json!(output.lines.len()), detail))
}

/// What the first group matches. A log line is hostile: only a plain name is taken from it.
fn captured(pattern: &str, line: &str) -> Result<Value, String> {
    let regex = Regex::new(pattern).map_err(|_| "the pattern does not compile")?;
    let found = regex.captures(line).and_then(|groups| groups.get(1));
    let text = found.ok_or("the pattern's group matches nothing")?.as_str();
    match is_plain_name(text) {
        true => Ok(json!(text)),
        false => Err(format!("{:?} is not a plain name", clean(text))),
    }
}

fn growth(output: &PatternsOutput) -> Result<Value, String> {
    check_read(&output.sources, output.newest, output.range)?;
    let seconds = |range: TimeRange| range.end.duration_since(range.start).as_secs_f64().max(1.0);
    let during: u64 = output.templates.iter().map(|template| template.count).sum();
    let before: u64 = output.templates.iter().map(|template| template.baseline_count).sum();
    let expected = before as f64 * seconds(output.range) / seconds(output.baseline);
    finite(Some(((during as f64 + 1.0) / (expected + 1.0)).log2()))
}

fn finite(value: Option<f64>) -> Result<Value, String> {
    value.and_then(number).ok_or_else(|| "the value is not a number".into())
}

/// A backend that cannot tell its newest sample is believed: it returned samples.
fn check_fresh(newest: Option<Timestamp>, moment: Moment) -> Result<(), String> {
    let Some(newest) = newest else { return Ok(()) };
    let age = moment.now.duration_since(newest);
    match age > moment.stale_after {
        true => Err(format!("stale: the newest sample is {} s old", age.as_secs())),
        false => Ok(()),
    }
}

/// A log that is not written says nothing, and not that nothing happened.
fn check_read(
    sources: &[String],
    newest: Option<Timestamp>,
    range: TimeRange,
) -> Result<(), String> {
    match newest {
        _ if sources.is_empty() => Err("there is no such log".into()),
        None => Err("the log is empty".into()),
        Some(newest) if newest < range.start => Err(format!("stale: the log ends at {newest:.0}")),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
