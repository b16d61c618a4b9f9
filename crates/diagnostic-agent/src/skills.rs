//! The skill `diagnose` over A2A: a `Brief` part, or plain text that names a known target, in; a
//! `Diagnosis` artifact out. The work is pure, so a repeated request is simply done again.

use std::sync::Arc;

use a2a_types::{Artifact, Message, Part};
use futures::future::BoxFuture;
use incident::{
    Alert, AlertStatus, Brief, Diagnosis, IncidentId, IncidentSummary, Payload, Severity,
};
use jiff::{SignedDuration, Timestamp};
use rpc::a2a::{Agent, AgentError, Job};
use service::Process;

use crate::cases::Inquiry;
use crate::config::{Config, KnownTarget};
use crate::evidence::Moment;
use crate::gather::Gatherer;
use crate::rules::RuleBook;
use crate::text::clean;
use crate::{diagnose, report};

/// The artifact that holds the diagnosis.
pub const ARTIFACT: &str = "diagnosis";

/// The least a Brief holds.
const EXAMPLE: &str = r#"{"type":"Brief","incident":{"id":"inc_<32 hex digits>","title":"…","severity":"critical","opened_at":"2026-01-31T12:00:00Z"},"alerts":[{"source":"alertmanager","fingerprint":"…","status":"firing","name":"DatabaseConnectionTimeout","severity":"critical","labels":{"server":"db-server-01"},"annotations":{},"starts_at":"2026-01-31T11:59:30Z"}]}"#;

#[derive(Debug)]
pub(crate) struct Diagnose {
    rules: RuleBook,
    gatherer: Gatherer,
    config: Config,
    process: Process,
}

/// What the caller wants to know.
enum Request {
    Brief(Brief),
    /// About targets found in plain text, as a brief of our own.
    Question(Brief),
}

impl Agent for Diagnose {
    fn run(self: Arc<Self>, job: Job) -> BoxFuture<'static, Result<(), AgentError>> {
        Box::pin(async move {
            let request = self.request(&job.message)?;
            let cancelled = job.cancelled.clone();
            let Some(diagnosis) = cancelled.run_until_cancelled(self.diagnose(&request)).await
            else {
                return Ok(());
            };
            let text = report::text(&diagnosis);
            let summary = diagnosis.summary.clone();
            let parts = vec![rpc::part(&Payload::Diagnosis(diagnosis)), Part::text(text)];
            job.updates.put_artifact(Artifact::new(ARTIFACT, parts)).await?;
            Ok(job.updates.complete(summary).await?)
        })
    }
}

impl Diagnose {
    pub(crate) fn new(
        rules: RuleBook,
        gatherer: Gatherer,
        config: Config,
        process: Process,
    ) -> Self {
        Self { rules, gatherer, config, process }
    }

    async fn diagnose(&self, request: &Request) -> Diagnosis {
        let now = self.process.now();
        let stale_after =
            SignedDuration::try_from(self.config.stale_after()).unwrap_or(SignedDuration::MAX);
        let moment = Moment { now, stale_after };
        let (brief, inquiry) = match request {
            Request::Brief(brief) => (brief, Inquiry::of_brief(&self.rules, brief, now)),
            Request::Question(brief) => (brief, Inquiry::of_question(&self.rules, brief, now)),
        };
        let budget = self.config.evidence_deadline();
        let answers = self.gatherer.gather(&inquiry.queries, budget).await;
        let finished = self.process.now();
        let close_call = self.config.close_call;
        let diagnosis = diagnose::conclude(brief, &inquiry, &answers, moment, close_call, finished);
        tracing::info!(
            incident.id = %diagnosis.incident_id,
            cause = diagnosis.cause.as_deref().unwrap_or("none"),
            target = diagnosis.target.as_deref().unwrap_or("none"),
            confidence = diagnosis.confidence.value(),
            queries = inquiry.queries.len(),
            missing = diagnosis.missing.len(),
            elapsed_ms = finished.duration_since(now).as_millis() as i64,
            "diagnosed"
        );
        diagnosis
    }

    fn request(&self, message: &Message) -> Result<Request, AgentError> {
        match briefs(message)?.as_slice() {
            [] => self.question(&message.text()),
            [brief] => Ok(Request::Brief(brief.clone())),
            _ => Err(AgentError::Rejected("one Brief part per message".into())),
        }
    }

    fn question(&self, text: &str) -> Result<Request, AgentError> {
        let targets = named_in(text, &self.config.targets);
        if targets.is_empty() {
            let known: Vec<&str> =
                self.config.targets.iter().map(|target| target.name.as_str()).collect();
            let known = match known.is_empty() {
                true => "none is configured (`targets`)".to_owned(),
                false => known.join(", "),
            };
            return Err(AgentError::Rejected(format!(
                "name a server or service to diagnose ({known}), or send a data part such as \
                 {EXAMPLE}"
            )));
        }
        let now = self.process.now();
        let incident = IncidentSummary {
            id: IncidentId::new(self.process.new_id()),
            title: clean(text),
            description: String::new(),
            severity: Severity::Info,
            affected_systems: targets.iter().map(|target| target.name.clone()).collect(),
            tags: Vec::new(),
            opened_at: now,
        };
        let alerts = targets.iter().map(|target| asked_about(target, now)).collect();
        Ok(Request::Question(Brief { incident, alerts, timeline: Vec::new() }))
    }
}

/// The Brief parts of a message; an error names the part and the field.
fn briefs(message: &Message) -> Result<Vec<Brief>, AgentError> {
    let mut briefs = Vec::new();
    for (index, part) in message.parts.iter().enumerate() {
        let Some(data) = part.as_data() else { continue };
        let at = format!("parts[{index}].data");
        match data.get("type").and_then(serde_json::Value::as_str) {
            Some("Brief") => {
                let data = incident::whole_numbers(data.clone());
                let brief = serde_path_to_error::deserialize(&data).map_err(|error| {
                    let (path, why) = (error.path().to_string(), error.inner().to_string());
                    let path = if path == "." { String::new() } else { format!(".{path}") };
                    AgentError::Rejected(format!("{at}{path}: {}", clean(&why)))
                })?;
                briefs.push(brief);
            }
            _ => {
                let why = format!("{at}.type: this skill takes data parts such as {EXAMPLE}");
                return Err(AgentError::Rejected(why));
            }
        }
    }
    Ok(briefs)
}

/// The known targets that a text names, by server or service.
fn named_in<'a>(text: &str, known: &'a [KnownTarget]) -> Vec<&'a KnownTarget> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let words: Vec<&str> = text
        .split(|c: char| !is_part(c))
        .map(|word| word.trim_matches(['.', '-', '_']))
        .filter(|word| !word.is_empty())
        .take(10_000)
        .collect();
    let names = |name: &str| words.iter().any(|word| word.eq_ignore_ascii_case(name));
    known.iter().filter(|target| names(&target.name) || names(&target.service)).collect()
}

/// What stands for an alert in a question: its labels, for the rules' targets.
fn asked_about(target: &KnownTarget, now: Timestamp) -> Alert {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Alert {
        source: "question".into(),
        fingerprint: target.name.clone(),
        status: AlertStatus::Firing,
        name: "question".into(),
        severity: Severity::Info,
        labels: [
            label("server", &target.name),
            label("instance", &target.name),
            label("service", &target.service),
        ]
        .into(),
        annotations: Default::default(),
        starts_at: now,
        is_start_known: true,
        ends_at: None,
        generator_url: String::new(),
    }
}
