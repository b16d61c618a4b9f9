//! Ingress as an A2A agent: any peer can report an incident, ask for one, or decide on a plan.

use std::sync::Arc;

use a2a_types::{Artifact, Message, Part};
use futures::future::BoxFuture;
use incident::{Alert, AlertStatus, Incident, IncidentId, Payload, Phase, Severity};
use rpc::a2a::{Agent, AgentError, Job};
use serde_json::json;
use webhooks::limits;

use crate::error::ApiError;
use crate::routes::Api;

/// The name of this source in alerts.
const SOURCE: &str = "a2a";
/// The same for callers that do not prove who they are; no source in the settings has such a name.
const ANYBODY: &str = "a2a:anybody";
/// Longest report kept.
const REPORT_CHARS: usize = 2_000;
/// The newest incidents among which one that waits for a decision is looked for.
const LOOKED_AT: u32 = 500;

#[derive(Debug)]
pub(crate) struct IngressAgent {
    pub(crate) api: Api,
}

impl Agent for IngressAgent {
    fn run(self: Arc<Self>, job: Job) -> BoxFuture<'static, Result<(), AgentError>> {
        Box::pin(async move { self.take(job).await })
    }
}

impl IngressAgent {
    async fn take(&self, job: Job) -> Result<(), AgentError> {
        let payloads = rpc::payloads(&job.message.parts)
            .map_err(|error| AgentError::Rejected(format!("{error}: {}", error.source)))?;
        let text = job.message.text();
        match payloads.into_iter().next() {
            Some(Payload::Brief(brief)) if !brief.alerts.is_empty() => {
                self.report(&job, brief.alerts).await
            }
            Some(Payload::Approval { plan_hash, approved, by }) => {
                self.decide(&job, plan_hash, approved, by).await
            }
            Some(_) => Err(AgentError::Rejected(
                "send a Brief with alerts, an Approval, or a sentence".into(),
            )),
            None if text.trim().is_empty() => {
                Err(AgentError::Rejected("the message holds no text and no data".into()))
            }
            None if is_question(&text) => self.tell(&job, &text).await,
            None => self.report(&job, vec![self.reported(&job.message, &text)]).await,
        }
    }

    async fn report(&self, job: &Job, mut alerts: Vec<Alert>) -> Result<(), AgentError> {
        check(&alerts).map_err(AgentError::Rejected)?;
        let is_authenticated = !job.owner.principal.is_empty();
        let source = if is_authenticated { SOURCE } else { ANYBODY };
        // A peer speaks for itself only: what it reports never ends another source's alert.
        alerts.iter_mut().for_each(|alert| alert.source = source.into());
        let body = json!({"task": job.task.id, "alerts": alerts}).to_string();
        let taken = self.api.take_alerts(source, is_authenticated, body, alerts).await;
        let incidents = taken.map_err(to_agent_error)?;
        let names: Vec<String> = incidents.iter().map(IncidentId::to_string).collect();
        let part = Part::data(json!({ "incidents": names }));
        job.updates.put_artifact(Artifact::new("incidents", vec![part])).await?;
        let text = match names.is_empty() {
            true => "nothing fires: no incident was opened".to_owned(),
            false => format!("taken into {}", names.join(", ")),
        };
        Ok(job.updates.complete(text).await?)
    }

    /// A sentence as an alert of its own: known again by its text, tied to no other source.
    fn reported(&self, message: &Message, text: &str) -> Alert {
        let text: String = text.chars().take(REPORT_CHARS).collect();
        let mut labels = std::collections::BTreeMap::from([(
            "alertname".to_owned(),
            "ReportedIncident".to_owned(),
        )]);
        if let Some(server) = message.metadata.get("server").and_then(|value| value.as_str()) {
            labels.insert("server".into(), server.to_owned());
        }
        Alert {
            source: SOURCE.into(),
            fingerprint: message.task_id.clone(),
            status: AlertStatus::Firing,
            name: "ReportedIncident".into(),
            severity: Severity::Warning,
            labels,
            annotations: [("summary".to_owned(), text)].into(),
            starts_at: self.api.engine.process.now(),
            is_start_known: true,
            ends_at: None,
            generator_url: String::new(),
        }
    }

