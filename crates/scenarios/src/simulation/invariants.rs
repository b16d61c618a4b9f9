//! The promises, and whether they were kept. Those that must hold at every moment are looked at all
//! the time, the others when everything was mended and the system has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use incident::{EntryKind, HandOff, Incident, IncidentId, Phase, TimelineEntry};
use jiff::Timestamp;
use serde_json::Value;
use store::{AttemptRow, StoreFuture};

use super::fleet::{Effect, EffectState, Episode};
use super::programs::Program;
use super::world::{World, at_once};

/// More unfinished work than this is a queue that grows without bound.
const QUEUED: u32 = 1_000;
/// The kinds of work that ingress queues.
const KINDS: [&str; 4] = ["cancel_resolution", "diagnose", "resolve", "sync_ticket"];

/// What must hold at every moment.
pub(super) fn watch(world: &World) {
    one_open_incident_a_key(world);
}

/// Whether nothing is left to do.
pub(super) fn is_at_rest(world: &World) -> bool {
    let fleet = world.fleet();
    let is_idle = fleet.effects.iter().all(|effect| effect.state != EffectState::Running);
    let told = world.acknowledged();
    let is_told =
        fleet.alerts().iter().all(|alert| told.contains(alert) || was_never_told(&told, alert));
    drop(fleet);
    is_idle && is_told && incidents(world).iter().all(is_settled) && queued(world).is_empty()
}

/// An alert that ended before ingress heard of it.
fn was_never_told(told: &[Episode], alert: &Episode) -> bool {
    alert.ends_at.is_some()
        && told
            .iter()
            .all(|one| one.fingerprint() != alert.fingerprint() || one.starts_at != alert.starts_at)
}

fn is_settled(incident: &Incident) -> bool {
    match &incident.phase {
        Phase::NeedsHuman { handoff, .. } => *handoff == HandOff::Delivered,
        phase => phase.is_final(),
    }
}

/// Everything that must hold at the end.
pub(super) fn check(world: &World) {
    every_alert_in_one_incident(world);
    one_open_incident_a_key(world);
    effects_are_single_and_apart(world);
    fences_never_go_back(world);
    every_incident_is_settled(world);
    the_audit_is_whole(world);
    one_ticket_an_incident(world);
    queues_are_empty(world);
}

pub(super) fn incidents(world: &World) -> Vec<Incident> {
    let stored = now(world.stored(Program::Ingress).incidents(10_000, None));
    stored.into_iter().map(|stored| stored.incident).collect()
}

fn now<T>(asked: StoreFuture<'_, T>) -> T {
    at_once(asked).expect("nothing fails for an observer")
}

fn timeline(world: &World, id: IncidentId) -> Vec<TimelineEntry> {
    let rows = now(world.stored(Program::Ingress).timeline(id, 0, 100_000));
    rows.into_iter().map(|row| row.entry).collect()
}

fn attempts(world: &World) -> Vec<AttemptRow> {
    now(world.stored(Program::Resolution).attempts_since(Timestamp::UNIX_EPOCH))
}

/// (1)
fn every_alert_in_one_incident(world: &World) {
    let mut holders: BTreeMap<(String, String), BTreeSet<IncidentId>> = BTreeMap::new();
    // The flips of an alert that flaps are not told one by one.
    let mut flapped: BTreeSet<String> = BTreeSet::new();
    let all = incidents(world);
    for incident in &all {
        for entry in timeline(world, incident.id) {
            let text = |field: &str| entry.detail[field].as_str().unwrap_or_default().to_owned();
            match entry.kind {
                EntryKind::AlertFired => {
                    let episode = (text("fingerprint"), text("starts_at"));
                    holders.entry(episode).or_default().insert(incident.id);
                }
                EntryKind::FlappingBegan => {
                    flapped.insert(text("fingerprint"));
                }
                _ => {}
            }
        }
    }
    for told in world.acknowledged().iter().filter(|told| told.ends_at.is_none()) {
        let episode = (told.fingerprint(), told.starts_at.to_string());
        let count = holders.get(&episode).map_or(0, BTreeSet::len);
        let is_late = all.iter().flat_map(|incident| &incident.alerts).any(|tracked| {
            let is_flip = flapped.contains(&episode.0) && tracked.alert.starts_at == told.starts_at;
            tracked.alert.fingerprint == episode.0
                && (tracked.alert.starts_at > told.starts_at || is_flip)
        });
        if count > 1 || (count == 0 && !is_late) {
            world.violated(format!(
                "(1) the acknowledged alert {episode:?} is in {count} incidents"
            ));
        }
    }
}

/// (2)
fn one_open_incident_a_key(world: &World) {
    let mut open = BTreeSet::new();
    for incident in incidents(world).iter().filter(|incident| !incident.phase.is_final()) {
        if !open.insert(incident.key.clone()) {
            world.violated(format!("(2) two open incidents of {:?}", incident.key));
        }
    }
}

