//! What ingress does with an Alertmanager webhook, as one would write it first: each request in a
//! transaction of its own, one statement after the other, prepared, on a pool of sqlx's size. It has
//! ingress' tables with their indexes and their foreign keys, proves who sends, reads the whole body,
//! and leaves the same rows: the body; for a report that says what is known, a count, while the alert
//! stands so and its incident is open; for news, the alert, its incident by the same machine, the
//! timeline with its chain of hashes, and the effects that are asked for. Each new alert opens an
//! incident: of storms it knows nothing, and no row is written by all.

use anyhow::Context;
use axum::http::{HeaderMap, StatusCode, header};
use incident::{
    Alert, AlertStatus, Effect, EntryKind, Event, Incident, IncidentId, Limits, Opening, Severity,
    TimelineEntry,
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{Connection, Row};
use uuid::Uuid;
use webhooks::{Format, Severities};

use crate::alertmanager::TOKEN;

const SOURCE: &str = "alertmanager";
const SCHEMA: &str = "alone";
/// The tables of the store.
const TABLES: [&str; 3] = [
    include_str!("../../store/migrations/postgres/0003_engine.sql"),
    include_str!("../../store/migrations/postgres/0004_compatibility.sql"),
    include_str!("../../store/migrations/postgres/0005_alerts.sql"),
];
/// How often a request is taken that another one was faster than.
const ATTEMPTS: u32 = 5;

#[derive(Clone, Debug)]
pub struct Alone {
    pool: PgPool,
    token: [u8; 32],
    severities: Severities,
    limits: Limits,
}

impl Alone {
    /// Makes the tables where they are missing.
    ///
    /// # Errors
    /// The server does not take them.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let mut first = PgConnection::connect(url).await?;
        let make = format!("CREATE SCHEMA IF NOT EXISTS {SCHEMA}; SET search_path TO {SCHEMA}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut first).await?;
        let has_tables = "SELECT to_regclass('alert_repeat') IS NOT NULL";
        if !sqlx::query_scalar::<_, bool>(has_tables).fetch_one(&mut first).await? {
            for tables in TABLES {
                sqlx::raw_sql(tables).execute(&mut first).await?;
            }
        }
        first.close().await?;
        let options: PgConnectOptions = url.parse()?;
        let pool = PgPool::connect_with(options.options([("search_path", SCHEMA)])).await?;
        let token = Sha256::digest(TOKEN).into();
        Ok(Self { pool, token, severities: Severities::default(), limits: Limits::default() })
    }

    /// Takes a webhook, and returns once it is committed.
    ///
    /// # Errors
    /// What it is answered with instead.
    pub async fn take(&self, headers: &HeaderMap, body: &str) -> Result<(), StatusCode> {
        if !self.is_known(headers) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        let (severities, now) = (&self.severities, now());
        let reading = Format::Alertmanager.read(SOURCE, headers, body.as_bytes(), severities, now);
        let alerts = reading.map_err(|_| StatusCode::BAD_REQUEST)?.alerts;
        for _ in 0..ATTEMPTS {
            match self.store(&alerts, body, now).await {
                Ok(()) => return Ok(()),
                Err(error) if is_race(&error) => {}
                Err(error) => {
                    eprintln!("not stored: {error:#}");
                    break;
                }
            }
        }
        Err(StatusCode::SERVICE_UNAVAILABLE)
    }

    /// Digests are compared, so that the time it takes tells nothing.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = shown.and_then(|shown| shown.strip_prefix("Bearer "));
        token.is_some_and(|token| <[u8; 32]>::from(Sha256::digest(token)) == self.token)
    }

    async fn store(&self, alerts: &[Alert], body: &str, now: Timestamp) -> anyhow::Result<()> {
        let mut transaction = self.pool.begin().await?;
        let sql = "INSERT INTO delivery (source, received_at, body) VALUES ($1, $2, $3)";
        let insert = sqlx::query(sql).bind(SOURCE).bind(now.as_microsecond()).bind(body);
        insert.execute(&mut *transaction).await?;
        for alert in alerts {
            if !count(&mut transaction, alert, now).await? {
                self.take_news(&mut transaction, alert, now).await?;
            }
        }
        Ok(transaction.commit().await?)
    }

    /// Takes news into the incident of the alert, or opens one.
    async fn take_news(
        &self,
        to: &mut PgConnection,
        alert: &Alert,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let key = format!("{SOURCE}:{}", alert.fingerprint);
        let known = known(to, alert).await?;
        let stored = open_incident(to, &key).await?;
        let is_new = stored.is_none();
        let (mut incident, base) = stored.unwrap_or_else(|| {
            let incident = Incident::open(opening(alert, &key), now, &self.limits);
            (incident, (0, String::new()))
        });
        let effects = incident.handle(Event::AlertReported(alert.clone()), now, &self.limits)?;
        let (mut entries, mut asked) = (Vec::new(), Vec::new());
        if is_new {
            let (kind, summary) = (EntryKind::IncidentOpened, incident.title.clone());
            entries.push(TimelineEntry::new(now, "ingress", kind, summary));
        }
        for effect in effects {
            match effect {
                Effect::Record(entry) => entries.push(entry),
                Effect::SyncTicket => asked.push("sync_ticket"),
                Effect::Diagnose => asked.push("diagnose"),
                Effect::Resolve => asked.push("resolve"),
                Effect::CancelResolution => asked.push("cancel_resolution"),
            }
        }
        let entries = entries.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        let chain = chain(&base, entries);
        let end = chain.last().map_or((base.0, &*base.1), |(sequence, _, hash)| (*sequence, hash));
        put_incident(to, &incident, is_new, end, now).await?;
        put_alert(to, alert, known, incident.id, now).await?;
        let id = incident.id.to_string();
        for (sequence, body, hash) in &chain {
            let sql =
                "INSERT INTO audit (incident_id, sequence, body, hash) VALUES ($1, $2, $3, $4)";
            let insert = sqlx::query(sql).bind(&id).bind(sequence).bind(body).bind(hash);
            insert.execute(&mut *to).await?;
        }
        for kind in asked {
            let sql =
                "INSERT INTO outbox (incident_id, kind, round, not_before) VALUES ($1, $2, $3, 0)";
            let insert = sqlx::query(sql).bind(&id).bind(kind).bind(i64::from(incident.round));
            insert.execute(&mut *to).await?;
        }
        Ok(())
    }
}

