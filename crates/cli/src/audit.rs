//! Whether the timelines in a database are as they were written. A chain shows every change, every
//! added and every missing row of an incident; it cannot show an incident of which nothing is left.

use anyhow::Context;
use store::{AuditReader, StoreError};

use crate::arguments::Verify;

/// Incidents that are read at once.
const PAGE: u32 = 500;
/// Timelines without an incident that are named.
const ORPHANS: u32 = 100;

#[derive(Debug, Default)]
struct Found {
    incidents: usize,
    rows: i64,
    broken: usize,
}

pub(crate) async fn verify(arguments: Verify) -> anyhow::Result<()> {
    let reader = AuditReader::open(&arguments.database, "ingress").await?;
    let outcome = verify_all(&reader).await;
    reader.close().await;
    let found = outcome.with_context(|| format!("read the timelines in {}", arguments.database))?;
    let Found { incidents, rows, broken } = found;
    println!("{incidents} incidents, {rows} rows that are as they were written");
    anyhow::ensure!(broken == 0, "timelines that were edited: {broken}");
    Ok(())
}

async fn verify_all(reader: &AuditReader) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let mut after = String::new();
    loop {
        let page = reader.incidents(&after, PAGE).await?;
        for incident in &page {
            found.incidents += 1;
            match reader.verify(incident).await {
                Ok(rows) => found.rows += rows,
                Err(StoreError::BrokenChain { incident, sequence }) => {
                    found.tell(&incident, sequence, "was changed, added or is gone");
                }
                Err(error) => return Err(error),
            }
        }
        match page.into_iter().last() {
            Some(last) => after = last,
            None => break,
        }
    }
    for (incident, sequence) in reader.orphans(ORPHANS).await? {
        found.tell(&incident, sequence, "belongs to an incident that is gone");
    }
    Ok(found)
}

impl Found {
    fn tell(&mut self, incident: &str, sequence: i64, what: &str) {
        self.broken += 1;
        println!("{}: row {sequence} {what}", incident.escape_debug());
    }
}
