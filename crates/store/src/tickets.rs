//! Which ticket belongs to which incident.

use incident::{IncidentId, TicketRef};
use sqlx::Row;

use crate::sqlite::{from_json, to_json};
use crate::{FileStore, StoreError};

impl FileStore {
    /// # Errors
    /// The database is unavailable.
    pub async fn ticket(&self, id: IncidentId) -> Result<Option<TicketRef>, StoreError> {
        let row = sqlx::query("SELECT body FROM ticket WHERE incident_id = ?")
            .bind(id.to_string())
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| from_json(row.get("body"), "ticket")).transpose()
    }

    /// # Errors
    /// The database is unavailable.
    pub async fn put_ticket(&self, id: IncidentId, ticket: &TicketRef) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO ticket (incident_id, body) VALUES (?1, ?2) \
             ON CONFLICT (incident_id) DO UPDATE SET body = ?2",
        )
        .bind(id.to_string())
        .bind(to_json(ticket))
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}
