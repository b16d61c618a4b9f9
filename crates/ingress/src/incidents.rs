//! Incidents as the API shows them: one, or the newest page by page. A page is bounded by bytes, as an
//! incident may hold a megabyte of alerts; a list of summaries reads page after page, and holds one
//! at a time.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use incident::{
    Diagnosis, Incident, IncidentId, IncidentKey, NextStep, Phase, Severity, TicketRef,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::Stored;

use crate::error::ApiError;
use crate::routes::{Api, page_limit, parse_id, read_query};

/// Characters of a text of others in a summary.
const SUMMARY_CHARS: usize = 200;
/// Names of systems in a summary.
const SYSTEMS: usize = 20;

#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    limit: Option<u32>,
    /// The id of an incident: only older ones.
    before: Option<String>,
    #[serde(default)]
    shape: Shape,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Shape {
    /// With all their alerts, evidence and plans.
    #[default]
    Whole,
    /// A line each.
    Summary,
}

/// An incident as the API shows it.
#[derive(Debug, Serialize)]
pub(crate) struct IncidentView {
    #[serde(flatten)]
    incident: Incident,
    changed_at: Timestamp,
    /// Who moves it on, and how; `null` when it is over.
    next_step: Option<NextStep>,
}

impl From<Stored> for IncidentView {
    fn from(stored: Stored) -> Self {
        let Stored { incident, changed_at, .. } = stored;
        Self { next_step: incident.phase.next_step(), incident, changed_at }
    }
}

/// What a list says of an incident; its fields are those of the whole one.
#[derive(Debug, Serialize)]
pub(crate) struct SummaryView {
    id: IncidentId,
    key: IncidentKey,
    title: String,
    severity: Severity,
    affected_systems: Vec<String>,
    phase: Phase,
    round: u32,
    opened_at: Timestamp,
    changed_at: Timestamp,
    deadline: Option<Timestamp>,
    next_step: Option<NextStep>,
    diagnosis: Option<DiagnosisSummary>,
    ticket: Option<TicketRef>,
    follows: Option<IncidentId>,
}

#[derive(Debug, Serialize)]
struct DiagnosisSummary {
    cause: Option<String>,
    summary: String,
}

impl From<Diagnosis> for DiagnosisSummary {
    fn from(diagnosis: Diagnosis) -> Self {
        let Diagnosis { cause, summary, .. } = diagnosis;
        Self { cause: cause.map(|cause| short(&cause)), summary: short(&summary) }
    }
}

impl From<Stored> for SummaryView {
    fn from(stored: Stored) -> Self {
        let Stored { incident, changed_at, .. } = stored;
        let systems = incident.affected_systems.iter().take(SYSTEMS);
        Self {
            id: incident.id,
            title: short(&incident.title),
            severity: incident.severity,
            affected_systems: systems.map(|name| short(name)).collect(),
            next_step: incident.phase.next_step(),
            key: incident.key,
            phase: incident.phase,
            round: incident.round,
            opened_at: incident.opened_at,
            changed_at,
            deadline: incident.deadline,
            diagnosis: incident.diagnosis.map(DiagnosisSummary::from),
            ticket: incident.ticket,
            follows: incident.follows,
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(SUMMARY_CHARS).collect()
}

/// A list in either shape.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Listed {
    Whole(Vec<IncidentView>),
    Summaries(Vec<SummaryView>),
}

pub(crate) async fn list(
    State(api): State<Api>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Listed>, ApiError> {
    let query = read_query(query)?;
    let limit = page_limit(query.limit, 50)?;
    let before = query.before.map(|id| parse_id(&id, "before")).transpose()?;
    Ok(Json(match query.shape {
        Shape::Whole => {
            let page = api.engine.store.incidents(limit, before).await?;
            Listed::Whole(page.into_iter().map(IncidentView::from).collect())
        }
        Shape::Summary => Listed::Summaries(api.summaries(limit, before).await?),
    }))
}

impl Api {
    async fn summaries(
        &self,
        limit: u32,
        mut before: Option<IncidentId>,
    ) -> Result<Vec<SummaryView>, ApiError> {
        let mut summaries = Vec::new();
        loop {
            let left = limit.saturating_sub(u32::try_from(summaries.len()).unwrap_or(u32::MAX));
            let page = match left {
                0 => Vec::new(),
                left => self.engine.store.incidents(left, before).await?,
            };
            let Some(last) = page.last() else { return Ok(summaries) };
            before = Some(last.incident.id);
            summaries.extend(page.into_iter().map(SummaryView::from));
        }
    }
}

pub(crate) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<IncidentView>, ApiError> {
    let id = parse_id(&id, "id")?;
    Ok(Json(api.find(id).await?.into()))
}