/// Whether another request wrote the same rows at the same time.
fn is_race(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    error.is_some_and(|error| {
        error.is_unique_violation() || error.code().is_some_and(|code| code == "40P01")
    })
}

/// Counts a report that says what is known. False: it is news.
async fn count(to: &mut PgConnection, alert: &Alert, now: Timestamp) -> sqlx::Result<bool> {
    let sql = "INSERT INTO alert_repeat (alert, reports, last_at) \
               SELECT alert.id, 1, $6 FROM alert \
                 LEFT JOIN incident ON incident.id = alert.incident_id \
               WHERE alert.source = $1 AND alert.fingerprint = $2 AND alert.status = $3 \
                 AND alert.severity = $4 AND alert.starts_at = $5 \
                 AND (alert.status <> 'firing' OR incident.is_open = 1) \
               ON CONFLICT (alert) DO UPDATE SET reports = alert_repeat.reports + 1, \
                 last_at = greatest(alert_repeat.last_at, excluded.last_at)";
    let counted = sqlx::query(sql)
        .bind(SOURCE)
        .bind(&alert.fingerprint)
        .bind(status(alert.status))
        .bind(severity(alert.severity))
        .bind(alert.starts_at.as_microsecond())
        .bind(now.as_microsecond());
    Ok(counted.execute(to).await?.rows_affected() == 1)
}

/// Looks for the row of an alert, and keeps others from it.
async fn known(to: &mut PgConnection, alert: &Alert) -> sqlx::Result<Option<i64>> {
    let sql = "SELECT id FROM alert WHERE source = $1 AND fingerprint = $2 FOR UPDATE";
    sqlx::query_scalar(sql).bind(SOURCE).bind(&alert.fingerprint).fetch_optional(to).await
}

