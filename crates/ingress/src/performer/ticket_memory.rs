//! What the tickets say, as far as this process has told them: an update that says nothing new is
//! not sent again.

use std::collections::HashMap;
use std::sync::Mutex;

use incident::{IncidentId, TicketRef, TicketUpdate};
use sha2::{Digest, Sha256};

/// Tickets remembered; beyond it all are forgotten, which costs one needless update each.
const TICKETS: usize = 10_000;

/// What was told, by its digest, and the ticket after it.
type Told = (String, TicketRef);

#[derive(Debug, Default)]
pub(super) struct TicketMemory(Mutex<HashMap<IncidentId, Told>>);

impl TicketMemory {
    /// The ticket as it is after just this update, if that was the last one.
    pub(super) fn ticket(&self, update: &TicketUpdate) -> Option<TicketRef> {
        let told = self.0.lock().expect("no panic while it is held");
        let (digest, ticket) = told.get(&update.incident_id)?;
        (*digest == digest_of(update)).then(|| ticket.clone())
    }

    pub(super) fn tell(&self, update: &TicketUpdate, ticket: &TicketRef) {
        let digest = digest_of(update);
        let mut told = self.0.lock().expect("no panic while it is held");
        if told.len() >= TICKETS {
            told.clear();
        }
        told.insert(update.incident_id, (digest, ticket.clone()));
    }
}

pub(super) fn digest_of(update: &TicketUpdate) -> String {
    let text = serde_json::to_vec(update).expect("an update has string keys only");
    hex::encode(Sha256::digest(text))
}
