//! What the ticket of an incident should say: its status, and one comment for every entry of the
//! timeline that a person would want to read later.

use incident::{EntryKind, Incident, Phase, TicketComment, TicketStatus, TicketUpdate};
use serde_json::Value;
use store::AuditRow;

/// Longest detail shown below an entry.
const DETAIL_CHARS: usize = 2_000;
/// Characters of one update's comments: of a longer timeline the oldest are left out, unless an
/// earlier update told them.
const UPDATE_CHARS: usize = 500_000;
/// Alerts described, and characters of each.
const ALERTS: usize = 50;
const ALERT_CHARS: usize = 500;

pub(crate) fn update(incident: &Incident, timeline: &[AuditRow]) -> TicketUpdate {
    TicketUpdate {
        incident_id: incident.id,
        title: incident.title.clone(),
        description: describe(incident),
        severity: incident.severity,
        status: status(incident),
        labels: vec!["firebreak".into()],
        comments: comments(timeline),
    }
}

fn comments(timeline: &[AuditRow]) -> Vec<TicketComment> {
    let mut left = UPDATE_CHARS;
    let told = timeline.iter().rev().filter(|row| is_told(&row.entry.kind)).map(comment);
    let mut newest: Vec<TicketComment> = told
        .take_while(|comment| {
            let fits = comment.text.chars().count() <= left;
            left = left.saturating_sub(comment.text.chars().count());
            fits
        })
        .collect();
    newest.reverse();
    newest
}

fn status(incident: &Incident) -> TicketStatus {
    match &incident.phase {
        Phase::Open | Phase::Diagnosing => TicketStatus::Investigating,
        Phase::Planned | Phase::AwaitingApproval { .. } => TicketStatus::Identified,
        Phase::Remediating | Phase::Verifying | Phase::RollingBack => TicketStatus::Resolving,
        Phase::NeedsHuman { .. } => TicketStatus::NeedsHuman,
        Phase::Resolved { .. } => TicketStatus::Resolved,
        Phase::Closed { .. } | Phase::Suppressed { .. } => TicketStatus::Closed,
    }
}

fn describe(incident: &Incident) -> String {
    let mut lines = vec![
        incident.description.clone(),
        String::new(),
        format!("Incident: {}", incident.id),
        format!("Opened: {}", incident.opened_at),
        format!("Affected: {}", incident.affected_systems.join(", ")),
        format!("Tags: {}", incident.tags.join(", ")),
    ];
    for tracked in incident.alerts.iter().take(ALERTS) {
        let alert = &tracked.alert;
        let labels: Vec<String> =
            alert.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let line =
            format!("Alert: {} since {} {{{}}}", alert.name, alert.starts_at, labels.join(", "));
        lines.push(line.chars().take(ALERT_CHARS).collect());
    }
    if let Some(more) = incident.alerts.len().checked_sub(ALERTS).filter(|more| *more > 0) {
        lines.push(format!("and {more} more alerts"));
    }
    lines.join("\n")
}

fn is_told(kind: &EntryKind) -> bool {
    !matches!(kind, EntryKind::TicketSynced | EntryKind::DiagnosisStarted)
}

fn comment(row: &AuditRow) -> TicketComment {
    let entry = &row.entry;
    let mut text = format!("{} ({}): {}", entry.at, entry.actor, entry.summary);
    for line in details(&entry.kind, &entry.detail) {
        text.push_str("\n- ");
        text.push_str(&line);
    }
    if text.chars().count() > DETAIL_CHARS {
        text = text.chars().take(DETAIL_CHARS).collect::<String>() + " …";
    }
    TicketComment { sequence: u64::try_from(row.sequence).unwrap_or_default(), at: entry.at, text }
}

/// The lines below an entry: evidence with its queries, what was done with before and after, and
/// the checks.
fn details(kind: &EntryKind, detail: &Value) -> Vec<String> {
    let text = |value: &Value, field: &str| {
        value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let list =
        |field: &str| detail.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    match kind {
        EntryKind::Diagnosed => list("evidence")
            .iter()
            .map(|e| format!("{} [{}: {}]", text(e, "summary"), text(e, "tool"), text(e, "query")))
            .collect(),
        EntryKind::Concluded => {
            let step = |verb: &'static str| {
                move |s: &Value| {
                    let error = s.get("error").and_then(Value::as_str);
                    let end = error.map(|error| format!(" failed: {error}")).unwrap_or_default();
                    format!("{verb} {}: {} → {}{end}", text(s, "name"), s["before"], s["after"])
                }
            };
            let check = |c: &Value| {
                format!("check {} [{}]: {}", text(c, "name"), text(c, "query"), text(c, "reason"))
            };
            let mut lines: Vec<String> = list("steps").iter().map(step("did")).collect();
            lines.extend(list("checks").iter().map(check));
            lines.extend(list("undo").iter().map(step("undid")));
            lines.extend(list("undo_checks").iter().map(check));
            lines
        }
        _ => Vec::new(),
    }
}
