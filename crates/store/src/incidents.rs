//! Incidents, the alerts that belong to them, deliveries, and the audit chain.

use incident::{Alert, Incident, IncidentId, IncidentKey, TimelineEntry};
use jiff::Timestamp;
use sqlx::Row;

use crate::audit::link_hash;
use crate::sqlite::{from_json, from_micros, to_json, to_micros};
use crate::{AuditRow, FileStore, StoreError, Stored, Transaction};

impl Transaction<'_> {
    /// The open incident of a key.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn open_incident(
        &mut self,
        key: &IncidentKey,
    ) -> Result<Option<IncidentId>, StoreError> {
        let row = sqlx::query("SELECT id FROM incident WHERE key = ? AND is_open = 1")
            .bind(key.as_str())
            .fetch_optional(&mut *self.0)
            .await?;
        Ok(row.and_then(|row| row.get::<String, _>("id").parse().ok()))
    }

    /// The newest incident of a key, open or not.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn latest_incident(
        &mut self,
        key: &IncidentKey,
    ) -> Result<Option<IncidentId>, StoreError> {
        let row = sqlx::query(
            "SELECT id FROM incident WHERE key = ? ORDER BY opened_at DESC, id DESC LIMIT 1",
        )
        .bind(key.as_str())
        .fetch_optional(&mut *self.0)
        .await?;
        Ok(row.and_then(|row| row.get::<String, _>("id").parse().ok()))
    }

    /// The incident an alert was last put into.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn incident_of_alert(
        &mut self,
        alert: &Alert,
    ) -> Result<Option<IncidentId>, StoreError> {
        let row = sqlx::query("SELECT incident_id FROM alert WHERE source = ? AND fingerprint = ?")
            .bind(&alert.source)
            .bind(&alert.fingerprint)
            .fetch_optional(&mut *self.0)
            .await?;
        Ok(row.and_then(|row| row.get::<String, _>("incident_id").parse().ok()))
    }

    /// # Errors
    /// The database is unavailable.
    pub async fn incident(&mut self, id: IncidentId) -> Result<Option<Incident>, StoreError> {
        let row = sqlx::query("SELECT body FROM incident WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&mut *self.0)
            .await?;
        row.map(|row| from_json(row.get("body"), "incident")).transpose()
    }

    /// Adds or replaces an incident and the links of its alerts.
    ///
    /// # Errors
    /// Another incident with the same key is open.
    pub async fn put_incident(
        &mut self,
        incident: &Incident,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO incident (id, key, phase, is_open, opened_at, changed_at, deadline, body) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO UPDATE SET \
             phase = ?3, is_open = ?4, changed_at = ?6, deadline = ?7, body = ?8, version = version + 1",
        )
        .bind(incident.id.to_string())
        .bind(incident.key.as_str())
        .bind(incident.phase.name())
        .bind(!incident.phase.is_final())
        .bind(to_micros(incident.opened_at))
        .bind(to_micros(now))
        .bind(incident.deadline.map(to_micros))
        .bind(to_json(incident))
        .execute(&mut *self.0)
        .await
        .map_err(|error| StoreError::on_insert(error, "an open incident with this key"))?;
        Ok(())
    }

    /// Says which incident an alert belongs to.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn link_alert(&mut self, alert: &Alert, id: IncidentId) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO alert (source, fingerprint, incident_id) VALUES (?1, ?2, ?3) \
             ON CONFLICT (source, fingerprint) DO UPDATE SET incident_id = ?3",
        )
        .bind(&alert.source)
        .bind(&alert.fingerprint)
        .bind(id.to_string())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// Keeps an accepted request body.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn put_delivery(
        &mut self,
        source: &str,
        body: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO delivery (source, received_at, body) VALUES (?, ?, ?)")
            .bind(source)
            .bind(to_micros(now))
            .bind(body)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// Appends to an incident's timeline.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn append_audit(
        &mut self,
        id: IncidentId,
        entry: &TimelineEntry,
    ) -> Result<(), StoreError> {
        let last = sqlx::query(
            "SELECT sequence, hash FROM audit WHERE incident_id = ? ORDER BY sequence DESC LIMIT 1",
        )
        .bind(id.to_string())
        .fetch_optional(&mut *self.0)
        .await?;
        let (sequence, previous) = match last {
            Some(row) => (row.get::<i64, _>("sequence") + 1, row.get::<String, _>("hash")),
            None => (1, String::new()),
        };
        let body = to_json(entry);
        let hash = link_hash(&previous, &body);
        sqlx::query("INSERT INTO audit (incident_id, sequence, body, hash) VALUES (?, ?, ?, ?)")
            .bind(id.to_string())
            .bind(sequence)
            .bind(&body)
            .bind(&hash)
            .execute(&mut *self.0)
            .await?;
        sqlx::query("UPDATE incident SET sequence = ?, hash = ? WHERE id = ?")
            .bind(sequence)
            .bind(&hash)
            .bind(id.to_string())
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }
}

