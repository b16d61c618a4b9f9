//! The account of a run, for people.

use std::collections::BTreeMap;

use incident::{EntryKind, Phase};

use super::check::{Violation, state_of};
use super::effects::Effect;
use super::processes::Blow;
use super::records::Records;
use super::site::Instance;

#[derive(Debug)]
pub(crate) struct Account<'a> {
    pub(crate) blows: &'a BTreeMap<(Blow, Instance, String), u32>,
    pub(crate) records: &'a Records,
    pub(crate) effects: &'a [Effect],
    /// Webhooks that were acknowledged, and tries that were not.
    pub(crate) webhooks: u64,
    pub(crate) refused: u64,
    /// Alerts that fired and were acknowledged.
    pub(crate) alerts: usize,
    /// Changes and tasks that another process went on with.
    pub(crate) takeovers: usize,
    pub(crate) violations: &'a [Violation],
}

pub(crate) fn print(account: &Account<'_>) {
    blows(account);
    println!();
    let rows = [
        ("webhooks acknowledged", account.webhooks.to_string()),
        ("tries of a webhook without an answer", account.refused.to_string()),
        ("alerts acknowledged", account.alerts.to_string()),
        ("incidents", counted(phases(account.records))),
        ("effects begun", account.effects.len().to_string()),
        ("effects cut short", cut_short(account).to_string()),
        ("changes", counted(changes(account.records))),
        ("unknown outcomes", unknown(account.records).to_string()),
        ("probes", entries(account.records, "finding out").to_string()),
        ("quarantines", account.records.quarantined.len().to_string()),
        ("takeovers", account.takeovers.to_string()),
        ("violations", account.violations.len().to_string()),
    ];
    for (name, value) in rows {
        println!("{name:<38} {value}");
    }
    for violation in account.violations.iter().take(40) {
        println!("VIOLATION of {}: {}", violation.invariant, violation.seen);
    }
    if account.violations.len() > 40 {
        println!("and {} more", account.violations.len() - 40);
    }
}

/// Kills and freezes by program and place.
fn blows(account: &Account<'_>) {
    let mut places: Vec<&str> = account.blows.keys().map(|(_, _, place)| place.as_str()).collect();
    places.sort_unstable();
    places.dedup();
    let titles =
        [(Blow::Kill, "kills (-9)"), (Blow::Freeze, "freezes"), (Blow::Stop, "stops (SIGTERM)")];
    for (blow, title) in titles {
        if !account.blows.keys().any(|(one, ..)| *one == blow) {
            continue;
        }
        let own = || account.blows.iter().filter(move |((one, ..), _)| *one == blow);
        let mut programs: Vec<Instance> = own().map(|((_, one, _), _)| *one).collect();
        programs.dedup();
        let head: String = places.iter().map(|place| format!("{place:>15}")).collect();
        println!("{title:<22}{head}{:>8}", "all");
        let sum = |instance: Option<Instance>, place: Option<&str>| -> u32 {
            own()
                .filter(|((_, one, _), _)| instance.is_none_or(|wanted| wanted == *one))
                .filter(|((_, _, at), _)| place.is_none_or(|wanted| wanted == at))
                .map(|(_, count)| count)
                .sum()
        };
        let row = |name: String, instance: Option<Instance>| {
            let cells = places.iter().map(|place| sum(instance, Some(place)));
            let cells: String = cells.map(|count| format!("{count:>15}")).collect();
            println!("{name:<22}{cells}{:>8}", sum(instance, None));
        };
        for instance in programs {
            row(instance.to_string(), Some(instance));
        }
        row("all".to_owned(), None);
    }
}

fn counted(names: impl Iterator<Item = String>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let all: usize = counts.values().sum();
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    format!("{all} ({})", parts.join(", "))
}

fn phases(records: &Records) -> impl Iterator<Item = String> {
    records.cases.iter().map(|case| match &case.incident.phase {
        Phase::Closed { by, .. } => format!("closed by {by:?}"),
        phase => phase.name().to_owned(),
    })
}

fn changes(records: &Records) -> impl Iterator<Item = String> {
    records.changes.iter().map(state_of)
}

fn cut_short(account: &Account<'_>) -> usize {
    account.effects.iter().filter(|effect| effect.is_cut_short).count()
}

fn unknown(records: &Records) -> usize {
    records.changes.iter().filter(|row| state_of(row) == "unknown").count()
}

fn entries(records: &Records, part: &str) -> usize {
    let entries = records.cases.iter().flat_map(|case| &case.timeline);
    entries.filter(|entry| entry.kind == EntryKind::Note && entry.summary.contains(part)).count()
}
