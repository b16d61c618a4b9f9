//! Where the time went: the wait for the monitoring, our own share of each step, and the waits that
//! proof asks for.

use incident::{EntryKind, TimelineEntry};
use jiff::Timestamp;

use super::show::seconds_between;

/// One line of the table; it is left out where the step did not happen.
type Row = (&'static str, Option<(Timestamp, Timestamp)>);

pub(super) fn render(fault: &str, triggered_at: Timestamp, timeline: &[TimelineEntry]) -> String {
    let mut text = format!("{:<34}{:>12}\n", format!("{fault}: from → to"), "time");
    for (name, span) in rows(triggered_at, timeline) {
        if let Some((start, end)) = span {
            text.push_str(&format!("{name:<34}{:>12}\n", time(start, end)));
        }
    }
    text
}

fn rows(triggered_at: Timestamp, timeline: &[TimelineEntry]) -> [Row; 10] {
    let first = |kind: EntryKind| at(timeline.iter(), &kind);
    let last = |kind: EntryKind| at(timeline.iter().rev(), &kind);
    let webhook = first(EntryKind::AlertFired);
    let opened = first(EntryKind::IncidentOpened);
    let diagnosed = first(EntryKind::Diagnosed);
    let acted = first(EntryKind::StepStarted);
    let finished = last(EntryKind::StepFinished);
    let proven = last(EntryKind::Verified);
    let undone = last(EntryKind::RolledBack);
    let resolved = first(EntryKind::Resolved);
    let gone = last(EntryKind::AlertResolved);
    let closed = last(EntryKind::Closed);
    // The source may notice before or after the proof; what is left to do begins at the later one.
    let both = gone.zip(resolved).map(|(gone, resolved)| gone.max(resolved));
    [
        ("fault → webhook", Some(triggered_at).zip(webhook)),
        ("webhook → incident", webhook.zip(opened)),
        ("incident → diagnosed", opened.zip(diagnosed)),
        ("diagnosed → first action", diagnosed.zip(acted)),
        ("first action → last action done", acted.zip(finished)),
        ("last action done → proof held", finished.zip(proven)),
        ("last action done → undone", finished.zip(undone)),
        ("proof held → resolved", proven.zip(resolved)),
        ("resolved → gone at its source", resolved.zip(both)),
        ("both → closed", both.zip(closed)),
    ]
}

fn at<'a>(
    mut entries: impl Iterator<Item = &'a TimelineEntry>,
    kind: &EntryKind,
) -> Option<Timestamp> {
    entries.find(|entry| entry.kind == *kind).map(|entry| entry.at)
}

fn time(start: Timestamp, end: Timestamp) -> String {
    let seconds = seconds_between(start, end);
    if seconds >= 1.0 { format!("{seconds:.2} s") } else { format!("{:.0} ms", seconds * 1000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(milliseconds: i64, kind: EntryKind) -> TimelineEntry {
        TimelineEntry::new(Timestamp::from_millisecond(milliseconds).unwrap(), "a", kind, "s")
    }

    #[test]
    fn every_step_that_happened_is_timed() {
        let start = Timestamp::from_millisecond(0).unwrap();
        let timeline = [
            entry(8_000, EntryKind::AlertFired),
            entry(8_002, EntryKind::IncidentOpened),
            entry(8_030, EntryKind::Diagnosed),
            entry(8_045, EntryKind::StepStarted),
            entry(9_045, EntryKind::StepFinished),
        ];
        let text = render("database_timeout", start, &timeline);
        let times: Vec<&str> =
            text.lines().skip(1).map(|line| line.split("  ").last().unwrap().trim()).collect();
        assert_eq!(times, ["8.00 s", "2 ms", "28 ms", "15 ms", "1.00 s"]);
    }
}
