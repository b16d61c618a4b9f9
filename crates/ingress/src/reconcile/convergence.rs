//! Whatever becomes of webhooks on their way (lost, twice, late, in any order), one round makes of it
//! what is true. A case is its seed, which a failure names.

mod history;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use futures::future::join_all;
use incident::IncidentKey;
use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use service::{Clock, Ids, ManualClock, Process};
use store::{MemoryDatabase, OpenOptions};
use url::Url;
use webhooks::Format;

use super::ask::Answer;
use super::status::Found;
use super::{AlertmanagerPeer, Outcome, Reconcilers, Reconciliation};
use crate::Config;
use crate::engine::{Delivery, Engine};
use crate::rules::Rules;
use crate::sources::Sources;

use history::History;

const SOURCE: &str = "alertmanager";
const LEASE: Duration = Duration::from_secs(3600);

/// Alerts that fire in the open incident of each key.
type Firing = BTreeMap<IncidentKey, BTreeSet<String>>;

struct Site {
    clock: ManualClock,
    process: Process,
    engine: Arc<Engine>,
    reconcilers: Reconcilers,
}

impl Site {
    fn new(history: &History) -> Self {
        let clock = ManualClock::starting_at(history.now);
        let process = Process::with("ingress", Clock::Manual(clock.clone()), Ids::default());
        let this = ("host".to_owned(), 1, 1);
        let time = process.time_source();
        let options = OpenOptions::of_process("one".into(), this, |_, _, _| false, LEASE, time);
        let store = MemoryDatabase::new().open("ingress", options);
        let peer = |index| AlertmanagerPeer {
            url: Url::parse(&format!("http://alertmanager-{index}.invalid")).unwrap(),
            token_file: None,
            basic: None,
        };
        let alertmanagers = (0..history.listed.len()).map(peer).collect();
        let settings = Reconciliation { alertmanagers, ..Reconciliation::default() };
        let reconciled = [(SOURCE.to_owned(), settings)].into();
        let sources = Sources::default();
        let reconcilers = Reconcilers::open(&process, reconciled, &sources).unwrap();
        let mut config = Config::default();
        // An alert that flaps counts as firing for a while, which is another story.
        config.limits.flap_changes = 0;
        let rules = Arc::new(Rules::open(&config).unwrap());
        let engine = Arc::new(Engine::new(store, process.clone(), config, rules).unwrap());
        engine.start();
        Self { clock, process, engine, reconcilers }
    }

    async fn deliver(&self, body: &str) {
        let (engine, headers) = (&self.engine, HeaderMap::new());
        let severities = &engine.config.mapping.severities;
        let now = engine.process.now();
        let read = Format::Alertmanager.read(SOURCE, &headers, body.as_bytes(), severities, now);
        let room = engine.admission().reserve(Some(body.len()), true).await.unwrap();
        let delivery = Delivery {
            source: SOURCE.into(),
            is_authenticated: true,
            alerts: read.unwrap().alerts,
            body: body.to_owned(),
            as_of: None,
        };
        engine.accept(delivery, room).await.unwrap();
    }

    async fn reconcile(&self, history: &History) -> Found {
        self.clock.advance(Duration::from_secs(1));
        let answer = |list: &String| {
            let list = list.clone().into_bytes().into();
            Ok(Answer { list, up: Ok(SignedDuration::from_hours(1)) })
        };
        let answers: Vec<_> = history.listed.iter().map(answer).collect();
        let mut found = Found::default();
        let source = &self.reconcilers.0[SOURCE];
        let asked_at = self.engine.process.now();
        let outcome = source.mend(&self.engine, &answers, asked_at, &mut found).await.unwrap();
        assert_eq!(outcome, Outcome::Whole);
        found
    }