/// What an effect was for: plan, step, and, where it undoes a change, which one.
fn purpose(row: &AttemptRow) -> [String; 4] {
    let text = |field: &str| match &row.attempt.body[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let undone = row.attempt.body["parameters"]["change_id"].to_string();
    [text("plan"), text("step"), text("kind"), undone]
}

/// It was interrupted on the way and has ended for certain: its step may be attempted anew.
fn is_cut_off(row: &AttemptRow) -> bool {
    row.outcome.as_ref().is_some_and(|outcome| outcome["end"] == "interrupted")
}

/// (3) and (4)
fn effects_are_single_and_apart(world: &World) {
    let effects = world.fleet().effects.clone();
    let attempts = attempts(world);
    let mut keys = BTreeSet::new();
    let mut purposes = BTreeMap::new();
    for effect in &effects {
        if !keys.insert(&effect.key) {
            world.violated(format!("(3) effect {} is the second of its attempt", effect.id));
        }
        let row = attempts.iter().find(|row| row.attempt.id.to_string() == effect.key);
        let Some(row) = row else { continue };
        let former = purposes.insert(purpose(row), (&effect.id, row));
        if let Some((former, _)) = former.filter(|(_, row)| !is_cut_off(row)) {
            world.violated(format!("(3) effects {former} and {} are of one step", effect.id));
        }
    }
    for (index, effect) in effects.iter().enumerate() {
        let later = effects[index + 1..].iter().find(|later| overlap(effect, later));
        if let Some(later) = later {
            let (a, b) = (&effect.id, &later.id);
            world.violated(format!("(4) effects {a} and {b} overlap on {}", effect.target));
        }
    }
}

fn overlap(a: &Effect, b: &Effect) -> bool {
    a.target == b.target && a.begun < b.ends && b.begun < a.ends
}

/// (5)
fn fences_never_go_back(world: &World) {
    let mut seen: BTreeMap<String, i64> = BTreeMap::new();
    let fleet = world.fleet();
    for effect in &fleet.effects {
        let Some(token) = effect.token else { continue };
        if seen.insert(effect.target.clone(), token).is_some_and(|before| token < before) {
            world.violated(format!("(5) the fence of {} went back to {token}", effect.target));
        }
    }
}

/// (6)
fn every_incident_is_settled(world: &World) {
    for incident in incidents(world).iter().filter(|incident| !is_settled(incident)) {
        let (id, phase) = (incident.id, incident.phase.name());
        world.violated(format!("(6) {id} is {phase} at the end: {:?}", incident.phase));
    }
}

/// (7)
fn the_audit_is_whole(world: &World) {
    for incident in incidents(world) {
        let verified = world.stored(Program::Ingress).verify_audit(incident.id);
        match at_once(verified) {
            Ok(rows) if rows > 0 => {}
            other => world.violated(format!("(7) the chain of {} is {other:?}", incident.id)),
        }
    }
    let attempts = attempts(world);
    for effect in &world.fleet().effects {
        let row = attempts.iter().find(|row| row.attempt.id.to_string() == effect.key);
        if row.is_none_or(|row| row.outcome.is_none()) {
            world.violated(format!("(7) effect {} has no outcome on record", effect.id));
        }
    }
}

/// (8)
fn one_ticket_an_incident(world: &World) {
    let mut tickets: BTreeMap<String, u32> = BTreeMap::new();
    for incident in ticketed(&world.directory().join("tickets")) {
        *tickets.entry(incident).or_default() += 1;
    }
    for incident in incidents(world) {
        let count = tickets.get(&incident.id.to_string()).copied().unwrap_or_default();
        if count != 1 {
            world.violated(format!("(8) {} has {count} tickets", incident.id));
        }
    }
}

/// The incident of every ticket file.
fn ticketed(directory: &Path) -> Vec<String> {
    let Ok(files) = std::fs::read_dir(directory) else { return Vec::new() };
    let paths = files.filter_map(|file| Some(file.ok()?.path()));
    let texts = paths
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .filter_map(|path| std::fs::read(path).ok());
    let tickets = texts.filter_map(|text| serde_json::from_slice::<Value>(&text).ok());
    tickets.filter_map(|ticket| Some(ticket["incident"].as_str()?.to_owned())).collect()
}

/// (10)
fn queues_are_empty(world: &World) {
    let queued = queued(world);
    if !queued.is_empty() {
        world.violated(format!("(10) left in the outbox: {queued:?}"));
    }
}

/// Kinds of work in the outbox that nobody has in hand.
fn queued(world: &World) -> Vec<&'static str> {
    let far = world.now() + jiff::SignedDuration::from_hours(24 * 365);
    let store = world.stored(Program::Ingress);
    let is_queued = |kind: &&'static str| {
        let rows = now(store.claim_outbox(kind, far, QUEUED, false));
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        now(store.release_outbox(ids.clone()));
        !ids.is_empty()
    };
    KINDS.into_iter().filter(is_queued).collect()
}
