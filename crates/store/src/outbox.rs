//! Effects that wait to be performed. A row leaves when its effect is confirmed, or becomes a dead
//! letter when it is given up.

use incident::IncidentId;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::sqlite::to_micros;
use crate::{FileStore, StoreError, Transaction};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    pub id: i64,
    pub incident_id: IncidentId,
    pub kind: String,
    /// The round of the incident that asked for it.
    pub round: u32,
    /// Definite failures so far.
    pub attempt: u32,
    /// Failures of any kind so far, such as a peer that was away.
    pub tries: u32,
    /// The newest row of this incident and kind when this one was claimed. Rows of one incident are
    /// numbered in the order of its versions: what is read from now on is not older than any of them.
    pub last: i64,
}

impl Transaction<'_> {
    /// # Errors
    /// The database is unavailable.
    pub async fn push_outbox(
        &mut self,
        incident_id: IncidentId,
        kind: &str,
        round: u32,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO outbox (incident_id, kind, round, not_before) VALUES (?, ?, ?, ?)",
        )
        .bind(incident_id.to_string())
        .bind(kind)
        .bind(round)
        .bind(to_micros(now))
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// Removes a row whose effect is confirmed.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn finish_outbox(&mut self, id: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM outbox WHERE id = ?").bind(id).execute(&mut *self.0).await?;
        Ok(())
    }

    /// Removes a row and keeps it as a dead letter.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn bury_outbox(
        &mut self,
        row: &OutboxRow,
        error: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO dead_letter (incident_id, kind, round, attempt, error, died_at) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(row.incident_id.to_string())
        .bind(&row.kind)
        .bind(row.round)
        .bind(row.attempt)
        .bind(error)
        .bind(to_micros(now))
        .execute(&mut *self.0)
        .await?;
        self.finish_outbox(row.id).await
    }
}

impl FileStore {
    /// Rows of one kind that are due, oldest first.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn due_outbox(
        &self,
        kind: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, incident_id, kind, round, attempt, tries FROM outbox \
             WHERE kind = ? AND not_before <= ? ORDER BY id LIMIT ?",
        )
        .bind(kind)
        .bind(to_micros(now))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().filter_map(read).collect())
    }

    /// The oldest due row of one kind of each incident, oldest first.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn due_outbox_by_incident(
        &self,
        kind: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        // SQLite takes the other columns from the row that holds the minimum.
        let rows = sqlx::query(
            "SELECT MIN(id) AS id, incident_id, kind, round, attempt, tries FROM outbox \
             WHERE kind = ? AND not_before <= ? GROUP BY incident_id ORDER BY id LIMIT ?",
        )
        .bind(kind)
        .bind(to_micros(now))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().filter_map(read).collect())
    }

    /// When the next row that is not due yet falls due.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn next_outbox(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let row = sqlx::query("SELECT MIN(not_before) AS due FROM outbox WHERE not_before > ?")
            .bind(to_micros(now))
            .fetch_one(&self.readers)
            .await?;
        Ok(row.get::<Option<i64>, _>("due").map(crate::sqlite::from_micros))
    }

    /// Puts a row off after a failure; `counts` when the peer gave a definite answer.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn delay_outbox(
        &self,
        id: i64,
        counts: bool,
        error: &str,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE outbox SET attempt = attempt + ?, tries = tries + 1, error = ?, not_before = ? WHERE id = ?",
        )
        .bind(counts)
        .bind(error)
        .bind(to_micros(not_before))
        .bind(id)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Dead letters, newest first: incident, kind, error.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn dead_letters(
        &self,
        limit: u32,
    ) -> Result<Vec<(String, String, String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT incident_id, kind, error FROM dead_letter ORDER BY id DESC LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        Ok(rows
            .iter()
            .map(|row| (row.get("incident_id"), row.get("kind"), row.get("error")))
            .collect())
    }
}

fn read(row: &SqliteRow) -> Option<OutboxRow> {
    Some(OutboxRow {
        id: row.get("id"),
        incident_id: row.get::<String, _>("incident_id").parse().ok()?,
        kind: row.get("kind"),
        round: row.get("round"),
        attempt: row.get("attempt"),
        tries: row.get("tries"),
        last: row.get("id"),
    })
}
