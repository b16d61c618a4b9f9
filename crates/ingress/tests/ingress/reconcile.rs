//! Alerts whose webhook was lost, found again at a real Alertmanager.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::world::{PATIENCE, World};

/// Two receivers, neither of which can reach ingress: every webhook is lost.
const CONFIG: &str = "\
route:
  receiver: firebreak
  group_by: [alertname]
  group_wait: 0s
  routes:
    - receiver: others
      matchers: ['team=\"others\"']
receivers:
  - name: firebreak
  - name: others
";

struct Alertmanager {
    url: String,
    http: reqwest::Client,
    _directory: tempfile::TempDir,
    _child: tokio::process::Child,
}

impl Alertmanager {
    /// `None`, and a word on why, where it is not installed.
    async fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("alertmanager.yml");
        std::fs::write(&config, CONFIG).unwrap();
        let address = service::own_loopback_address();
        let child = ["alertmanager", "prometheus-alertmanager"].into_iter().find_map(|program| {
            tokio::process::Command::new(program)
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.path={}", directory.path().display()))
                .arg(format!("--web.listen-address={address}"))
                .arg("--cluster.listen-address=")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .ok()
        });
        let Some(child) = child else {
            println!("skipped: alertmanager is not installed");
            return None;
        };
        let url = format!("http://{address}");
        let started =
            Self { url, http: reqwest::Client::new(), _directory: directory, _child: child };
        started.ready().await;
        Some(started)
    }

    async fn ready(&self) {
        let is_ready = async {
            let url = format!("{}/-/ready", self.url);
            while !self.http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, is_ready).await.unwrap();
    }

    async fn fire(&self, server: &str, team: &str) {
        let alerts = json!([{"labels": {"alertname": "DiskFull", "server": server, "team": team},
            "annotations": {"summary": format!("disk of {server} is full")}}]);
        let url = format!("{}/api/v2/alerts", self.url);
        let answer = self.http.post(url).json(&alerts).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
    }
}

/// Every incident, once there are as many as asked.
async fn until_incidents(world: &World, count: usize) -> Vec<Value> {
    let waiting = async {
        let mut events = world.get(world.console("/events")).send().await.unwrap();
        loop {
            let incidents = world.incidents().await;
            if incidents.len() >= count {
                return incidents;
            }
            events.chunk().await.unwrap().unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

#[tokio::test]
async fn an_alert_whose_webhook_was_lost_is_found_once_and_others_are_left_alone() {
    let Some(alertmanager) = Alertmanager::start().await else { return };
    alertmanager.fire("db-1", "others").await;
    alertmanager.fire("db-2", "ours").await;
    let url = alertmanager.url.parse().unwrap();
    let mut world = World::alone(|config| {
        config.alertmanager_url = Some(url);
        config.reconcile_seconds = 1;
    })
    .await;
    let found = until_incidents(&world, 1).await;
    assert_eq!(found[0]["title"], "disk of db-2 is full");
    // A later look brings what is new, and nothing a second time.
    alertmanager.fire("db-3", "ours").await;
    let found = until_incidents(&world, 2).await;
    assert_eq!(found.len(), 2);
    world.restart().await;
    alertmanager.fire("db-4", "ours").await;
    let found = until_incidents(&world, 3).await;
    let titles: Vec<&str> = found.iter().map(|i| i["title"].as_str().unwrap()).collect();
    assert_eq!(
        titles,
        ["disk of db-4 is full", "disk of db-3 is full", "disk of db-2 is full"],
        "each once, newest first"
    );
    let fired = world.kinds(found[2]["id"].as_str().unwrap()).await;
    assert_eq!(fired.iter().filter(|kind| *kind == "alert_fired").count(), 1);
}

#[tokio::test]
async fn an_alertmanager_that_is_away_stops_nothing() {
    let url = format!("http://{}", service::own_loopback_address()).parse().unwrap();
    let world = World::alone(|config| config.alertmanager_url = Some(url)).await;
    let id = world.deliver_one(super::sample::firing("db-1")).await;
    world.until_phase(&id, "diagnosing").await;
    assert_eq!(world.incidents().await.len(), 1);
    tokio::time::timeout(Duration::from_secs(10), world.stop()).await.unwrap();
}