    /// What the store says, which its incidents must say too.
    async fn firing(&self) -> Firing {
        let store = &self.engine.store;
        let mut firing = Firing::new();
        for row in store.firing_alerts(SOURCE.into(), None, 500).await.unwrap() {
            let stored = store.incident(row.incident.unwrap()).await.unwrap().unwrap();
            let alerts = firing.entry(stored.incident.key).or_default();
            alerts.insert(row.alert.fingerprint);
        }
        for stored in store.incidents(500, None).await.unwrap() {
            let incident = stored.incident;
            let own: BTreeSet<String> = incident
                .alerts
                .iter()
                .filter(|tracked| tracked.alert.is_firing())
                .map(|tracked| tracked.alert.fingerprint.clone())
                .collect();
            let is_over = incident.phase.is_final() || incident.phase.name() == "resolved";
            assert!(!is_over || own.is_empty(), "over while something fires: {incident:?}");
            if !own.is_empty() {
                assert_eq!(firing.get(&incident.key), Some(&own), "{incident:?}");
            }
        }
        firing
    }

    async fn end(self) {
        self.process.shut_down(Duration::from_secs(10)).await.unwrap();
    }
}

/// What is true at the end, by the history alone.
fn truth(history: &History) -> Firing {
    let (mut firing, rules) = (Firing::new(), Rules::open(&Config::default()).unwrap());
    for alert in &history.firing {
        let key = rules.key(alert, true);
        firing.entry(key).or_default().insert(alert.fingerprint.clone());
    }
    firing
}

/// The bodies as they might arrive, in groups that arrive at once.
fn mishandled(bodies: &[String], random: &mut StdRng) -> Vec<Vec<String>> {
    let (loss, repeats) = (random.random_range(0.0..0.8), random.random_range(1..4));
    let mut arriving = Vec::new();
    for body in bodies {
        if !random.random_bool(loss) {
            let times = random.random_range(1..=repeats);
            arriving.extend(std::iter::repeat_n(body.clone(), times));
        }
    }
    if random.random_bool(0.8) {
        arriving.shuffle(random);
    }
    let mut groups = Vec::new();
    while !arriving.is_empty() {
        let count = random.random_range(1..=4.min(arriving.len()));
        groups.push(arriving.drain(..count).collect());
    }
    groups
}

async fn holds_in_order(history: &History) {
    let site = Site::new(history);
    for body in &history.bodies {
        site.deliver(body).await;
    }
    site.reconcile(history).await;
    assert_eq!(site.firing().await, truth(history), "in order, nothing lost");
    site.end().await;
}

async fn converges(history: &History, seed: u64) {
    let truth = truth(history);
    let site = Site::new(history);
    let mut random = StdRng::seed_from_u64(seed);
    for group in mishandled(&history.bodies, &mut random) {
        join_all(group.iter().map(|body| site.deliver(body))).await;
    }
    site.reconcile(history).await;
    assert_eq!(site.firing().await, truth, "seed {seed}: one round does not mend it");
    let found = site.reconcile(history).await;
    assert_eq!((found.missing, found.gone), (0, 0), "seed {seed}: a second round finds more");
    // What arrives at last changes nothing of what is true.
    for body in &history.bodies {
        site.deliver(body).await;
    }
    site.reconcile(history).await;
    assert_eq!(site.firing().await, truth, "seed {seed}: late webhooks are not mended");
    site.end().await;
}

#[tokio::test]
async fn invented_histories_converge() {
    for seed in 0..200 {
        converges(&History::invented(seed), seed).await;
    }
}

#[tokio::test]
async fn what_a_real_alertmanager_posted_converges() {
    let history = History::captured();
    assert!(history.bodies.len() > 20 && history.firing.len() == 3);
    holds_in_order(&history).await;
    for seed in 0..100 {
        converges(&history, seed).await;
    }
}

#[tokio::test]
async fn shared_payloads_converge() {
    let Some(history) = History::shared() else { return };
    assert!(history.bodies.len() >= 8);
    holds_in_order(&history).await;
    for seed in 0..50 {
        converges(&history, seed).await;
    }
}