    async fn decide(
        &self,
        job: &Job,
        plan_hash: String,
        approved: bool,
        by: String,
    ) -> Result<(), AgentError> {
        let Some(id) = self.waiting_for(&plan_hash).await? else {
            return Err(AgentError::Rejected("no incident waits for this plan_hash".into()));
        };
        self.api.approve(id, plan_hash, approved, by).await.map_err(to_agent_error)?;
        Ok(job.updates.complete(format!("decision recorded for {id}")).await?)
    }

    /// The incident, one of the newest, that waits for an answer to a plan.
    async fn waiting_for(&self, plan_hash: &str) -> Result<Option<IncidentId>, AgentError> {
        let waits = |phase: &Phase| matches!(phase, Phase::AwaitingApproval { plan_hash: hash } if hash == plan_hash);
        let (mut left, mut before) = (LOOKED_AT, None);
        while left > 0 {
            let page = self.api.engine.store.incidents(left, before).await;
            let page = page.map_err(AgentError::failed)?;
            let Some(last) = page.last() else { break };
            before = Some(last.incident.id);
            left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
            if let Some(found) = page.iter().find(|stored| waits(&stored.incident.phase)) {
                return Ok(Some(found.incident.id));
            }
        }
        Ok(None)
    }

    async fn tell(&self, job: &Job, text: &str) -> Result<(), AgentError> {
        let store = &self.api.engine.store;
        let named = ids_in(text);
        let mut incidents = Vec::new();
        for id in &named {
            let stored = store.incident(*id).await.map_err(AgentError::transient)?;
            incidents.extend(stored.map(|stored| stored.incident));
        }
        if named.is_empty() {
            let newest = store.incidents(10, None).await.map_err(AgentError::transient)?;
            incidents = newest.into_iter().map(|stored| stored.incident).collect();
        }
        let lines: Vec<String> = incidents.iter().map(line).collect();
        let data = json!({ "incidents": incidents });
        job.updates.put_artifact(Artifact::new("incidents", vec![Part::data(data)])).await?;
        let text = match lines.is_empty() {
            true => "no such incident".to_owned(),
            false => lines.join("\n"),
        };
        Ok(job.updates.complete(text).await?)
    }
}

/// What a database could not keep apart is not taken.
fn check(alerts: &[Alert]) -> Result<(), String> {
    if alerts.len() > limits::ALERTS {
        return Err(format!("more than {} alerts", limits::ALERTS));
    }
    let is_odd = |alert: &Alert| {
        let fingerprint = &alert.fingerprint;
        let is_long = fingerprint.len() > limits::FINGERPRINT_BYTES;
        fingerprint.is_empty() || is_long || fingerprint.contains('\0')
    };
    match alerts.iter().position(is_odd) {
        Some(index) => Err(format!("alerts[{index}].fingerprint: is empty, too long, or no text")),
        None => Ok(()),
    }
}

fn line(incident: &Incident) -> String {
    let why = match &incident.phase {
        Phase::NeedsHuman { reason, .. } => format!(" ({})", reason.why),
        _ => String::new(),
    };
    format!("{} {}{why}: {}", incident.id, incident.phase.name(), incident.title)
}

fn is_question(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    text.starts_with("status") || text.starts_with("list") || !ids_in(&text).is_empty()
}

fn ids_in(text: &str) -> Vec<IncidentId> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter_map(|word| word.parse().ok()).collect()
}

fn to_agent_error(error: ApiError) -> AgentError {
    match error {
        ApiError::Overloaded(_)
        | ApiError::Draining
        | ApiError::TooSlow
        | ApiError::InHand
        | ApiError::Store(_)
        | ApiError::NotStored(_) => AgentError::transient(error),
        ApiError::Agent(inner) if inner.is_transient() => AgentError::transient(inner),
        other => AgentError::Rejected(other.to_string()),
    }
}
