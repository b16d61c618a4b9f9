//! The skill `sync_ticket` over A2A: a `TicketUpdate` part in, a `Ticket` artifact out. A tracker
//! that is down fails the task as transient, which its caller repeats.

use std::sync::Arc;

use a2a_types::{Artifact, Message, Part};
use futures::future::BoxFuture;
use incident::{IncidentId, Payload, TicketUpdate};
use rpc::a2a::{Agent, AgentError, Job};

use crate::document::clean_line;
use crate::sync::{Desk, SyncError};
use crate::tracker::Ticket;

/// The artifact that holds the ticket.
pub const ARTIFACT: &str = "ticket";

#[derive(Debug)]
pub(crate) struct SyncTicket {
    pub(crate) desk: Desk,
}

impl Agent for SyncTicket {
    fn run(self: Arc<Self>, job: Job) -> BoxFuture<'static, Result<(), AgentError>> {
        Box::pin(async move {
            let cancelled = job.cancelled.clone();
            // Stopping anywhere is safe: what a tracker has done already is found there again.
            cancelled.run_until_cancelled(self.work(&job)).await.unwrap_or(Ok(()))
        })
    }
}

impl SyncTicket {
    async fn work(&self, job: &Job) -> Result<(), AgentError> {
        match updates(&job.message)?.as_slice() {
            [] => self.answer(job).await,
            [update] => self.sync(update, job).await,
            _ => Err(AgentError::Rejected("one TicketUpdate part per message".into())),
        }
    }

    async fn sync(&self, update: &TicketUpdate, job: &Job) -> Result<(), AgentError> {
        job.updates.working(format!("updating the ticket of {}", update.incident_id)).await?;
        let synced = self.desk.sync(update).await.map_err(failure)?;
        let (ticket, why) = (&synced.ticket, synced.not_moved.as_deref());
        let title = clean_line(&synced.title, 200);
        let mut text = format!("{} is {:?}: {title}", ticket.key, ticket.status);
        if let Some(why) = why {
            text.push_str(&format!(" (not moved: {why})"));
        }
        let parts = vec![rpc::part(&Payload::Ticket(ticket.clone())), Part::text(&ticket.url)];
        job.updates.put_artifact(Artifact::new(ARTIFACT, parts)).await?;
        Ok(job.updates.complete(text).await?)
    }

    /// Plain text: where the ticket of a named incident stands, or how to ask. Tickets are not
    /// looked up by key: this agent's credential may see more of the tracker than its callers may.
    async fn answer(&self, job: &Job) -> Result<(), AgentError> {
        let text = job.message.text();
        let named = words(&text).find_map(|word| word.parse::<IncidentId>().ok());
        let answer = match named {
            Some(incident) => match self.desk.tracker().find(incident).await.map_err(failure)? {
                Some(ticket) => describe(&ticket),
                None => format!("{incident} has no ticket"),
            },
            None => format!(
                "Name an incident (inc_…) to hear where its ticket stands; send a TicketUpdate \
                 data part ({}) to change it.",
                incident::EXTENSION_URI
            ),
        };
        Ok(job.updates.complete(answer).await?)
    }
}

fn updates(message: &Message) -> Result<Vec<TicketUpdate>, AgentError> {
    let payloads = rpc::payloads(&message.parts)
        .map_err(|error| AgentError::Rejected(format!("{error}: {}", error.source)))?;
    payloads
        .into_iter()
        .map(|payload| match payload {
            Payload::TicketUpdate(update) => Ok(update),
            _ => Err(AgentError::Rejected("this skill takes TicketUpdate parts only".into())),
        })
        .collect()
}

fn describe(ticket: &Ticket) -> String {
    let title = clean_line(&ticket.title, 200);
    format!("{} is {:?}: {title}\n{}", ticket.key, ticket.status, ticket.url)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))
}

fn failure(error: impl Into<SyncError>) -> AgentError {
    let error = error.into();
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    AgentError::Failed {
        message: format!("{error}{}", cause.unwrap_or_default()),
        is_transient: error.is_transient(),
    }
}
