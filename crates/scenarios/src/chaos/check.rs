//! The invariants, each held against what was seen: the targets' own log of effects, the databases,
//! the tickets and the programs' output. A violation names what shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use incident::{EntryKind, Incident, Phase, TicketStatus};
use jiff::Timestamp;
use serde_json::Value;
use store::{AttemptRow, ChangeRow};

use super::effects::Effect;
use super::load::Acknowledged;
use super::plan::{Kind, Target};
use super::records::Records;
use crate::Case;

#[cfg(test)]
mod tests;

/// What a program may use, in kilobytes; debug builds are larger than what ships.
const MOST_KILOBYTES: u64 = 300 * 1024;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) seen: String,
}

/// Everything that is known of a run.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) records: &'a Records,
    pub(crate) effects: &'a [Effect],
    pub(crate) acknowledged: &'a BTreeSet<Acknowledged>,
    pub(crate) targets: &'a [Target],
    /// Most memory that each process had.
    pub(crate) kilobytes: Vec<(String, u64)>,
    pub(crate) secrets: Vec<String>,
    /// Holds every file of the run.
    pub(crate) scratch: &'a Path,
}

impl Seen<'_> {
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let checks: [(&'static str, Vec<String>); 10] = [
            ("1 an acknowledged alert is in one incident", self.alerts()),
            ("2 one open incident per key", self.open_incidents()),
            ("3 one effect per step and attempt", self.effects_of_one()),
            ("4 no two effects overlap on a target", self.overlaps()),
            ("5 fences never go back", self.fences()),
            ("6 every incident is ended or handed over", self.ends()),
            ("7 chains verify; intent before, outcome after", self.account()),
            ("8 one ticket per incident", self.tickets()),
            ("9 no secret", self.secrets()),
            ("10 memory and queues are bounded", self.bounds()),
        ];
        let violations = checks.into_iter().flat_map(|(invariant, seen)| {
            seen.into_iter().map(move |seen| Violation { invariant, seen })
        });
        violations.collect()
    }

    fn alerts(&self) -> Vec<String> {
        let mut holders: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for case in &self.records.cases {
            for tracked in &case.incident.alerts {
                let holder = case.incident.id.to_string();
                holders.entry(&tracked.alert.fingerprint).or_default().push(holder);
            }
        }
        let wrong = self.acknowledged.iter().filter_map(|alert| {
            let holders = holders.get(alert.fingerprint.as_str()).map_or(&[][..], Vec::as_slice);
            (holders.len() != 1).then(|| format!("{} is in {holders:?}", alert.fingerprint))
        });
        wrong.collect()
    }

    fn open_incidents(&self) -> Vec<String> {
        let mut spans: BTreeMap<String, Vec<(Timestamp, Timestamp, String)>> = BTreeMap::new();
        for case in &self.records.cases {
            let spans = spans.entry(format!("{:?}", case.incident.key)).or_default();
            let id = case.incident.id.to_string();
            spans.extend(open_spans(case).into_iter().map(|(from, to)| (from, to, id.clone())));
        }
        let mut wrong = Vec::new();
        for (key, mut spans) in spans {
            spans.sort();
            for pair in spans.windows(2) {
                if pair[1].0 < pair[0].1 && pair[0].2 != pair[1].2 {
                    wrong.push(format!("{key}: {} and {} were open at once", pair[0].2, pair[1].2));
                }
            }
        }
        wrong
    }

    fn change_of(&self, effect: &Effect) -> Option<&ChangeRow> {
        let id = effect.change.as_ref()?;
        self.records.changes.iter().find(|row| row.change.id == *id)
    }

    fn attempt_of(&self, change: &ChangeRow) -> Option<&AttemptRow> {
        let key = &change.change.idempotency_key;
        self.records.attempts.iter().find(|row| row.attempt.id.to_string() == *key)
    }

    fn effects_of_one(&self) -> Vec<String> {
        let mut of_key: BTreeMap<String, u32> = BTreeMap::new();
        for effect in self.effects {
            let change = effect.change.as_deref().unwrap_or("no change");
            *of_key.entry(format!("{change} on {}", effect.target)).or_default() += 1;
            let Some(change) = self.change_of(effect) else { continue };
            let key = format!("idempotency key {}", change.change.idempotency_key);
            *of_key.entry(key).or_default() += 1;
            let Some(attempt) = self.attempt_of(change) else { continue };
            if self.kind(&effect.target) == Some(Kind::AtMostOnce) {
                let body = &attempt.attempt.body;
                let step = format!("plan {} step {} {}", body["plan"], body["step"], body["kind"]);
                *of_key.entry(step).or_default() += 1;
            }
        }
        let twice = of_key.into_iter().filter(|(_, count)| *count > 1);
        twice.map(|(key, count)| format!("{key}: {count} effects")).collect()
    }

    fn kind(&self, target: &str) -> Option<Kind> {
        self.targets.iter().find(|one| one.name == target).map(|one| one.kind)
    }

    /// The effects of each target, in the order in which they began.
    fn by_target(&self) -> BTreeMap<&str, Vec<&Effect>> {
        let mut targets: BTreeMap<&str, Vec<&Effect>> = BTreeMap::new();
        for effect in self.effects {
            targets.entry(&effect.target).or_default().push(effect);
        }
        targets
    }

    fn overlaps(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (target, effects) in self.by_target() {
            for pair in effects.windows(2) {
                let [first, second] = pair else { continue };
                if first.ended.is_none_or(|ended| second.began < ended) {
                    wrong.push(format!("{target}: {} and {}", told(first), told(second)));
                }
            }
        }
        wrong
    }

    fn fences(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (target, effects) in self.by_target() {
            let mut greatest = 0;
            for effect in effects {
                let attempt = self.change_of(effect).and_then(|change| self.attempt_of(change));
                let token = attempt.and_then(|row| row.attempt.body["token"].as_i64());
                let Some(token) = token else { continue };
                if token < greatest {
                    let effect = told(effect);
                    wrong.push(format!("{target}: {effect} with {token} after {greatest}"));
                }
                greatest = greatest.max(token);
            }
        }
        wrong
    }

    fn ends(&self) -> Vec<String> {
        let wrong = self.records.cases.iter().filter_map(|case| {
            let incident = &case.incident;
            let Some(wanted) = ticket_at_the_end(incident) else {
                return Some(format!("{} stays in {}", incident.id, incident.phase.name()));
            };
            let statuses = self.ticket_statuses(incident);
            let seen = format!("{} is {wanted:?}, but its ticket {statuses:?}", incident.id);
            (!statuses.is_empty() && !statuses.contains(&wanted)).then_some(seen)
        });
        wrong.collect()
    }

    fn ticket_statuses(&self, incident: &Incident) -> Vec<TicketStatus> {
        let own = self.records.tickets.iter().filter(|ticket| ticket.incident == incident.id);
        own.map(|ticket| ticket.status).collect()
    }

    fn account(&self) -> Vec<String> {
        let mut wrong = self.records.broken_chains.clone();
        for effect in self.effects {
            let Some(change) = self.change_of(effect) else {
                wrong.push(format!("{}: {} has no intent", effect.target, told(effect)));
                continue;
            };
            if change.change.started_at > effect.began {
                wrong.push(format!("{} was committed after its effect", change.change.id));
            }
            match self.attempt_of(change) {
                Some(attempt) if attempt.attempt.started_at <= effect.began => {}
                _ => wrong.push(format!("{} has no attempt before it", change.change.id)),
            }
        }
        let no_end = self.records.changes.iter().filter(|row| row.outcome.is_none());
        wrong.extend(no_end.map(|row| format!("{} has no outcome", row.change.id)));
        let no_end = self.records.attempts.iter().filter(|row| row.outcome.is_none());
        wrong.extend(no_end.map(|row| format!("{} has no outcome", row.attempt.id)));
        wrong
    }

    fn tickets(&self) -> Vec<String> {
        let mut wrong: Vec<String> = Vec::new();
        for case in &self.records.cases {
            let count = self.ticket_statuses(&case.incident).len();
            if count != 1 {
                wrong.push(format!("{} has {count} tickets", case.incident.id));
            }
        }
        wrong
    }

    /// Whatever the programs wrote, their databases included, holds no secret.
    fn secrets(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut directories = vec![self.scratch.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_none_or(|kind| kind != "token") {
                    let text = std::fs::read(&path).unwrap_or_default();
                    let holds = |secret: &String| holds(&text, secret.as_bytes());
                    if self.secrets.iter().any(holds) {
                        wrong.push(format!("{} holds a secret", path.display()));
                    }
                }
            }
        }
        wrong
    }

    fn bounds(&self) -> Vec<String> {
        let large = self.kilobytes.iter().filter(|(_, kilobytes)| *kilobytes > MOST_KILOBYTES);
        let mut wrong: Vec<String> =
            large.map(|(name, kilobytes)| format!("{name} used {kilobytes} kB")).collect();
        if let Some(at) = self.records.outbox {
            wrong.push(format!("the outbox holds a row of {at}"));
        }
        wrong
    }
}

