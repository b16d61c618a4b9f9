//! Reads what an agent answered. Any A2A agent may hold a role, so what counts is the `incident/v1`
//! data part, wherever it stands: in an artifact of any name, in the task's status, or in a message
//! that comes instead of a task. Text alone is for people, and leads to one.

use a2a_types::{Part, SendMessageResponse, Task, TaskState};
use incident::{Diagnosis, Event, Incident, IncidentId, Outcome, Payload, Phase, Plan, TicketRef};
use rpc::a2a::TRANSIENT_KEY;
use serde::Deserialize;

/// How much of a stranger's words goes into the timeline.
const QUOTED: usize = 1000;

/// Why an answer is no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoResult {
    /// The agent failed, and says that it may work next time.
    Transient(String),
    Final(String),
}

/// Something an agent can be asked for.
pub(crate) trait Wanted: Sized {
    const NAME: &'static str;
    fn from_payload(payload: Payload) -> Option<Self>;
    /// The incident it says it is about.
    fn incident(&self) -> Option<IncidentId>;
    /// Reads a data part that carries the object without its `type`.
    fn from_bare(_data: &serde_json::Value) -> Option<Self> {
        None
    }
}

impl Wanted for Diagnosis {
    const NAME: &'static str = "Diagnosis";

    fn from_payload(payload: Payload) -> Option<Self> {
        match payload {
            Payload::Diagnosis(diagnosis) => Some(diagnosis),
            _ => None,
        }
    }

    fn incident(&self) -> Option<IncidentId> {
        Some(self.incident_id)
    }

    fn from_bare(data: &serde_json::Value) -> Option<Self> {
        Self::deserialize(data).ok().filter(|_| data.get("type").is_none())
    }
}

impl Wanted for Plan {
    const NAME: &'static str = "Plan";

    fn from_payload(payload: Payload) -> Option<Self> {
        match payload {
            Payload::Plan(plan) => Some(plan),
            _ => None,
        }
    }

    fn incident(&self) -> Option<IncidentId> {
        None
    }
}

impl Wanted for Outcome {
    const NAME: &'static str = "Outcome";

    fn from_payload(payload: Payload) -> Option<Self> {
        match payload {
            Payload::Outcome(outcome) => Some(outcome),
            _ => None,
        }
    }

    fn incident(&self) -> Option<IncidentId> {
        Some(self.incident_id)
    }
}

impl Wanted for TicketRef {
    const NAME: &'static str = "Ticket";

    fn from_payload(payload: Payload) -> Option<Self> {
        match payload {
            Payload::Ticket(ticket) => Some(ticket),
            _ => None,
        }
    }

    fn incident(&self) -> Option<IncidentId> {
        None
    }
}

/// The result in the answer to a request about incident `id`.
pub(crate) fn result<T: Wanted>(
    answer: &SendMessageResponse,
    id: IncidentId,
) -> Result<T, NoResult> {
    let found = match answer {
        SendMessageResponse::Task(task) => {
            end_of(task)?;
            find_in_task(task)
        }
        SendMessageResponse::Message(message) => find(&message.parts),
    };
    let wanted: T = match found {
        Some(wanted) => wanted,
        None => return Err(NoResult::Final(without::<T>(answer))),
    };
    match wanted.incident() {
        Some(other) if other != id => {
            let why = format!("its {} is about {other}, not about this incident", T::NAME);
            Err(NoResult::Final(why))
        }
        _ => Ok(wanted),
    }
}

/// What a task shows that its incident has not taken yet.
pub(crate) fn news(incident: &Incident, task: &Task) -> Vec<Event> {
    let mut events = Vec::new();
    if incident.phase == Phase::Planned
        && let Some(plan) = find_in_task::<Plan>(task)
    {
        let is_known = incident.plan.as_ref().is_some_and(|known| known.id == plan.id);
        let plan_hash = plan.hash();
        if !is_known {
            events.push(Event::PlanReady(plan));
        }
        // The question can come later than its plan.
        if task.status.state == TaskState::InputRequired {
            events.push(Event::ApprovalAsked { plan_hash });
        }
    }
    let progress = task.artifacts.iter().rev().flat_map(|artifact| &artifact.parts);
    let entries = progress.filter_map(payload).find_map(|payload| match payload {
        Payload::Progress { entries } => Some(entries),
        _ => None,
    });
    let entries = entries.into_iter().flatten().enumerate().skip(incident.progress_seen);
    events.extend(entries.map(|(index, entry)| Event::Progressed { index, entry }));
    events
}

/// The newest of its kind in a task: its artifacts, else the message of its status.
pub(crate) fn find_in_task<T: Wanted>(task: &Task) -> Option<T> {
    let artifacts = task.artifacts.iter().rev().find_map(|artifact| find(&artifact.parts));
    let status = task.status.message.as_ref();
    artifacts.or_else(|| status.and_then(|message| find(&message.parts)))
}

fn find<T: Wanted>(parts: &[Part]) -> Option<T> {
    parts.iter().filter_map(Part::as_data).find_map(|data| {
        let tagged = Payload::from_value(data).ok().and_then(T::from_payload);
        tagged.or_else(|| T::from_bare(data))
    })
}

fn payload(part: &Part) -> Option<Payload> {
    Payload::from_value(part.as_data()?).ok()
}

/// Whether a settled task ended well, else what that means for its request.
fn end_of(task: &Task) -> Result<(), NoResult> {
    let is_transient = task.metadata.get(TRANSIENT_KEY).is_some_and(|value| value == true);
    let why = || format!("{:?}: {}", task.status.state, quoted(&task.status_text()));
    match task.status.state {
        TaskState::Completed => Ok(()),
        TaskState::Failed if is_transient => Err(NoResult::Transient(why())),
        _ => Err(NoResult::Final(why())),
    }
}

/// What an answer without the object holds instead.
fn without<T: Wanted>(answer: &SendMessageResponse) -> String {
    let parts = parts(answer);
    let wrong = parts.iter().filter_map(|part| part.as_data()).find_map(|data| {
        let is_meant = data.get("type").is_some_and(|kind| kind == T::NAME);
        Payload::from_value(data).err().filter(|_| is_meant)
    });
    if let Some(error) = wrong {
        return format!("its {} cannot be read: {}", T::NAME, quoted(&error.to_string()));
    }
    let texts: Vec<&str> = parts.iter().filter_map(|part| part.as_text()).collect();
    let text = texts.join("\n");
    match text.trim() {
        "" => format!("it answered without a readable {}", T::NAME),
        text => format!("it answered with text and no {}: {}", T::NAME, quoted(text)),
    }
}

fn parts(answer: &SendMessageResponse) -> Vec<&Part> {
    match answer {
        SendMessageResponse::Message(message) => message.parts.iter().collect(),
        SendMessageResponse::Task(task) => {
            let artifacts = task.artifacts.iter().flat_map(|artifact| &artifact.parts);
            let status = task.status.message.iter().flat_map(|message| &message.parts);
            artifacts.chain(status).collect()
        }
    }
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
