//! What a caller wants, read from its message. Whatever cannot be used is named by its field.

use incident::{Brief, Diagnosis, Payload};
use rpc::a2a::{AgentError, Job};

#[derive(Debug)]
pub(crate) enum Request {
    /// Plain text only.
    Question,
    Resolve(Box<Resolve>),
}

/// A diagnosis to act upon, and the decision on its plan once there is one.
#[derive(Debug)]
pub(crate) struct Resolve {
    pub(crate) brief: Brief,
    pub(crate) diagnosis: Diagnosis,
    pub(crate) decision: Option<Decision>,
}

#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) plan_hash: String,
    pub(crate) approved: bool,
    pub(crate) by: String,
}

/// Reads the task: brief and diagnosis from the message that began it, the decision from the one
/// that is here now.
pub(crate) fn read(job: &Job) -> Result<Request, AgentError> {
    let first = job.task.history.first().unwrap_or(&job.message);
    let (mut brief, mut diagnosis, mut is_empty) = (None, None, true);
    for payload in payloads(&first.parts)? {
        is_empty = false;
        match payload {
            Payload::Brief(found) => brief = Some(found),
            Payload::Diagnosis(found) => diagnosis = Some(found),
            _ => {}
        }
    }
    if is_empty {
        return Ok(Request::Question);
    }
    let missing =
        |what: &str| AgentError::Rejected(format!("parts: a data part of type {what} is missing"));
    let brief = brief.ok_or_else(|| missing("Brief"))?;
    let diagnosis = diagnosis.ok_or_else(|| missing("Diagnosis"))?;
    if diagnosis.incident_id != brief.incident.id {
        let why = format!(
            "parts: Diagnosis.incident_id is {}, but Brief.incident.id is {}",
            diagnosis.incident_id, brief.incident.id
        );
        return Err(AgentError::Rejected(why));
    }
    Ok(Request::Resolve(Box::new(Resolve { brief, diagnosis, decision: decision(job)? })))
}

fn decision(job: &Job) -> Result<Option<Decision>, AgentError> {
    let found = payloads(&job.message.parts)?.into_iter().find_map(|payload| match payload {
        Payload::Approval { plan_hash, approved, by } => Some(Decision { plan_hash, approved, by }),
        _ => None,
    });
    Ok(found)
}

fn payloads(parts: &[a2a_types::Part]) -> Result<Vec<Payload>, AgentError> {
    rpc::payloads(parts).map_err(|error| AgentError::Rejected(format!("{error}: {}", error.source)))
}
