//! Which ticket belongs to which incident.

use incident::{IncidentId, TicketRef};

use super::SqlStore;
use super::write::Answer;
use crate::StoreError;
use crate::database::{Transaction, params};
use crate::sqlite::{from_json, to_json};

impl SqlStore {
    pub(super) async fn ticket_of(&self, id: IncidentId) -> Result<Option<TicketRef>, StoreError> {
        let sql = "SELECT body FROM ticket WHERE incident_id = $1";
        let rows = self.database.fetch(sql, params![id.to_string()]).await?;
        rows.first().map(|row| from_json(&row.text("body")?, "ticket")).transpose()
    }
}

pub(super) async fn put(
    transaction: &mut Transaction,
    id: IncidentId,
    ticket: &TicketRef,
) -> Result<Answer, StoreError> {
    let sql = "INSERT INTO ticket (incident_id, body) VALUES ($1, $2) \
               ON CONFLICT (incident_id) DO UPDATE SET body = excluded.body";
    transaction.execute(sql, params![id.to_string(), to_json(ticket)]).await?;
    Ok(Answer::Done)
}
