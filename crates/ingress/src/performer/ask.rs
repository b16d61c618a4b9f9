//! The requests that one answer ends: a diagnosis, a ticket, the end of a task.

use std::time::Duration;

use a2a_types::{Message, Role};
use incident::{Diagnosis, Event, HandOff, Incident, Payload, Phase, TicketRef};
use rpc::a2a::{ClientError, Send};
use store::{OutboxRow, StoreError};

use super::peer::failed;
use super::ticket_memory::digest_of;
use super::{Failure, Performer, Tried};
use crate::answer::{self, NoResult};
use crate::engine::Work;
use crate::ticket;

/// How long the ticketing agent may take for one update.
const TICKET_DEADLINE: Duration = Duration::from_secs(45);
/// Rows of a timeline that a ticket may tell of.
const TOLD_ROWS: u32 = 10_000;

impl Performer {
    pub(super) async fn diagnose(&self, incident: &Incident, row: &OutboxRow) -> Tried {
        let send = request(incident, row, &[Payload::Brief(incident.brief())]);
        let within = Duration::from_secs(self.engine.config.limits.diagnosis_seconds);
        match self.ask(Work::Diagnose, send, within).await {
            Ok(answer) => {
                taken(answer::result::<Diagnosis>(&answer, incident.id), Event::DiagnosisReady)
            }
            Err(error) => failed(&error),
        }
    }

    /// Brings the ticket up to date. It tells all there is to tell, so that one update serves every
    /// row that waits.
    pub(super) async fn sync_ticket(
        &self,
        incident: &Incident,
        row: &OutboxRow,
    ) -> Result<Tried, StoreError> {
        let timeline = self.engine.store.timeline(incident.id, 0, TOLD_ROWS).await?;
        let update = ticket::update(incident, &timeline);
        let (handed_over_at, is_pending) = match incident.phase {
            Phase::NeedsHuman { at, handoff, .. } => (Some(at), handoff != HandOff::Delivered),
            _ => (None, false),
        };
        let synced = |ticket| Event::TicketSynced { ticket, handed_over_at };
        if let Some(ticket) = self.told.ticket(&update) {
            let is_known = incident.ticket.as_ref() == Some(&ticket) && !is_pending;
            let news = (!is_known).then(|| synced(ticket));
            return Ok(Tried::Done(news.into_iter().collect()));
        }
        // Repeated later it says more: under the key of its row alone it would be answered with the
        // ticket as the former try left it, and what is new would never be told.
        let key = format!("{}:{}", key(incident, row), &digest_of(&update)[..16]);
        let send = keyed(key, &[Payload::TicketUpdate(update.clone())]);
        let answer = match self.ask(Work::SyncTicket, send, TICKET_DEADLINE).await {
            Ok(answer) => answer::result::<TicketRef>(&answer, incident.id),
            Err(error) => return Ok(failed(&error)),
        };
        if let Ok(ticket) = &answer {
            self.told.tell(&update, ticket);
        }
        Ok(taken(answer, synced))
    }

    pub(super) async fn cancel(&self, incident: &Incident) -> Tried {
        let Some(task_id) = &incident.resolution_task else {
            return Tried::Done(Vec::new());
        };
        match self.stop(task_id).await {
            Ok(()) => Tried::Done(Vec::new()),
            Err(error) => failed(&error),
        }
    }

    /// Tells the resolution agent to stop a task; one that has ended or is unknown needs no telling.
    pub(super) async fn stop(&self, task_id: &str) -> Result<(), ClientError> {
        let answer = self.resolution().cancel(task_id).await;
        self.heard(Work::CancelResolution, &answer);
        match answer {
            Err(error) if error.is_task_not_found() || error.is_task_not_cancelable() => Ok(()),
            answer => answer.map(drop),
        }
    }
}

/// A message whose id, like its key, is the same at every repetition of a row, whoever has it.
pub(super) fn request(incident: &Incident, row: &OutboxRow, payloads: &[Payload]) -> Send {
    keyed(key(incident, row), payloads)
}

fn key(incident: &Incident, row: &OutboxRow) -> String {
    format!("{}:{}:{}:{}:{}", incident.id, row.round, row.kind, row.id, row.attempt)
}

fn keyed(key: String, payloads: &[Payload]) -> Send {
    let parts = payloads.iter().map(rpc::part).collect();
    let mut message = Message::new(&key, Role::User, parts);
    message.extensions.push(incident::EXTENSION_URI.into());
    Send { message, idempotency_key: Some(key), wait: None }
}

pub(super) fn taken<T>(result: Result<T, NoResult>, event: impl FnOnce(T) -> Event) -> Tried {
    match result {
        Ok(result) => Tried::Done(vec![event(result)]),
        Err(NoResult::Transient(why)) => {
            Tried::Again(Failure { why, counts: true, retry_after: None })
        }
        Err(NoResult::Final(why)) => Tried::GivenUp { why },
    }
}