/// What the ticket of an incident says once nothing is to come any more; `None`: something is.
pub(crate) fn ticket_at_the_end(incident: &Incident) -> Option<TicketStatus> {
    match incident.phase {
        Phase::NeedsHuman { .. } => Some(TicketStatus::NeedsHuman),
        Phase::Closed { .. } | Phase::Suppressed { .. } => Some(TicketStatus::Closed),
        _ => None,
    }
}

fn told(effect: &Effect) -> String {
    let change = effect.change.as_deref().unwrap_or("an effect without a change");
    let ended = effect.ended.map_or("no end".to_owned(), |ended| ended.to_string());
    let cut = if effect.is_cut_short { ", cut short" } else { "" };
    format!("{change} ({} to {ended}{cut})", effect.began)
}

/// When an incident was open, by its timeline.
fn open_spans(case: &Case) -> Vec<(Timestamp, Timestamp)> {
    let (mut spans, mut since) = (Vec::new(), None);
    for entry in &case.timeline {
        match entry.kind {
            EntryKind::IncidentOpened | EntryKind::IncidentReopened => since = Some(entry.at),
            EntryKind::Closed | EntryKind::Suppressed => {
                spans.extend(since.take().map(|since| (since, entry.at)));
            }
            _ => {}
        }
    }
    spans.extend(since.map(|since| (since, Timestamp::MAX)));
    spans
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// How a change ended, by its record.
pub(crate) fn state_of(row: &ChangeRow) -> String {
    let state = row.outcome.as_ref().map(|outcome| &outcome["state"]);
    state.and_then(Value::as_str).unwrap_or("no outcome").to_owned()
}
