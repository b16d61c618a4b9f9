//! The sending end: an Alertmanager that tells of every change at once.

use std::iter::Sum;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::ingress::TOKEN;
use super::{Args, Expected, sum, write};
use crate::binaries::on_path;
use crate::chaos::now;
use crate::processes::ending_with_us;

const START: Duration = Duration::from_secs(30);
/// Groups whose alerts are changed by one request.
const GROUPS: usize = 20;
/// Servers of each Alertmanager's alerts: an incident each.
const SERVERS: usize = 10;

pub(super) fn program() -> Option<PathBuf> {
    ["alertmanager", "prometheus-alertmanager"].into_iter().find_map(on_path)
}

#[derive(Debug)]
pub(super) struct Alertmanager {
    index: usize,
    url: String,
    http: reqwest::Client,
    child: Child,
}

/// What an Alertmanager says of its webhooks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) notifications: f64,
    /// Given up.
    pub(super) failed: f64,
    /// Tried again.
    pub(super) requests_failed: f64,
}

impl Sum for Told {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            notifications: sum.notifications + one.notifications,
            failed: sum.failed + one.failed,
            requests_failed: sum.requests_failed + one.requests_failed,
        })
    }
}

impl Alertmanager {
    pub(super) async fn start(index: usize, scratch: &Path, webhook: &str) -> anyhow::Result<Self> {
        let directory = scratch.join(format!("alertmanager-{index}"));
        std::fs::create_dir(&directory)?;
        let config = directory.join("alertmanager.yml");
        let settings = json!({
            "route": {
                "receiver": "firebreak", "group_by": ["group"], "group_wait": "0s",
                "group_interval": "50ms", "repeat_interval": "1h",
            },
            "receivers": [{"name": "firebreak", "webhook_configs": [{
                "url": webhook,
                "http_config": {"authorization": {"credentials": TOKEN}},
            }]}],
        });
        write(&config, &settings.to_string())?;
        let address = service::own_loopback_address();
        let mut command = Command::new(program().context("alertmanager is not installed")?);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", directory.display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .arg("--log.level=error");
        let log = std::fs::File::create(directory.join("log"))?;
        let mut command = ending_with_us(&command);
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        let child = child.context("start alertmanager")?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let started = Self { index, url: format!("http://{address}"), http, child };
        let begun = Instant::now();
        while started.text("/-/ready").await.is_err() {
            ensure!(begun.elapsed() < START, "alertmanager does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(started)
    }

    /// Changes the state of group after group until then; returns how many alerts changed.
    pub(super) async fn flood(&self, args: &Args, until: Instant) -> anyhow::Result<usize> {
        let groups: Vec<usize> = (0..args.groups).collect();
        let (mut changes, mut started) = (0, vec![None; args.groups]);
        loop {
            for some in groups.chunks(GROUPS) {
                if Instant::now() >= until {
                    return Ok(changes);
                }
                let mut alerts = Vec::new();
                for group in some {
                    let began: Option<Timestamp> = started[*group].take();
                    let (starts_at, ends_at) = match began {
                        Some(began) => (began, Some(now())),
                        None => (now(), None),
                    };
                    started[*group] = ends_at.is_none().then_some(starts_at);
                    let alert = |number| self.alert(*group, number, starts_at, ends_at);
                    alerts.extend((0..args.alerts).map(alert));
                }
                changes += alerts.len();
                self.put(&alerts).await?;
            }
        }
    }

    /// Lets every alert fire, or, with `ends`, every second one end.
    pub(super) async fn put_all(&self, args: &Args, ends: bool) -> anyhow::Result<Expected> {
        let mut expected = Expected::new();
        for group in 0..args.groups {
            let mut alerts = Vec::new();
            for number in 0..args.alerts {
                let is_ended = ends && number % 2 == 0;
                expected.insert(self.id(group, number), !is_ended);
                if is_ended || !ends {
                    alerts.push(self.alert(group, number, now(), is_ended.then(now)));
                }
            }
            self.put(&alerts).await?;
        }
        Ok(expected)
    }

    fn id(&self, group: usize, number: usize) -> String {
        format!("{}-{group}-{number}", self.index)
    }

    fn alert(
        &self,
        group: usize,
        number: usize,
        starts_at: Timestamp,
        ends_at: Option<Timestamp>,
    ) -> Value {
        let mut alert = json!({
            "labels": {
                "alertname": format!("Flood{number}"),
                "group": format!("{}-{group}", self.index),
                "server": format!("shop-{}-{}", self.index, group % SERVERS),
                "severity": "warning",
                "id": self.id(group, number),
            },
            "annotations": {"summary": format!("part {number} of group {group} is not well")},
            "startsAt": starts_at,
        });
        if let Some(ends_at) = ends_at {
            alert["endsAt"] = json!(ends_at);
        }
        alert
    }

    async fn put(&self, alerts: &[Value]) -> anyhow::Result<()> {
        let request = self.http.post(format!("{}/api/v2/alerts", self.url)).json(alerts);
        request.send().await?.error_for_status().context("put alerts")?;
        Ok(())
    }

    pub(super) async fn told(&self) -> anyhow::Result<Told> {
        let metrics = self.text("/metrics").await?;
        let of = |name: &str| {
            sum(&metrics, &format!("alertmanager_{name}"), &["integration=\"webhook\""])
        };
        Ok(Told {
            notifications: of("notifications_total"),
            failed: of("notifications_failed_total"),
            requests_failed: of("notification_requests_failed_total"),
        })
    }

    async fn text(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
