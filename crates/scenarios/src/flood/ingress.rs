//! The receiving end: ingress as a process, with no agent to work for it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{Expected, sum, write};
use crate::processes::ending_with_us;

pub(super) const TOKEN: &str = "only-the-flood-knows-this-0123456789";
const START: Duration = Duration::from_secs(30);
/// What one answer of the API lists at most.
const PAGE: usize = 500;

#[derive(Debug)]
pub(super) struct Ingress {
    pub(super) webhook: String,
    url: String,
    http: reqwest::Client,
    child: Child,
}

/// What ingress says of the webhooks that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) acknowledged: f64,
    /// Answered with anything else.
    pub(super) refused: f64,
}

impl Ingress {
    pub(super) async fn start(binaries: &Path, scratch: &Path) -> anyhow::Result<Self> {
        let address = service::own_loopback_address();
        let (token, config) = (scratch.join("token"), scratch.join("ingress.yaml"));
        write(&token, TOKEN)?;
        let nobody = || format!("http://{}", service::own_loopback_address());
        let settings = json!({
            "listen": address,
            "console_listen": service::own_loopback_address(),
            "database": scratch.join("ingress.db"),
            "agents": {"diagnostic": nobody(), "resolution": nobody(), "ticketing": nobody()},
            "sources": {"alertmanager": {
                "kind": "alertmanager",
                "authentication": {"bearer": {"files": [token]}},
            }},
        });
        write(&config, &settings.to_string())?;
        let log = std::fs::File::create(scratch.join("ingress.log"))?;
        let mut command = Command::new(binaries.join("ingress"));
        command.arg("--config").arg(config).env("FIREBREAK_LOG", "error");
        let mut command = ending_with_us(&command);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().context("start ingress")?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("http://{address}");
        let started = Self { webhook: format!("{url}/webhooks/alertmanager"), url, http, child };
        let begun = Instant::now();
        while started.text("/readyz").await.is_err() {
            ensure!(begun.elapsed() < START, "ingress does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(started)
    }

    pub(super) async fn deliveries(&self) -> anyhow::Result<Taken> {
        let metrics = self.text("/metrics").await?;
        let name = "firebreak_webhook_deliveries_total";
        let acknowledged = sum(&metrics, name, &["status=\"200\""]);
        Ok(Taken { acknowledged, refused: sum(&metrics, name, &[]) - acknowledged })
    }

    /// Every alert of every incident, by its label `id`: whether it fires.
    pub(super) async fn alerts(&self) -> anyhow::Result<Expected> {
        let mut alerts = Expected::new();
        let mut before = String::new();
        loop {
            let page = self.list(&format!("/api/v1/incidents?limit={PAGE}{before}")).await?;
            for incident in &page {
                self.alerts_of(text(&incident["id"])?, &mut alerts).await?;
            }
            match page.last() {
                Some(last) => before = format!("&before={}", text(&last["id"])?),
                None => return Ok(alerts),
            }
        }
    }

    async fn alerts_of(&self, incident: &str, alerts: &mut Expected) -> anyhow::Result<()> {
        let mut after = String::new();
        loop {
            let path = format!("/api/v1/incidents/{incident}/alerts?limit={PAGE}{after}");
            let page = self.list(&path).await?;
            for alert in &page {
                let id = text(&alert["labels"]["id"])?;
                let is_new = alerts.insert(id.to_owned(), alert["status"] == "firing").is_none();
                ensure!(is_new, "alert {id} is there twice");
            }
            match page.last() {
                Some(last) => after = format!("&after={}", text(&last["cursor"])?),
                None => return Ok(()),
            }
        }
    }

    async fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        serde_json::from_str(&self.text(path).await?).with_context(|| format!("GET {path}"))
    }

    async fn text(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }
}

fn text(value: &Value) -> anyhow::Result<&str> {
    value.as_str().with_context(|| format!("{value} is no text"))
}

impl Drop for Ingress {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