impl FileStore {
    /// # Errors
    /// The database is unavailable.
    pub async fn incident(&self, id: IncidentId) -> Result<Option<Stored>, StoreError> {
        let row = sqlx::query("SELECT body, changed_at FROM incident WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(read_stored).transpose()
    }

    /// The incident an alert was last put into.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn incident_of_alert(&self, alert: &Alert) -> Result<Option<Stored>, StoreError> {
        let row = sqlx::query(
            "SELECT i.body, i.changed_at FROM alert a JOIN incident i ON i.id = a.incident_id \
             WHERE a.source = ? AND a.fingerprint = ?",
        )
        .bind(&alert.source)
        .bind(&alert.fingerprint)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(read_stored).transpose()
    }

    /// The newest incidents, newest first; `before` is the id to go on from.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn incidents(
        &self,
        limit: u32,
        before: Option<IncidentId>,
    ) -> Result<Vec<Stored>, StoreError> {
        // Ids are UUIDv7 behind one prefix: their order is the order of opening.
        let before = before.map_or_else(|| "inc_g".to_owned(), |id| id.to_string());
        let rows = sqlx::query(
            "SELECT body, changed_at FROM incident WHERE id < ? ORDER BY id DESC LIMIT ?",
        )
        .bind(before)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read_stored).collect()
    }

    /// The timeline after `sequence`, oldest first.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn timeline(&self, id: IncidentId, after: i64) -> Result<Vec<AuditRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT sequence, body FROM audit WHERE incident_id = ? AND sequence > ? \
             ORDER BY sequence LIMIT 10000",
        )
        .bind(id.to_string())
        .bind(after)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let entry = from_json(row.get("body"), "timeline entry")?;
                Ok(AuditRow { sequence: row.get("sequence"), entry })
            })
            .collect()
    }

    /// Recomputes the hash chain of an incident; returns how many rows it has.
    ///
    /// # Errors
    /// The first row that was changed, or follows a row that is gone.
    pub async fn verify_audit(&self, id: IncidentId) -> Result<i64, StoreError> {
        let rows = sqlx::query(
            "SELECT sequence, body, hash FROM audit WHERE incident_id = ? ORDER BY sequence",
        )
        .bind(id.to_string())
        .fetch_all(&self.readers)
        .await?;
        let (mut expected, mut previous) = (1, String::new());
        for row in &rows {
            let (sequence, hash): (i64, String) = (row.get("sequence"), row.get("hash"));
            if sequence != expected || hash != link_hash(&previous, row.get("body")) {
                return Err(StoreError::BrokenChain {
                    incident: id.to_string(),
                    sequence: expected,
                });
            }
            expected += 1;
            previous = hash;
        }
        Ok(expected - 1)
    }

    /// The earliest deadline of any incident.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn next_deadline(&self) -> Result<Option<Timestamp>, StoreError> {
        let row =
            sqlx::query("SELECT MIN(deadline) AS due FROM incident WHERE deadline IS NOT NULL")
                .fetch_one(&self.readers)
                .await?;
        Ok(row.get::<Option<i64>, _>("due").map(from_micros))
    }

    /// Incidents whose deadline has come, the longest overdue first.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn overdue(&self, now: Timestamp) -> Result<Vec<IncidentId>, StoreError> {
        let rows =
            sqlx::query("SELECT id FROM incident WHERE deadline <= ? ORDER BY deadline LIMIT 100")
                .bind(to_micros(now))
                .fetch_all(&self.readers)
                .await?;
        let ids = rows.iter().map(|row| row.get::<String, _>("id"));
        Ok(ids.filter_map(|id| id.parse().ok()).collect())
    }
}

fn read_stored(row: &sqlx::sqlite::SqliteRow) -> Result<Stored, StoreError> {
    let incident = from_json(row.get("body"), "incident")?;
    Ok(Stored {
        incident,
        changed_at: from_micros(row.get("changed_at")),
        base: crate::Base::default(),
    })
}
