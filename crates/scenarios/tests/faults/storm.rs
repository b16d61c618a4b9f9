//! `kill -9` in a storm: ingress takes new alerts as fast as they come and is killed again and again.
//! Whatever it acknowledged is there after each restart, exactly once; whoever got no answer sends
//! again, and that is known once too. `FIREBREAK_KILLS` says how often, 5 times without it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

/// Deliveries a second that the senders try for.
const RATE: u64 = 2_000;
const SENDERS: u64 = 64;
/// How long a storm blows before the kill: another time each round.
const STORM: [Duration; 4] = [
    Duration::from_millis(700),
    Duration::from_millis(1_300),
    Duration::from_millis(450),
    Duration::from_millis(950),
];
/// Alerts that are acknowledged before a kill, at least.
const LEAST: usize = 100;
const TOKEN: &str = "only-senders-know-0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(30);

struct Ingress {
    address: String,
    process: Child,
}

impl Ingress {
    fn start(directory: &Path, address: &str) -> Self {
        let program = scenarios::binary("ingress").expect("the programs build");
        let console = service::own_loopback_address();
        let config = directory.join("ingress.yaml");
        let token = directory.join("token");
        std::fs::write(&token, TOKEN).expect("the directory is ours");
        let text = format!(
            "listen: {address}\nconsole_listen: {console}\ndatabase: {}\nsources:\n  \
             alertmanager: {{kind: alertmanager, authentication: {{bearer: {{files: [{}]}}}}}}\n",
            directory.join("ingress.db").display(),
            token.display()
        );
        std::fs::write(&config, text).expect("the directory is ours");
        let log = std::fs::File::create(directory.join("ingress.log")).expect("so is this");
        let process = Command::new(program)
            .arg("--config")
            .arg(config)
            .stderr(log.try_clone().expect("a file"))
            .stdout(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("ingress starts");
        Self { address: address.to_owned(), process }
    }

    async fn is_ready(&self, http: &reqwest::Client) {
        let started = Instant::now();
        let url = format!("http://{}/readyz", self.address);
        while !http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200) {
            assert!(started.elapsed() < PATIENCE, "ingress is not ready");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it has ended");
    }
}

impl Drop for Ingress {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the senders know.
#[derive(Default)]
struct Told {
    next: AtomicU64,
    is_over: AtomicBool,
    acknowledged: Mutex<BTreeSet<u64>>,
    /// Sent, and not answered: to be sent again.
    unanswered: Mutex<BTreeSet<u64>>,
    refused: AtomicU64,
}

fn body(number: u64, round: usize) -> String {
    json!({"version": "4", "alerts": [{
        "status": "firing", "fingerprint": format!("f-{number}"),
        "labels": {"alertname": "Storm", "server": format!("db-{round}")},
        "annotations": {"summary": "everything at once"},
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z"}]})
    .to_string()
}

/// Sends new alerts at the rate of one sender until the storm is over.
async fn send(told: &Told, http: &reqwest::Client, url: &str, round: usize) {
    let pause = Duration::from_millis(1_000 * SENDERS / RATE);
    let mut due = tokio::time::Instant::now();
    while !told.is_over.load(Ordering::SeqCst) {
        tokio::time::sleep_until(due).await;
        due += pause;
        let again = told.unanswered.lock().expect("no panic while held").pop_first();
        let number = again.unwrap_or_else(|| told.next.fetch_add(1, Ordering::SeqCst));
        let request = http.post(url).bearer_auth(TOKEN);
        let request = request.header("content-type", "application/json");
        match request.body(body(number, round)).send().await {
            Ok(answer) if answer.status().is_success() => {
                told.acknowledged.lock().expect("no panic while held").insert(number);
            }
            answer => {
                if let Ok(answer) = answer {
                    assert_eq!(answer.status(), 503, "never anything else");
                    told.refused.fetch_add(1, Ordering::SeqCst);
                }
                told.unanswered.lock().expect("no panic while held").insert(number);
            }
        }
    }
}

async fn read(http: &reqwest::Client, url: String) -> Vec<Value> {
    let answer = http.get(&url).send().await.expect("ingress answers");
    assert_eq!(answer.status(), 200, "{url}");
    let page: Value = answer.json().await.expect("JSON");
    page.as_array().expect("a list").clone()
}

/// How often each alert is there, over all incidents.
async fn stored(http: &reqwest::Client, address: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    let incidents = read(http, format!("http://{address}/api/v1/incidents?limit=500")).await;
    for incident in incidents {
        let id = incident["id"].as_str().expect("an id");
        let mut after = String::new();
        loop {
            let url = format!("http://{address}/api/v1/incidents/{id}/alerts?limit=500{after}");
            let page = read(http, url).await;
            let Some(last) = page.last() else { break };
            after = format!("&after={}", last["cursor"].as_str().expect("a cursor"));
            for alert in page {
                let fingerprint = alert["fingerprint"].as_str().expect("a text").to_owned();
                *counts.entry(fingerprint).or_default() += 1;
            }
        }
    }
    counts
}

#[test]
fn whatever_was_acknowledged_in_a_storm_survives_kill_9_exactly_once() {
    let _turn = super::TURN.lock();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(storms_and_kills());
}

async fn storms_and_kills() {
    let kills = std::env::var("FIREBREAK_KILLS").map_or(5, |kills| kills.parse().expect("a count"));
    let directory = tempfile::tempdir().expect("a directory");
    let address = service::own_loopback_address();
    let http =
        reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
    let url = format!("http://{address}/webhooks/alertmanager");
    let told = Told::default();
    let mut last = 0;
    for round in 0..kills {
        let mut ingress = Ingress::start(directory.path(), &address);
        ingress.is_ready(&http).await;
        told.is_over.store(false, Ordering::SeqCst);
        let began = Instant::now();
        let senders = (0..SENDERS).map(|_| send(&told, &http, &url, round));
        let storm = futures::future::join_all(senders);
        let killing = async {
            sleep(STORM[round % STORM.len()]).await;
            // A slow machine takes longer to make a storm.
            while told.acknowledged.lock().expect("no panic while held").len() < last + LEAST {
                assert!(began.elapsed() < PATIENCE, "there is no storm");
                sleep(Duration::from_millis(20)).await;
            }
            ingress.kill();
            told.is_over.store(true, Ordering::SeqCst);
            began.elapsed()
        };
        let (_, took) = tokio::join!(storm, killing);
        let acknowledged = told.acknowledged.lock().expect("no panic while held").clone();
        let rate = (acknowledged.len() - last) as f64 / took.as_secs_f64();
        last = acknowledged.len();

        let ingress = Ingress::start(directory.path(), &address);
        ingress.is_ready(&http).await;
        let stored = stored(&http, &address).await;
        let lost: Vec<&u64> = acknowledged
            .iter()
            .filter(|number| !stored.contains_key(&format!("f-{number}")))
            .collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let twice: Vec<_> = stored.iter().filter(|(_, count)| **count != 1).collect();
        assert!(twice.is_empty(), "there more than once: {twice:?}");
        println!(
            "kill {}: {} acknowledged ({rate:.0}/s), {} stored, {} unanswered, {} refused",
            round + 1,
            acknowledged.len(),
            stored.len(),
            told.unanswered.lock().expect("no panic while held").len(),
            told.refused.load(Ordering::SeqCst),
        );
    }
}
