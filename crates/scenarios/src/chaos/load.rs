//! Alerts, as Alertmanager sends them: a target falls ill, its webhook is repeated until it is
//! acknowledged, and another says when the target is well. A target that nobody repairs in time
//! recovers by itself, so that every run comes to an end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::fleet::Fleet;
use super::now;
use super::plan::Target;

/// How long a target waits for its repair.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a target stays well while its incident is not over; then it may fall ill all the same.
const RESPITE: Duration = Duration::from_secs(12);
const ANSWER: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);
/// As often as Alertmanager repeats a group in the fast profile.
const REPEAT: Duration = Duration::from_secs(5);

/// An alert that was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Acknowledged {
    pub(crate) fingerprint: String,
    pub(crate) target: String,
}

#[derive(Debug)]
pub(crate) struct Load {
    fleet: Arc<Fleet>,
    /// Where ingress answers.
    ingress: String,
    /// What Alertmanager shows there.
    token: String,
    http: reqwest::Client,
    is_over: AtomicBool,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    firing: BTreeSet<Acknowledged>,
    webhooks: u64,
    refused: u64,
}

impl Load {
    pub(crate) fn new(
        fleet: Arc<Fleet>,
        ingress: &str,
        token: String,
    ) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            fleet,
            ingress: ingress.to_owned(),
            token,
            http: reqwest::Client::builder().timeout(ANSWER).build()?,
            is_over: AtomicBool::new(false),
            told: Mutex::default(),
        }))
    }

    /// Begins no more episodes; those that have begun come to their end.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Every firing alert that was acknowledged, webhooks acknowledged, and tries that were not.
    pub(crate) fn told(&self) -> (BTreeSet<Acknowledged>, u64, u64) {
        let told = self.told.lock().expect("no panic while held");
        (told.firing.clone(), told.webhooks, told.refused)
    }

    /// One target falls ill again and again.
    pub(crate) async fn play(self: Arc<Self>, target: Target, seed: u64) {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut episode = 0_u32;
        while !self.is_over.load(Ordering::SeqCst) {
            episode += 1;
            let incidents = self.episode(&target, episode, &mut chance).await;
            // Now and then it falls ill again while its repair is still being proven.
            let is_hasty = chance.random_ratio(1, 10);
            for incident in incidents.iter().filter(|_| !is_hasty) {
                self.look_after(incident, chance.random_ratio(3, 4)).await;
            }
            let pause = Duration::from_millis(chance.random_range(300..1_500));
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits for the end of an incident whose target is well. One that was handed to a person is
    /// looked at by one, who closes it where `is_closed`.
    async fn look_after(&self, incident: &str, is_closed: bool) {
        let url = format!("{}/api/v1/incidents/{incident}", self.ingress);
        let started = tokio::time::Instant::now();
        while started.elapsed() < RESPITE && !self.is_over.load(Ordering::SeqCst) {
            tokio::time::sleep(LOOK * 4).await;
            let Ok(answer) = self.http.get(&url).send().await else { continue };
            let incident: Value = answer.json().await.unwrap_or_default();
            match incident["phase"]["name"].as_str() {
                Some("closed" | "suppressed") => return,
                Some("needs_human") if is_closed => {
                    let body = json!({"by": "a person", "why": "its target is well"});
                    // Who gets no answer leaves it to the next person.
                    let _ = self.http.post(format!("{url}/close")).json(&body).send().await;
                    return;
                }
                Some("needs_human") => return,
                _ => {}
            }
        }
    }

    /// Returns the incidents that took the alerts.
    async fn episode(&self, target: &Target, episode: u32, chance: &mut StdRng) -> Vec<String> {
        self.fleet.set_ill(&target.name, true);
        // So that the alert never comes before the metrics show why.
        tokio::time::sleep(super::SCRAPE * 2).await;
        let (began, started) = (now(), tokio::time::Instant::now());
        // Some fire as two alerts of one target: still one incident.
        let alerts = 1 + u32::from(chance.random_ratio(1, 4));
        let names: Vec<String> =
            (0..alerts).map(|index| format!("{}-{episode}-{index}", target.name)).collect();
        let fire = |at: Option<Timestamp>| {
            json!(names.iter().map(|name| alert(target, name, began, at)).collect::<Vec<_>>())
        };
        let mut told = started;
        self.tell(target, "firing", fire(None)).await;
        let firing = names.iter().map(|fingerprint| Acknowledged {
            fingerprint: fingerprint.clone(),
            target: target.name.clone(),
        });
        self.told.lock().expect("no panic while held").firing.extend(firing);
        while self.fleet.is_ill(&target.name) && started.elapsed() < PATIENCE {
            tokio::time::sleep(LOOK).await;
            if told.elapsed() > REPEAT {
                self.tell(target, "firing", fire(None)).await;
                told = tokio::time::Instant::now();
            }
        }
        self.fleet.set_ill(&target.name, false);
        self.tell(target, "resolved", fire(Some(now()))).await
    }

    /// Sends a webhook until it is acknowledged, and returns the incidents it went into.
    async fn tell(&self, target: &Target, status: &str, alerts: Value) -> Vec<String> {
        let url = format!("{}/webhooks/alertmanager", self.ingress);
        let body = json!({
            "version": "4", "groupKey": format!("{{}}:{{server={:?}}}", target.name),
            "status": status, "receiver": "firebreak", "truncatedAlerts": 0,
            "groupLabels": {"server": target.name}, "commonLabels": {"server": target.name},
            "commonAnnotations": {}, "externalURL": "http://alertmanager.invalid",
            "alerts": alerts,
        });
        loop {
            let answer = self.http.post(&url).bearer_auth(&self.token).json(&body).send().await;
            let taken = answer.ok().filter(|answer| answer.status().is_success());
            {
                let mut told = self.told.lock().expect("no panic while held");
                *if taken.is_some() { &mut told.webhooks } else { &mut told.refused } += 1;
            }
            if let Some(taken) = taken {
                // Acknowledged by its status, whatever became of the rest of the answer.
                let told: Value = taken.json().await.unwrap_or_default();
                return serde_json::from_value(told["incidents"].clone()).unwrap_or_default();
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
}

fn alert(target: &Target, name: &str, began: Timestamp, ended: Option<Timestamp>) -> Value {
    json!({
        "status": if ended.is_some() { "resolved" } else { "firing" },
        "labels": {
            "alertname": target.kind.alert(), "server": target.name, "service": "chaos",
            "severity": "critical", "episode": name,
        },
        "annotations": {
            "summary": format!("{} is stuck", target.name),
            "description": "callers wait and nobody answers",
        },
        "startsAt": began,
        "endsAt": ended.map_or("0001-01-01T00:00:00Z".to_owned(), |at| at.to_string()),
        "generatorURL": "http://prometheus.invalid/graph",
        "fingerprint": name,
    })
}
