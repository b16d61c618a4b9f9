//! The servers under measurement: ingress with one authenticated source and an agent that answers
//! nothing, and the bare server beside it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bench::alertmanager;
use bench::hanging::HangingAgent;
use bench::http::{Connection, get, post};
use bench::server::Server;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Ground<'a> {
    binaries: &'a Path,
    directory: &'a Path,
    agent: SocketAddr,
    token_file: PathBuf,
}

impl<'a> Ground<'a> {
    pub(crate) fn new(
        binaries: &'a Path,
        directory: &'a Path,
        agent: SocketAddr,
    ) -> anyhow::Result<Self> {
        let token_file = alertmanager::write_token(directory)?;
        Ok(Self { binaries, directory, agent, token_file })
    }

    /// Ingress over an empty database: a file of this name, or a schema of the server at `url`.
    pub(crate) fn ingress(&self, file: &str, url: Option<&str>) -> anyhow::Result<Server> {
        match url {
            Some(url) => self.start(url),
            None => {
                self.remove(file)?;
                self.ingress_over(file)
            }
        }
    }

    /// Ingress over a database as it is.
    pub(crate) fn ingress_over(&self, file: &str) -> anyhow::Result<Server> {
        self.start(&self.path(file).display().to_string())
    }

    fn start(&self, database: &str) -> anyhow::Result<Server> {
        let mut command = Command::new(self.binaries.join("ingress"));
        command.current_dir(self.directory).env(alertmanager::TOKEN_FILE, &self.token_file);
        command.env("FIREBREAK_LOG", "warn").env("FIREBREAK_DATABASE", database);
        command.env("FIREBREAK_CONSOLE_LISTEN", "127.0.0.1:0");
        let agent = format!("http://{}", self.agent);
        for role in ["DIAGNOSTIC", "RESOLUTION", "TICKETING"] {
            command.env(format!("{role}_AGENT_URL"), &agent);
        }
        Server::start(command, &self.path("ingress.log"), |command, address| {
            command.env("FIREBREAK_LISTEN", address.to_string());
        })
    }

    /// The bare server over an empty file, or with one transaction a request at `url`.
    pub(crate) fn limit(&self, url: Option<&str>) -> anyhow::Result<Server> {
        self.remove("limit.db")?;
        let database = url.map_or_else(|| self.path("limit.db").display().to_string(), Into::into);
        let command = Command::new(self.binaries.join("limit"));
        Server::start(command, &self.path("limit.log"), |command, address| {
            command.arg("--listen").arg(address.to_string()).arg("--database").arg(database);
        })
    }

    /// Opens an incident that a person closes and one whose diagnosis never ends, and kills ingress.
    pub(crate) async fn interrupt(&self, agent: &HangingAgent, file: &str) -> anyhow::Result<()> {
        let before = agent.asked();
        let server = self.ingress_over(file)?;
        serves(server.address).await?;
        let mut connection = Connection::open(server.address).await?;
        connection.call(&webhook(server.address, "server", "closed", 1), "").await?;
        let listed = connection.text(&get(server.address, "/api/v1/incidents")).await?;
        let listed: Value = serde_json::from_str(&listed)?;
        let id = listed[0]["id"].as_str().context("an incident has an id")?.to_owned();
        let path = format!("/api/v1/incidents/{id}/close");
        let body = json!({"by": "bench", "why": "to have a closed one"}).to_string();
        connection.call(&post(server.address, &path, &[], &body), "").await?;
        connection.call(&webhook(server.address, "server", "interrupted", 2), "").await?;
        agent.asked_again(before).await.map(drop)
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    pub(crate) fn remove(&self, file: &str) -> anyhow::Result<()> {
        for end in ["", "-wal", "-shm"] {
            let path = self.directory.join(format!("{file}{end}"));
            if path.exists() {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Waits until a server is ready.
pub(crate) async fn serves(address: SocketAddr) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        if let Ok(mut connection) = Connection::open(address).await
            && connection.call(&get(address, "/readyz"), "").await.is_ok()
        {
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "ingress is not ready");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// One alert of one target, which a label names.
pub(crate) fn webhook(address: SocketAddr, label: &str, target: &str, fingerprint: u64) -> Vec<u8> {
    let labels = json!({"alertname": "BenchSymptom", label: target, "severity": "critical"});
    let body = json!({
        "version": "4", "groupKey": target, "truncatedAlerts": 0, "status": "firing",
        "receiver": "firebreak", "groupLabels": {}, "commonLabels": labels,
        "commonAnnotations": {}, "externalURL": "http://alertmanager",
        "alerts": [{
            "status": "firing", "labels": labels, "annotations": {"summary": "it does not answer"},
            "startsAt": "2026-11-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "", "fingerprint": format!("{fingerprint:016x}"),
        }],
    });
    alertmanager::webhook(address, &body.to_string())
}
