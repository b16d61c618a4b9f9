//! Performs what the outbox holds. A row is claimed by this replica, performed, and ended in the
//! commit that takes its result in. Rows are repeated until their effect is confirmed; the agents
//! find a repeated request again by its idempotency key, so nothing happens twice. What another
//! replica has taken over meanwhile is refused by the store, and dropped here.

mod ask;
mod claim;
mod lease;
mod peer;
mod resolve;
mod settle;
mod ticket_memory;
mod timer;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use incident::{Event, Incident};
use rpc::a2a::{Client, SettingError};
use store::OutboxRow;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Work};

use claim::Places;
use peer::{Peer, Peers};
use ticket_memory::TicketMemory;

/// The pause after the database failed.
const RECOVERY: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Performer {
    engine: Arc<Engine>,
    peers: Peers,
    places: Places,
    told: TicketMemory,
    /// Cancelled when this replica's claims are not its own any more; then there is another.
    lease: Mutex<CancellationToken>,
}

/// What became of one try.
#[derive(Debug)]
enum Tried {
    /// Confirmed; the events it brought are to be taken.
    Done(Vec<Event>),
    /// Not confirmed.
    Again(Failure),
    /// The peer will never take it.
    GivenUp { why: String },
}

#[derive(Debug, Default)]
struct Failure {
    why: String,
    /// The peer gave a definite answer.
    counts: bool,
    /// How long the peer asked to be left alone.
    retry_after: Option<Duration>,
}

impl Performer {
    /// # Errors
    /// A peer cannot be called.
    pub(crate) fn new(engine: Arc<Engine>) -> Result<Self, SettingError> {
        Ok(Self {
            peers: Peers::new(&engine)?,
            engine,
            places: Places::default(),
            told: TicketMemory::default(),
            lease: Mutex::default(),
        })
    }

    pub(crate) fn resolution(&self) -> &Client {
        &self.peers.resolution.client
    }

    /// Starts what performs rows, meets deadlines and keeps the lease. At shutdown, what is in hand is
    /// dropped and given back: whoever takes it up finds the request by its key.
    pub(crate) fn start(self: &Arc<Self>) {
        let process = &self.engine.process;
        process.spawn_until_shutdown(self.clone().keep_lease());
        process.spawn_until_shutdown(self.clone().keep_time());
        process.spawn_until_shutdown(self.clone().hear_others());
        for work in Work::ALL {
            process.spawn(self.clone().claim(work));
        }
    }

    fn peer(&self, work: Work) -> &Peer {
        match work {
            Work::Diagnose => &self.peers.diagnostic,
            Work::Resolve | Work::CancelResolution => &self.peers.resolution,
            Work::SyncTicket => &self.peers.ticketing,
        }
    }

    fn lease(&self) -> CancellationToken {
        self.lease.lock().expect("no panic while the lease is held").clone()
    }

    async fn try_row(&self, incident: &Incident, row: &OutboxRow, work: Work) -> Tried {
        let is_current = incident.round == row.round && !incident.phase.is_final();
        let tried = match work {
            Work::Diagnose if is_current && incident.phase == incident::Phase::Diagnosing => {
                Ok(self.diagnose(incident, row).await)
            }
            Work::Resolve if is_current && incident.outcome.is_none() => {
                self.resolve(incident, row).await
            }
            Work::CancelResolution => Ok(self.cancel(incident).await),
            Work::SyncTicket => self.sync_ticket(incident, row).await,
            // The incident has gone on without it.
            Work::Diagnose | Work::Resolve => Ok(Tried::Done(Vec::new())),
        };
        let failed = |error: store::StoreError| {
            let why = error.to_string();
            Tried::Again(Failure { why, ..Failure::default() })
        };
        tried.unwrap_or_else(failed)
    }
}
