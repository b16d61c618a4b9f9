//! What the programs wrote down, read from their databases and the tracker once they have stopped.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use incident::Incident;
use jiff::Timestamp;
use store::{AttemptRow, ChangeRow, OpenOptions, Replica, Store, StoreError};

use super::now;
use super::site::Site;
use crate::{Case, Program, Ticket};

#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) cases: Vec<Case>,
    /// What is wrong with the chain of an incident's timeline.
    pub(crate) broken_chains: Vec<String>,
    pub(crate) attempts: Vec<AttemptRow>,
    pub(crate) changes: Vec<ChangeRow>,
    pub(crate) quarantined: Vec<(String, String)>,
    pub(crate) tickets: Vec<Ticket>,
    /// When the next effect of an incident is due, if any waits still.
    pub(crate) outbox: Option<Timestamp>,
}

impl Records {
    /// # Errors
    /// A database cannot be opened or read.
    pub(crate) async fn read(site: &Site) -> anyhow::Result<Self> {
        let mut records = Self { tickets: tickets(&site.tickets()), ..Self::default() };
        let store = open(site, Program::Ingress).await?;
        let mut before = None;
        loop {
            let page = store.incidents(500, before).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.incident.id);
            for stored in page {
                records.take_case(store.as_ref(), stored.incident).await?;
            }
        }
        records.outbox = store.next_outbox(Timestamp::UNIX_EPOCH).await?;
        store.close().await;
        let store = open(site, Program::ResolutionAgent).await?;
        records.attempts = store.attempts_since(Timestamp::UNIX_EPOCH).await?;
        records.quarantined = store.quarantined_targets().await?;
        store.close().await;
        let store = open(site, Program::DeploymentSystem).await?;
        records.changes = store.changes(None, u32::MAX).await?;
        store.close().await;
        Ok(records)
    }

    async fn take_case(&mut self, store: &dyn Store, incident: Incident) -> anyhow::Result<()> {
        match store.verify_audit(incident.id).await {
            Ok(_) => {}
            Err(error @ StoreError::BrokenChain { .. }) => {
                self.broken_chains.push(error.to_string());
            }
            Err(error) => return Err(error).context("verify a chain"),
        }
        let rows = store.timeline(incident.id, 0, u32::MAX).await?;
        let timeline = rows.into_iter().map(|row| row.entry).collect();
        self.cases.push(Case { incident, timeline });
        Ok(())
    }
}

async fn open(site: &Site, program: Program) -> anyhow::Result<Arc<dyn Store>> {
    let replica = Replica { id: "chaos-driver".into(), host: String::new(), pid: 0, start_time: 0 };
    let options = OpenOptions {
        replica,
        lease: Duration::from_secs(60),
        is_dead: Arc::new(|_| false),
        time: Arc::new(now),
    };
    let database = site.database_of(program);
    let opened = store::open(&database, program.name(), options).await;
    Ok(opened.with_context(|| format!("open {database}"))?.store)
}

/// The files of the built-in tracker.
pub(crate) fn tickets(directory: &Path) -> Vec<Ticket> {
    let Ok(files) = std::fs::read_dir(directory) else { return Vec::new() };
    let paths = files.filter_map(|file| Some(file.ok()?.path()));
    let paths = paths.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    let texts = paths.filter_map(|path| std::fs::read(path).ok());
    texts.filter_map(|text| serde_json::from_slice(&text).ok()).collect()
}
