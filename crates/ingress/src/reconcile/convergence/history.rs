//! What happened, as an Alertmanager tells it: every webhook, and what it lists at the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use axum::http::HeaderMap;
use incident::Alert;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use webhooks::{Format, Severities};

use super::SOURCE;

#[derive(Debug)]
pub(super) struct History {
    /// Bodies of webhooks, in order.
    pub(super) bodies: Vec<String>,
    /// What each Alertmanager lists at the end.
    pub(super) listed: Vec<String>,
    /// The alerts that fire at the end.
    pub(super) firing: Vec<Alert>,
    /// A time after all of it.
    pub(super) now: Timestamp,
}

/// An alert of an invented history.
struct Invented {
    name: String,
    server: String,
    /// Start and end of its last episode.
    episode: Option<(Timestamp, Option<Timestamp>)>,
    /// When its source last told of it.
    told_at: Timestamp,
}

impl History {
    /// A fleet of three servers whose alerts come and go.
    pub(super) fn invented(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9).wrapping_add(1));
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut alerts: Vec<Invented> = (0..random.random_range(1..8))
            .map(|index| Invented {
                name: format!("Alert{index}"),
                server: format!("db-{}", index % 3),
                episode: None,
                told_at: start,
            })
            .collect();
        let mut bodies = Vec::new();
        let steps = random.random_range(1..30);
        for step in 0..steps {
            let now = start + SignedDuration::from_secs(60 * step);
            let index = random.random_range(0..alerts.len());
            alerts[index].change(now, &mut random);
            let server = alerts[index].server.clone();
            let group = alerts.iter_mut().filter(|alert| alert.server == server);
            let told: Vec<Value> = group.filter_map(|alert| alert.tell(now)).collect();
            let told: Vec<Value> = match random.random_bool(0.2) {
                // `max_alerts` leaves out the rest.
                true => told.into_iter().take(1).collect(),
                false => told,
            };
            bodies.push(json!({"version": "4", "status": "firing", "alerts": told}).to_string());
        }
        let now = start + SignedDuration::from_secs(60 * (steps + 1));
        let mut lists = vec![Vec::new(); random.random_range(1..=3)];
        for alert in alerts.iter().filter(|alert| alert.is_firing()) {
            let certain = random.random_range(0..lists.len());
            for (index, list) in lists.iter_mut().enumerate() {
                if index == certain || random.random_bool(0.5) {
                    list.push(alert.listed(now));
                }
            }
        }
        Self::of(bodies, lists.into_iter().map(Value::Array).collect(), now)
    }

    /// A run of a real Alertmanager, with what it listed at the end of it.
    pub(super) fn captured() -> Self {
        let text = include_str!("../../../tests/fixtures/alertmanager-0.25-run.json");
        let run: Value = serde_json::from_str(text).unwrap();
        let bodies = run["bodies"].as_array().unwrap().iter().map(Value::to_string).collect();
        let answered_at: Timestamp = run["answered_at"].as_str().unwrap().parse().unwrap();
        Self::of(bodies, vec![run["listed"].clone()], answered_at)
    }

    /// The bodies that were captured for all helpers; what they said last is what is true. `None`
    /// where they are absent.
    pub(super) fn shared() -> Option<Self> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
        let shared = std::env::var_os("FIREBREAK_SHARED").map_or(beside, PathBuf::from);
        let folder = shared.join("payloads/alertmanager");
        let Ok(files) = std::fs::read_dir(&folder) else {
            eprintln!("skipped: {} is absent", folder.display());
            return None;
        };
        let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        paths.retain(|path| path.to_string_lossy().contains("captured-"));
        let mut bodies: Vec<String> =
            paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        bodies.sort_by_key(|body| read(body).into_iter().map(|alert| told_at(&alert)).max());
        let mut last: BTreeMap<String, Alert> = BTreeMap::new();
        for alert in bodies.iter().flat_map(|body| read(body)) {
            let known = last.get(&alert.fingerprint);
            let order = |alert: &Alert| (alert.starts_at, !alert.is_firing());
            if known.is_none_or(|known| order(known) <= order(&alert)) {
                last.insert(alert.fingerprint.clone(), alert);
            }
        }
        let now = last.values().map(told_at).max()? + SignedDuration::from_secs(60);
        let firing = last.values().filter(|alert| alert.is_firing());
        let listed = firing.map(|alert| {
            json!({"fingerprint": alert.fingerprint, "labels": alert.labels,
                "annotations": alert.annotations, "startsAt": alert.starts_at, "updatedAt": now,
                "status": {"state": "active"}, "receivers": [{"name": "firebreak"}]})
        });
        let listed = Value::Array(listed.collect());
        Some(Self::of(bodies, vec![listed], now))
    }

    fn of(bodies: Vec<String>, lists: Vec<Value>, now: Timestamp) -> Self {
        let mut firing: BTreeMap<String, Alert> = BTreeMap::new();
        for mut alert in lists.iter().flat_map(|list| list.as_array().unwrap()).cloned() {
            (alert["status"], alert["endsAt"]) = (json!("firing"), Value::Null);
            for alert in read(&json!({"alerts": [alert]}).to_string()) {
                firing.insert(alert.fingerprint.clone(), alert);
            }
        }
        let firing = firing.into_values().collect();
        let listed = lists.iter().map(Value::to_string).collect();
        Self { bodies, listed, firing, now }
    }
}

