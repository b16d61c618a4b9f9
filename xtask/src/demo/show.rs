//! Incidents in plain text: a line for each entry, and below it what shows that it is true.

use std::path::Path;

use incident::{CheckReport, Diagnosis, EntryKind, Incident, Outcome, StepReport, TimelineEntry};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

const WIDEST_VALUE: usize = 300;

/// Prints one entry with the seconds since the trigger.
pub(super) fn entry(triggered_at: Timestamp, entry: &TimelineEntry) {
    let seconds = seconds_between(triggered_at, entry.at);
    println!("{seconds:6.2} s  {}: {}", entry.actor, clean(&entry.summary));
    for line in below(entry) {
        println!("          {line}");
    }
}

/// Prints the ticket as it is now, with its place where that outlives the demo.
pub(super) fn ticket(incident: &Incident, is_kept: bool) {
    if let Some(ticket) = &incident.ticket {
        let url = clean(&ticket.url);
        let place = if is_kept { &url } else { "`--keep` keeps it to be read" };
        println!("          ticket {} is {} ({place})", ticket.key, ticket.status);
    }
}

/// The last line: which rule to edit next, and how to test it.
pub(super) fn next(root: &Path, incident: &Incident, fault: &str) -> String {
    let rule = incident.diagnosis.as_ref().and_then(|diagnosis| diagnosis.rule.as_deref());
    let file = rule.and_then(|rule| rule_file(&root.join("deploy/config"), rule));
    let place = match (&rule, file) {
        (Some(rule), Some(file)) => {
            let file = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            format!("{file} (rule {rule})")
        }
        _ => "a rule in deploy/config/rules".into(),
    };
    format!(
        "next: edit {place}, test it with `cargo test -p diagnostic-agent rules`, \
         see it with `cargo xtask demo --fault {fault}`"
    )
}

pub(super) fn seconds_between(start: Timestamp, end: Timestamp) -> f64 {
    end.duration_since(start).as_secs_f64()
}

fn below(entry: &TimelineEntry) -> Vec<String> {
    match &entry.kind {
        EntryKind::Diagnosed => {
            read(&entry.detail).map(|found| diagnosis(&found)).unwrap_or_default()
        }
        EntryKind::Concluded => {
            read(&entry.detail).map(|ended| outcome(&ended)).unwrap_or_default()
        }
        EntryKind::StepFinished
        | EntryKind::Verified
        | EntryKind::NotProven
        | EntryKind::GateStopped
        | EntryKind::RolledBack
        | EntryKind::RollbackFailed => fields(&entry.detail),
        _ => Vec::new(),
    }
}

fn read<'a, T: Deserialize<'a>>(detail: &'a Value) -> Option<T> {
    T::deserialize(detail).ok()
}

fn diagnosis(found: &Diagnosis) -> Vec<String> {
    let cause = found.cause.as_deref().unwrap_or("none found");
    let target = found.target.as_deref().unwrap_or("none");
    let confidence = found.confidence.value();
    let mut lines = vec![format!(
        "cause {cause} on {target}, confidence {confidence:.2} from {} cases",
        found.cases
    )];
    for evidence in &found.evidence {
        lines.push(format!("evidence {}: {}", evidence.name, clean(&evidence.summary)));
        let unit = evidence.unit.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
        lines.push(format!("  {} `{}`", evidence.tool, clean(&evidence.query)));
        lines.push(format!("  = {}{unit}", short(&evidence.value)));
    }
    for missing in &found.missing {
        lines.push(format!(
            "missing {} `{}`: {}",
            missing.name,
            missing.query,
            clean(&missing.why)
        ));
    }
    for alternative in &found.alternatives {
        lines.push(format!("not {}: {}", alternative.cause, clean(&alternative.why_not)));
    }
    lines
}

fn outcome(ended: &Outcome) -> Vec<String> {
    let mut lines: Vec<String> = ended.steps.iter().map(|report| step("fixed", report)).collect();
    lines.extend(ended.checks.iter().map(|report| check("", report)));
    lines.extend(ended.undo.iter().map(|report| step("undone", report)));
    lines.extend(ended.undo_checks.iter().map(|report| check("undo ", report)));
    lines
}

fn step(verb: &str, report: &StepReport) -> String {
    let (before, after) = (short(&report.before), short(&report.after));
    match &report.error {
        None => format!("{verb}: {} ({}): {before} -> {after}", report.name, report.action),
        Some(error) => format!("failed: {} ({}): {}", report.name, report.action, clean(error)),
    }
}

fn check(prefix: &str, report: &CheckReport) -> String {
    let verdict = if report.passed { "proven" } else { "not proven" };
    let value = report.value.map(|value| format!(" = {value:.3}")).unwrap_or_default();
    let (name, query) = (&report.name, clean(&report.query));
    format!("{prefix}{verdict}: {name} `{query}`{value}: {}", clean(&report.reason))
}

/// The parts of a detail that a person looks for, in the order they read them.
fn fields(detail: &Value) -> Vec<String> {
    let wanted = ["before", "after", "query", "value", "held_seconds", "reason", "error"];
    wanted
        .iter()
        .filter(|name| !detail[**name].is_null())
        .map(|name| format!("{name}: {}", short(&detail[*name])))
        .collect()
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => clean(text),
        other => other.to_string(),
    };
    if text.chars().count() <= WIDEST_VALUE {
        return text;
    }
    text.chars().take(WIDEST_VALUE).chain("…".chars()).collect()
}

/// Text from outside must not steer the terminal.
fn clean(text: &str) -> String {
    text.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn rule_file(directory: &Path, rule: &str) -> Option<std::path::PathBuf> {
    let mut waiting = vec![directory.to_path_buf()];
    let wanted = format!("id: {rule}");
    while let Some(next) = waiting.pop() {
        for path in std::fs::read_dir(next).ok()?.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            if text.lines().any(|line| line == wanted) {
                return Some(path);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn diagnosed_shows_queries_and_values() {
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let detail = json!({"incident_id": "inc_01890a5d-ac96-774b-bcce-b302099a8057",
            "cause": "db.connection_pool_exhausted", "summary": "s", "target": "db-server-01",
            "confidence": 0.93, "cases": 12,
            "evidence": [{"name": "pool", "tool": "system-monitor.query", "query": "db_connection_pool_size",
                "start": at, "end": at, "value": 2, "unit": "connections", "summary": "the pool has 2"}],
            "started_at": at, "finished_at": at});
        let entry = TimelineEntry::new(at, "diagnostic-agent", EntryKind::Diagnosed, "s");
        let lines = below(&entry.with_detail(detail));
        assert!(lines[0].contains("db.connection_pool_exhausted on db-server-01"), "{lines:?}");
        assert!(lines[2].contains("`db_connection_pool_size`"), "{lines:?}");
        assert!(lines[3].contains("= 2 connections"), "{lines:?}");
    }

    #[test]
    fn hostile_text_does_not_reach_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\n"), "a [2Jb");
        assert!(short(&Value::String("x".repeat(1000))).chars().count() <= WIDEST_VALUE + 1);
    }

    #[test]
    fn rule_is_found_in_its_file() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("rules")).unwrap();
        std::fs::write(directory.path().join("rules/db.yaml"), "id: pool-small\nevidence: []\n")
            .unwrap();
        let found = rule_file(directory.path(), "pool-small").unwrap();
        assert!(found.ends_with("rules/db.yaml"));
        assert_eq!(rule_file(directory.path(), "pool"), None);
    }
}
