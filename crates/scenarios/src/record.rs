//! What the programs wrote down, read from their own databases once they have stopped. A claim
//! that something happened once is made here and not by what was seen while it ran.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use incident::TicketStatus;
use jiff::Timestamp;
use store::{ChangeRow, OpenOptions, Replica, Store};

use crate::{Case, Program, Snapshot, Ticket, World};

#[derive(Debug)]
pub struct Record {
    pub cases: Vec<Case>,
    /// Every change deployment-system began, oldest first.
    pub changes: Vec<ChangeRow>,
    pub tickets: Vec<Ticket>,
    /// Times the simulated database was restarted: each repair of its pool restarts it once.
    pub database_restarts: u64,
}

impl Record {
    /// Stops the programs that keep records and reads them.
    pub(crate) async fn read(world: &mut World) -> anyhow::Result<Self> {
        let database_restarts = world.database_restarts().await?;
        for program in [
            Program::Ingress,
            Program::ResolutionAgent,
            Program::TicketingAgent,
            Program::DeploymentSystem,
        ] {
            if world.is_running(program) {
                world.stop_program(program).await?;
            }
        }
        let tickets = world.tickets();
        let cases = read_cases(world).await?;
        let store = open(world, Program::DeploymentSystem).await?;
        let mut changes = store.changes(None, 10_000).await.context("read the changes")?;
        changes.reverse();
        store.close().await;
        Ok(Self { cases, changes, tickets, database_restarts })
    }

    /// One fault, one incident, one ticket that is done, one change; the audit chain was verified
    /// when this was read.
    ///
    /// # Panics
    /// It is not so.
    pub fn shows_one_fix(&self) {
        assert_eq!(self.cases.len(), 1, "incidents\n{self}");
        assert_eq!(self.tickets.len(), 1, "tickets\n{self}");
        assert_eq!(self.tickets[0].status, TicketStatus::Closed, "{self}");
        assert_eq!(self.tickets[0].incident, self.cases[0].incident.id, "{self}");
        self.shows_effects(1);
    }

    /// So many changes, each finished, and so many restarts of the database.
    ///
    /// # Panics
    /// It is not so.
    pub fn shows_effects(&self, count: u64) {
        assert_eq!(self.changes.len() as u64, count, "changes\n{self}");
        assert_eq!(self.database_restarts, count, "restarts of the database\n{self}");
    }

    /// No two changes at a time, and a fix is made again only where the one before it was cut off.
    ///
    /// # Panics
    /// It is not so.
    pub fn shows_one_change_at_a_time(&self) {
        for pair in self.changes.windows(2) {
            let ended = pair[0].finished_at.expect("a change before another one has ended");
            assert!(ended <= pair[1].change.started_at, "two at a time\n{self}");
            let state = pair[0].outcome.as_ref().map(|outcome| &outcome["state"]);
            let is_again = pair[0].change.action == pair[1].change.action;
            let was_cut_off = state.is_some_and(|state| *state == "unknown" || *state == "failed");
            assert!(was_cut_off || !is_again, "done twice\n{self}");
        }
        assert!(self.database_restarts <= self.changes.len() as u64, "restarts\n{self}");
    }

    /// The one incident.
    ///
    /// # Panics
    /// There is none, or more than one.
    pub fn case(&self) -> &Case {
        assert_eq!(self.cases.len(), 1, "incidents\n{self}");
        &self.cases[0]
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for ChangeRow { change, outcome, finished_at, .. } in &self.changes {
            let _ = writeln!(
                text,
                "change {} {} on {} at {}, finished {finished_at:?}: {outcome:?}",
                change.id, change.action, change.target, change.started_at
            );
        }
        let told = Snapshot {
            cases: Some(self.cases.clone()),
            tickets: self.tickets.clone(),
            ..Snapshot::default()
        };
        write!(f, "{text}{} restarts of the database\n{told}", self.database_restarts)
    }
}

async fn read_cases(world: &World) -> anyhow::Result<Vec<Case>> {
    let store = open(world, Program::Ingress).await?;
    let mut cases = Vec::new();
    for stored in store.incidents(500, None).await? {
        let id = stored.incident.id;
        let rows = store.timeline(id, 0, 10_000).await?;
        let verified = store.verify_audit(id).await.context("the audit chain")?;
        ensure!(verified == rows.len() as i64, "{id}: {verified} of {} rows verified", rows.len());
        let timeline = rows.into_iter().map(|row| row.entry).collect();
        cases.push(Case { incident: stored.incident, timeline });
    }
    store.close().await;
    Ok(cases)
}

async fn open(world: &World, program: Program) -> anyhow::Result<Arc<dyn Store>> {
    let options = OpenOptions {
        replica: Replica { id: "record".into(), host: String::new(), pid: 0, start_time: 0 },
        lease: Duration::from_secs(60),
        is_dead: Arc::new(|_| false),
        time: Arc::new(|| Timestamp::UNIX_EPOCH),
    };
    let database = world.database(program).display().to_string();
    let opened = store::open(&database, program.name(), options).await;
    Ok(opened.with_context(|| format!("open {database}"))?.store)
}
