//! Prometheus and Alertmanager with the fast profile's files, their addresses replaced by those of
//! this world.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::Program;
use crate::program::Site;

pub(crate) fn prometheus(site: &Site) -> anyhow::Result<Command> {
    let directory = site.directory(Program::Prometheus);
    copy(site, "prometheus.yml", &directory)?;
    copy(site, "rules.yml", &directory)?;
    let mut command = Command::new(&site.tools.prometheus);
    command
        .arg(flag("config.file", directory.join("prometheus.yml").display()))
        .arg(flag("storage.tsdb.path", directory.join("data").display()))
        .arg(flag("web.listen-address", site.ports.of(Program::Prometheus)))
        .arg("--log.level=warn");
    Ok(command)
}

pub(crate) fn alertmanager(site: &Site) -> anyhow::Result<Command> {
    let directory = site.directory(Program::Alertmanager);
    copy(site, "alertmanager.yml", &directory)?;
    let mut command = Command::new(&site.tools.alertmanager);
    command
        .arg(flag("config.file", directory.join("alertmanager.yml").display()))
        .arg(flag("storage.path", directory.join("data").display()))
        .arg(flag("web.listen-address", site.ports.of(Program::Alertmanager)))
        // One of a kind: no gossip, no further port.
        .arg("--cluster.listen-address=")
        .arg("--log.level=warn");
    Ok(command)
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

fn copy(site: &Site, name: &str, directory: &Path) -> anyhow::Result<()> {
    let source = site.root.join("monitoring/fast").join(name);
    let mut text =
        fs::read_to_string(&source).with_context(|| format!("read {}", source.display()))?;
    let [database, app, gateway] = site.ports.fleet();
    let addresses = [
        ("127.0.0.1:8000", database),
        ("127.0.0.1:8001", app),
        ("127.0.0.1:8002", gateway),
        ("127.0.0.1:9093", site.ports.of(Program::Alertmanager)),
        ("127.0.0.1:5000", site.ports.of(Program::Ingress)),
    ];
    let token = site.webhook_token()?.display().to_string();
    text = text.replace("../../data/webhook-token", &token);
    for (usual, ours) in &addresses {
        text = text.replace(usual, ours);
    }
    let is_ours = text.matches("127.0.0.1:").count()
        == addresses.iter().map(|(_, ours)| text.matches(ours.as_str()).count()).sum::<usize>();
    ensure!(is_ours, "{} names an address that no scenario knows", source.display());
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}
