//! `log-analyzer` over MCP, against files that a test writes.
#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]

mod support;

use std::fmt::Write as _;
use std::path::Path;

use a2a_types::mcp::logs::{
    Level, PATTERNS, PatternsInput, PatternsOutput, SEARCH, SearchInput, SearchOutput,
};
use jiff::Timestamp;
use mcp_tools::log_analyzer::{Config, start};
use support::{Served, refused_field, serve};

const START: i64 = 1_750_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

/// Two sources: a database whose pool begins to time out after 60 s, and a calm application.
fn write_logs(directory: &Path) {
    let mut database = String::new();
    for second in 0..120 {
        writeln!(database, "{} INFO  checkpoint complete in {} ms", at(second), 3 + second % 5)
            .unwrap();
        if second >= 60 {
            let line = "ERROR pool connection acquire timed out after 250 ms (active=2 size=2)";
            writeln!(database, "{} {line}\n    waiting={second}", at(second)).unwrap();
        }
    }
    let half = database.lines().take(30).map(|line| format!("{line}\n")).collect::<String>();
    std::fs::write(directory.join("db-1.log.1"), &half).unwrap();
    std::fs::write(directory.join("db-1.log"), &database[half.len()..]).unwrap();
    let mut app = String::new();
    for second in 0..120 {
        writeln!(app, "{} INFO http GET /orders 200", at(second)).unwrap();
    }
    app.push_str("2025-06-15T15:08:00Z WARN gc \0 \u{1b}[31mhostile\u{1b}[0m {{ x }}\n");
    let mut app = app.into_bytes();
    app.extend_from_slice(b"\xff\xfe not UTF-8\n");
    std::fs::write(directory.join("app-1.log"), app).unwrap();
}

async fn served(directory: &Path) -> Served {
    let config = Config {
        listen: "127.0.0.1:0".to_owned(),
        directory: directory.to_owned(),
        ..Config::default()
    };
    serve(config, start).await
}

fn search() -> SearchInput {
    SearchInput { start: Some(at(0)), end: Some(at(200)), ..SearchInput::default() }
}

#[tokio::test]
async fn search_finds_the_newest_matches_and_says_what_it_read() {
    let directory = tempfile::tempdir().unwrap();
    write_logs(directory.path());
    let served = served(directory.path()).await;
    let input = SearchInput {
        source: Some("db-1".to_owned()),
        pattern: Some(r"timed out after \d+ ms".to_owned()),
        min_level: Some(Level::Warn),
        limit: Some(10),
        ..search()
    };
    let found: SearchOutput = served.call(SEARCH, &input).await.unwrap();
    assert_eq!((found.lines.len(), found.truncated), (10, true));
    assert_eq!(found.lines[9].time, Some(at(119)));
    assert_eq!(found.lines[0].labels["component"], "pool");
    assert_eq!(found.lines[0].level, Some(Level::Error));
    assert_eq!((found.sources, found.newest), (vec!["db-1".to_owned()], Some(at(119))));
    assert_eq!(found.query, r#"source=db-1 level>=warn pattern="timed out after \\d+ ms""#);
    served.stop().await;
}

#[tokio::test]
async fn a_range_reaches_into_rotated_files_and_lines_without_time_stay_with_their_neighbour() {
    let directory = tempfile::tempdir().unwrap();
    write_logs(directory.path());
    let served = served(directory.path()).await;
    let checkpoints = SearchInput {
        source: Some("db-1".to_owned()),
        pattern: Some("checkpoint".to_owned()),
        limit: Some(1000),
        ..search()
    };
    let found: SearchOutput = served.call(SEARCH, &checkpoints).await.unwrap();
    assert_eq!((found.lines.len(), found.truncated), (120, false));
    let waiting = SearchInput {
        pattern: Some("^ +waiting=".to_owned()),
        start: Some(at(100)),
        end: Some(at(109)),
        ..SearchInput::default()
    };
    let found: SearchOutput = served.call(SEARCH, &waiting).await.unwrap();
    assert_eq!(found.lines.len(), 10);
    assert_eq!((found.lines[0].time, found.lines[0].message.trim()), (None, "waiting=100"));
    served.stop().await;
}

#[tokio::test]
async fn hostile_bytes_are_returned_as_text_and_nothing_found_is_an_empty_answer() {
    let directory = tempfile::tempdir().unwrap();
    write_logs(directory.path());
    let served = served(directory.path()).await;
    let input = SearchInput { pattern: Some("hostile|UTF-8".to_owned()), ..search() };
    let found: SearchOutput = served.call(SEARCH, &input).await.unwrap();
    assert_eq!(found.lines.len(), 2);
    assert!(found.lines[0].message.contains("\u{0} \u{1b}[31mhostile"));
    assert!(found.lines[1].message.starts_with("\u{fffd}\u{fffd}"));
    let input = SearchInput { pattern: Some("never written".to_owned()), ..search() };
    let found: SearchOutput = served.call(SEARCH, &input).await.unwrap();
    assert!(found.lines.is_empty() && !found.truncated && found.newest.is_some());
    served.stop().await;
}

#[tokio::test]
async fn the_template_that_began_with_the_fault_changed_most() {
    let directory = tempfile::tempdir().unwrap();
    write_logs(directory.path());
    let served = served(directory.path()).await;
    let input =
        PatternsInput { start: Some(at(60)), end: Some(at(119)), ..PatternsInput::default() };
    let found: PatternsOutput = served.call(PATTERNS, &input).await.unwrap();
    assert_eq!((found.baseline.start, found.baseline.end), (at(1), at(60)));
    let worst = &found.templates[0];
    assert_eq!(
        (worst.template.as_str(), worst.source.as_str(), worst.count),
        ("pool connection acquire timed out after <*> ms (active=<*> size=<*>", "db-1", 60)
    );
    assert!(worst.baseline_count <= 1 && worst.change > 4.0, "{worst:?}");
    let calm = found.templates.iter().find(|t| t.template.starts_with("http GET")).unwrap();
    assert!(calm.change.abs() < 0.1, "{calm:?}");
    served.stop().await;
}

#[tokio::test]
async fn bad_input_is_refused_by_the_field_it_is_in() {
    let directory = tempfile::tempdir().unwrap();
    write_logs(directory.path());
    let served = served(directory.path()).await;
    let cases = [
        (SearchInput { pattern: Some("(".to_owned()), ..search() }, "pattern"),
        (SearchInput { pattern: Some("(?=x)".to_owned()), ..search() }, "pattern"),
        (SearchInput { source: Some("db-9".to_owned()), ..search() }, "source"),
        (SearchInput { source: Some("../../etc/passwd".to_owned()), ..search() }, "source"),
        (SearchInput { limit: Some(0), ..search() }, "limit"),
        (SearchInput { end: Some(at(-1)), ..search() }, "start"),
    ];
    for (input, field) in cases {
        assert_eq!(refused_field(served.call::<SearchOutput>(SEARCH, &input).await), field);
    }
    served.stop().await;
}