fn read(body: &str) -> Vec<Alert> {
    let (headers, severities) = (HeaderMap::new(), Severities::default());
    let now = Timestamp::UNIX_EPOCH;
    let read = Format::Alertmanager.read(SOURCE, &headers, body.as_bytes(), &severities, now);
    read.unwrap().alerts
}

fn told_at(alert: &Alert) -> Timestamp {
    alert.ends_at.unwrap_or(alert.starts_at)
}

impl Invented {
    fn is_firing(&self) -> bool {
        matches!(self.episode, Some((_, None)))
    }

    /// It begins or ends, or is told of again.
    fn change(&mut self, now: Timestamp, random: &mut StdRng) {
        self.told_at = now;
        self.episode = Some(match self.episode {
            None => (now, None),
            Some((starts_at, None)) if random.random_bool(0.6) => (starts_at, Some(now)),
            Some((starts_at, None)) => (starts_at, None),
            // A source that could not be reached for a while goes on with the old start.
            Some((starts_at, Some(_))) if random.random_bool(0.15) => (starts_at, None),
            Some((_, Some(_))) => (now, None),
        });
    }

    /// In a webhook: what has ended is told with the next news of its group, once.
    fn tell(&mut self, now: Timestamp) -> Option<Value> {
        let (starts_at, ends_at) = self.episode?;
        if ends_at.is_some_and(|ends_at| ends_at < now) {
            return None;
        }
        let status = if ends_at.is_some() { "resolved" } else { "firing" };
        let mut alert = self.body(starts_at);
        alert["status"] = json!(status);
        alert["endsAt"] = json!(ends_at);
        Some(alert)
    }

    fn listed(&self, now: Timestamp) -> Value {
        let (starts_at, _) = self.episode.unwrap();
        let mut alert = self.body(starts_at);
        alert["updatedAt"] = json!(self.told_at);
        // When it would expire.
        alert["endsAt"] = json!(now + SignedDuration::from_secs(300));
        alert["status"] = json!({"state": "active", "silencedBy": [], "inhibitedBy": []});
        alert["receivers"] = json!([{"name": "firebreak"}]);
        alert
    }

    fn body(&self, starts_at: Timestamp) -> Value {
        json!({"fingerprint": format!("f-{}", self.name), "startsAt": starts_at,
            "labels": {"alertname": self.name, "server": self.server},
            "annotations": {"summary": self.name}, "generatorURL": "http://prometheus.invalid"})
    }
}