/// The open incident of a key, with the end of its chain.
async fn open_incident(
    to: &mut PgConnection,
    key: &str,
) -> anyhow::Result<Option<(Incident, (i64, String))>> {
    let sql = "SELECT body, sequence, hash FROM incident WHERE key = $1 AND is_open = 1 FOR UPDATE";
    let Some(row) = sqlx::query(sql).bind(key).fetch_optional(to).await? else { return Ok(None) };
    let body: String = row.try_get("body")?;
    let incident = serde_json::from_str(&body).context("an incident as it was stored")?;
    Ok(Some((incident, (row.try_get("sequence")?, row.try_get("hash")?))))
}

fn opening(alert: &Alert, key: &str) -> Opening {
    let annotation = |name: &str| alert.annotations.get(name).cloned().unwrap_or_default();
    Opening {
        id: IncidentId::new(new_id()),
        key: key.to_owned().into(),
        title: annotation("summary"),
        description: annotation("description"),
        severity: alert.severity,
        affected_systems: alert.label("instance").map(str::to_owned).into_iter().collect(),
        tags: Vec::new(),
        follows: None,
        is_authenticated: true,
    }
}

/// Rows of the timeline after an end of the chain: sequence, body, hash.
fn chain(base: &(i64, String), entries: Vec<String>) -> Vec<(i64, String, String)> {
    let (mut sequence, mut hash) = base.clone();
    let link = |body: String| {
        sequence += 1;
        hash = hex::encode(Sha256::new().chain_update(&hash).chain_update(&body).finalize());
        (sequence, body, hash.clone())
    };
    entries.into_iter().map(link).collect()
}

async fn put_incident(
    to: &mut PgConnection,
    incident: &Incident,
    is_new: bool,
    (sequence, hash): (i64, &str),
    now: Timestamp,
) -> anyhow::Result<()> {
    let sql = if is_new {
        "INSERT INTO incident (id, key, phase, is_open, opened_at, changed_at, deadline, body, \
           version, sequence, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9, $10)"
    } else {
        "UPDATE incident SET key = $2, phase = $3, is_open = $4, opened_at = $5, changed_at = $6, \
           deadline = $7, body = $8, version = version + 1, sequence = $9, hash = $10 WHERE id = $1"
    };
    let put = sqlx::query(sql)
        .bind(incident.id.to_string())
        .bind(incident.key.as_str())
        .bind(incident.phase.name())
        .bind(i64::from(!incident.phase.is_final()))
        .bind(incident.opened_at.as_microsecond())
        .bind(now.as_microsecond())
        .bind(incident.deadline.map(Timestamp::as_microsecond))
        .bind(serde_json::to_string(incident)?)
        .bind(sequence)
        .bind(hash);
    put.execute(to).await?;
    Ok(())
}

async fn put_alert(
    to: &mut PgConnection,
    alert: &Alert,
    known: Option<i64>,
    incident: IncidentId,
    now: Timestamp,
) -> anyhow::Result<()> {
    let sql = if known.is_none() {
        "INSERT INTO alert (source, fingerprint, incident_id, status, severity, starts_at, reports, \
           first_at, changed_at, version, body) VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $7, 1, $8)"
    } else {
        "UPDATE alert SET incident_id = $3, status = $4, severity = $5, starts_at = $6, \
           reports = reports + 1, changed_at = $7, version = version + 1, body = $8 \
         WHERE source = $1 AND fingerprint = $2"
    };
    let put = sqlx::query(sql)
        .bind(SOURCE)
        .bind(&alert.fingerprint)
        .bind(incident.to_string())
        .bind(status(alert.status))
        .bind(severity(alert.severity))
        .bind(alert.starts_at.as_microsecond())
        .bind(now.as_microsecond())
        .bind(serde_json::to_string(alert)?);
    put.execute(to).await?;
    Ok(())
}

fn status(status: AlertStatus) -> &'static str {
    match status {
        AlertStatus::Firing => "firing",
        AlertStatus::Resolved => "resolved",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing of a measurement is replayed")]
fn now() -> Timestamp {
    Timestamp::now()
}

#[expect(clippy::disallowed_methods, reason = "nothing of a measurement is replayed")]
fn new_id() -> Uuid {
    Uuid::now_v7()
}
