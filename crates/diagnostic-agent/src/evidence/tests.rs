//! What counts as a value, and what as missing.

use std::collections::BTreeMap;

use a2a_types::mcp::TimeRange;
use a2a_types::mcp::logs::{LogLine, LogTemplate};
use a2a_types::mcp::metrics::{Sample, Series};

use super::*;

const TARGET: &str = "db.server-01";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn moment() -> Moment {
    Moment { now: at(0), stale_after: SignedDuration::from_secs(30) }
}

fn spec(yaml: &str) -> EvidenceSpec {
    service::parse_yaml(yaml, "test").unwrap()
}

/// The value, or why there is none.
fn value(spec: &EvidenceSpec, answer: &Answer) -> Result<Value, String> {
    let query = Query::of(spec, TARGET, at(-20), at(0));
    read(spec, &query, TARGET, answer, moment()).map(|evidence| evidence.value)
}

fn instant_of(samples: &[(&str, Option<f64>)], newest: Option<Timestamp>) -> Answer {
    let sample = |(job, value): &(&str, Option<f64>)| Sample {
        labels: [("job".to_owned(), (*job).to_owned())].into(),
        time: at(0),
        value: *value,
    };
    Answer::Instant(QueryOutput {
        query: String::new(),
        range: TimeRange { start: at(0), end: at(0) },
        samples: samples.iter().map(sample).collect(),
        newest,
        warnings: Vec::new(),
    })
}

fn search_of(lines: &[&str], sources: &[&str], newest: Option<Timestamp>) -> Answer {
    let line = |text: &&str| LogLine {
        time: Some(at(-1)),
        source: TARGET.into(),
        level: None,
        labels: BTreeMap::new(),
        message: (*text).into(),
    };
    Answer::Search(SearchOutput {
        query: String::new(),
        range: TimeRange { start: at(-80), end: at(0) },
        lines: lines.iter().map(line).collect(),
        truncated: false,
        truncated_reason: None,
        sources: sources.iter().map(|source| (*source).to_owned()).collect(),
        scanned_bytes: 0,
        newest,
    })
}

#[test]
fn metric_is_one_finite_fresh_number() {
    let spec = spec("{name: a, metric: {query: up}}");
    let fresh = Some(at(-30));
    assert_eq!(value(&spec, &instant_of(&[("x", Some(2.5))], fresh)), Ok(json!(2.5)));
    assert_eq!(value(&spec, &instant_of(&[("x", Some(2.0))], None)), Ok(json!(2)));
    let why = |answer| value(&spec, &answer).unwrap_err();
    assert_eq!(why(instant_of(&[], fresh)), "no data");
    assert_eq!(why(instant_of(&[("x", None)], fresh)), "the value is not a number");
    let stale = instant_of(&[("x", Some(1.0))], Some(at(-31)));
    assert_eq!(why(stale), "stale: the newest sample is 31 s old");
    let two = instant_of(&[("x", Some(1.0)), ("y", Some(1.0))], fresh);
    assert_eq!(why(two), "2 series where the rule expects one");
}

#[test]
fn label_gives_the_names_of_series_above_zero() {
    let spec = spec("{name: a, metric: {query: up, label: job}}");
    let answer = instant_of(&[("x", Some(1.0)), ("y", Some(0.0)), ("z", Some(2.0))], None);
    assert_eq!(value(&spec, &answer), Ok(json!(["x", "z"])));
}

#[test]
fn range_comes_to_one_number() {
    let points = [4.0, 1.0, 7.0].map(|value| Point { time: at(0), value: Some(value) });
    let series = Series { labels: BTreeMap::new(), points: points.to_vec() };
    let answer = |series: Vec<Series>| {
        Answer::Range(QueryRangeOutput {
            query: String::new(),
            range: TimeRange { start: at(-80), end: at(0) },
            step_seconds: 1.0,
            series,
            newest: Some(at(0)),
            warnings: Vec::new(),
        })
    };
    for (over, expected) in
        [("max", 7.0), ("min", 1.0), ("mean", 4.0), ("first", 4.0), ("change", 3.0)]
    {
        let spec = spec(&format!("{{name: a, metric: {{query: up, over: {over}}}}}"));
        let found = value(&spec, &answer(vec![series.clone()])).unwrap();
        assert_eq!(found.as_f64(), Some(expected), "{over}");
        assert_eq!(value(&spec, &answer(Vec::new())), Err("no data".into()));
    }
}

#[test]
fn log_lines_are_counted_and_a_silent_log_is_no_witness() {
    let spec = spec("{name: a, log: {pattern: timed out}}");
    let newest = Some(at(-2));
    assert_eq!(value(&spec, &search_of(&["timed out"; 3], &[TARGET], newest)), Ok(json!(3)));
    assert_eq!(value(&spec, &search_of(&[], &[TARGET], newest)), Ok(json!(0)));
    let why = |answer| value(&spec, &answer).unwrap_err();
    assert_eq!(why(search_of(&[], &[], newest)), "there is no such log");
    assert_eq!(why(search_of(&[], &[TARGET], None)), "the log is empty");
    let silent = search_of(&[], &[TARGET], Some(at(-81)));
    assert_eq!(why(silent), "stale: the log ends at 1970-01-12T13:45:19Z");
}

#[test]
fn only_a_plain_name_is_taken_from_a_line() {
    let spec = spec("{name: a, log: {pattern: 'job (.+) runs', take: newest}}");
    let of = |line: &str| value(&spec, &search_of(&["job old runs", line], &[TARGET], Some(at(0))));
    assert_eq!(of("job report-1 runs"), Ok(json!("report-1")));
    assert_eq!(of("job a; reboot runs"), Err("\"a; reboot\" is not a plain name".into()));
    let none = search_of(&[], &[TARGET], Some(at(0)));
    assert_eq!(value(&spec, &none), Err("no line matches".into()));
}

#[test]
fn growth_compares_with_the_time_before() {
    let spec = spec("{name: a, log: {pattern: x, take: growth}}");
    let template = |count, baseline_count| LogTemplate {
        template: "x <*>".into(),
        source: TARGET.into(),
        level: None,
        count,
        baseline_count,
        change: 0.0,
        sample: "x 1".into(),
    };
    let answer = Answer::Patterns(PatternsOutput {
        query: String::new(),
        range: TimeRange { start: at(-80), end: at(0) },
        baseline: TimeRange { start: at(-160), end: at(-80) },
        templates: vec![template(10, 1), template(5, 0)],
        truncated: false,
        truncated_reason: None,
        sources: vec![TARGET.into()],
        scanned_bytes: 0,
        newest: Some(at(0)),
    });
    assert_eq!(value(&spec, &answer), Ok(json!(3)));
}

#[test]
fn query_names_the_target_and_begins_before_the_alert() {
    let spec = spec("{name: a, log: {pattern: 'from $target', window_seconds: 60}}");
    let Query::Search(search) = Query::of(&spec, TARGET, at(-20), at(0)) else {
        panic!("not a search")
    };
    assert_eq!(search.pattern.as_deref(), Some(r"from db\.server\-01"));
    assert_eq!((search.start, search.end), (Some(at(-80)), Some(at(0))));
    let Query::Search(search) = Query::of(&spec, TARGET, at(-1_000_000), at(0)) else {
        panic!("not a search")
    };
    assert_eq!(search.start, Some(at(-6 * 3600 - 60)), "an old alert is not followed for ever");
}
