//! The skill `sync_ticket` over A2A: a `TicketUpdate` part in, a `Ticket` artifact out. A tracker
//! that is down fails the task as transient, which its caller repeats.

use std::sync::Arc;

use a2a_types::{Artifact, Message, Part};
use futures::future::BoxFuture;
use incident::{IncidentId, Payload, TicketUpdate};
use rpc::a2a::{Agent, AgentError, Job};
use service::Clock;

use crate::document::clean_line;
use crate::sync::{Desk, SyncError};
use crate::tracker::Ticket;

/// The artifact that holds the ticket.
pub const ARTIFACT: &str = "ticket";

#[derive(Debug)]
pub(crate) struct SyncTicket {
    pub(crate) desk: Desk,
    pub(crate) clock: Clock,
}

impl Agent for SyncTicket {
    fn run(self: Arc<Self>, job: Job) -> BoxFuture<'static, Result<(), AgentError>> {
        Box::pin(async move {
            match updates(&job.message)?.as_slice() {
                [] => self.answer(&job).await,
                [update] => self.sync(update, &job).await,
                _ => Err(AgentError::Rejected("one TicketUpdate part per message".into())),
            }
        })
    }
}

impl SyncTicket {
    async fn sync(&self, update: &TicketUpdate, job: &Job) -> Result<(), AgentError> {
        job.updates.working(format!("updating the ticket of {}", update.incident_id)).await?;
        let interrupted = job.is_resumed.then(|| self.clock.now());
        let synced = self.desk.sync(update, interrupted).await.map_err(failure)?;
        let (ticket, why) = (&synced.ticket, synced.not_moved.as_deref());
        let mut text = format!("{} is {:?}: {}", ticket.key, ticket.status, synced.title);
        if let Some(why) = why {
            text.push_str(&format!(" (not moved: {why})"));
        }
        let parts = vec![rpc::part(&Payload::Ticket(ticket.clone())), Part::text(&ticket.url)];
        job.updates.put_artifact(Artifact::new(ARTIFACT, parts)).await?;
        Ok(job.updates.complete(text).await?)
    }

    /// Plain text: where the ticket stands that it names, or how to ask.
    async fn answer(&self, job: &Job) -> Result<(), AgentError> {
        let text = job.message.text();
        let named = words(&text).find_map(|word| word.parse::<IncidentId>().ok());
        let found = match named {
            Some(incident) => self.desk.tracker().find(incident).await.map_err(failure)?,
            None => self.by_key(&text).await?,
        };
        let answer = match (found, named) {
            (Some(ticket), _) => describe(&ticket),
            (None, Some(incident)) => format!("{incident} has no ticket"),
            (None, None) => format!(
                "Name an incident (inc_…) or a ticket to hear where it stands; send a TicketUpdate \
                 data part ({}) to change it.",
                incident::EXTENSION_URI
            ),
        };
        Ok(job.updates.complete(answer).await?)
    }

    /// The first ticket named in a text by a key such as `FB-12`.
    async fn by_key(&self, text: &str) -> Result<Option<Ticket>, AgentError> {
        match words(text).find(|word| is_key(word)) {
            Some(key) => self.desk.tracker().get(key).await.map_err(failure),
            None => Ok(None),
        }
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

fn is_key(word: &str) -> bool {
    word.split_once('-').is_some_and(|(project, number)| {
        project.starts_with(|c: char| c.is_ascii_uppercase())
            && project.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            && (1..=18).contains(&number.len())
            && number.chars().all(|c| c.is_ascii_digit())
    })
}

fn failure(error: impl Into<SyncError>) -> AgentError {
    let error = error.into();
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    AgentError::Failed {
        message: format!("{error}{}", cause.unwrap_or_default()),
        is_transient: error.is_transient(),
    }
}
