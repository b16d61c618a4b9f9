//! Performs what the outbox holds. Rows are repeated until their effect is confirmed; the agents
//! find a repeated request again by its idempotency key, so nothing happens twice.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_types::{Message, Role, Task, TaskState};
use incident::{Event, Incident, IncidentId, Payload};
use jiff::Timestamp;
use rpc::a2a::{Client, ClientError, ClientOptions, Send, TRANSIENT_KEY};
use store::{OutboxRow, StoreError};

use crate::engine::{Engine, Work};
use crate::ticket;

/// Effects performed at a time.
const CAPACITY: usize = 64;
/// How often a running resolution is looked at.
const POLL: Duration = Duration::from_millis(100);
/// Definite failures after which an effect is given up.
const ATTEMPTS: u32 = 20;
/// The same for the agents an incident waits for: a person is asked sooner.
const AGENT_ATTEMPTS: u32 = 4;
/// Bounds of the wait between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How long the ticketing agent may take for one update.
const TICKET_DEADLINE: Duration = Duration::from_secs(45);
/// The longest sleep when nothing is due: a lost wake-up costs no more than this.
const IDLE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Performer {
    engine: Arc<Engine>,
    diagnostic: Client,
    resolution: Client,
    ticketing: Client,
    /// Rows being performed, and incidents whose ticket is being written.
    busy: Mutex<Busy>,
}

#[derive(Debug, Default)]
struct Busy {
    rows: HashSet<i64>,
    tickets: HashSet<IncidentId>,
}

/// What became of one try.
#[derive(Debug)]
enum Tried {
    /// Confirmed; the events it brought are to be taken.
    Done(Vec<Event>),
    /// Not confirmed; `counts` when the peer gave a definite answer.
    Again { why: String, counts: bool },
    /// The peer will never take it.
    GivenUp { agent: &'static str, why: String },
}

impl Performer {
    pub(crate) fn new(engine: Arc<Engine>) -> Result<Self, reqwest::Error> {
        let agents = engine.config.agents.clone();
        let client = |url| Client::new(url, ClientOptions::default());
        Ok(Self {
            diagnostic: client(agents.diagnostic)?,
            resolution: client(agents.resolution)?,
            ticketing: client(agents.ticketing)?,
            engine,
            busy: Mutex::default(),
        })
    }

    pub(crate) fn resolution(&self) -> &Client {
        &self.resolution
    }

    /// Performs rows and meets deadlines until shutdown.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let woken = self.engine.work.notified();
            if let Err(error) = self.start_due().await {
                tracing::error!(?error, "outbox");
            }
            let pause = self.pause().await.unwrap_or(IDLE);
            tokio::select! {
                () = woken => {}
                () = self.engine.process.clock().sleep(pause) => {}
            }
        }
    }

    async fn start_due(self: &Arc<Self>) -> Result<(), StoreError> {
        self.engine.meet_deadlines().await?;
        let now = self.engine.process.now();
        for row in self.engine.store.due_outbox(now, 256).await? {
            if self.reserve(&row) {
                let performer = self.clone();
                let shutdown = self.engine.process.shutdown_token();
                self.engine.process.spawn(async move {
                    // What is dropped here is in the outbox still.
                    let _ = shutdown.run_until_cancelled(performer.perform(&row)).await;
                    performer.release(&row);
                    performer.engine.work.notify_one();
                });
            }
        }
        Ok(())
    }

    /// How long nothing is due.
    async fn pause(&self) -> Result<Duration, StoreError> {
        let now = self.engine.process.now();
        let deadline = self.engine.store.next_deadline().await?;
        let outbox = self.engine.store.next_outbox().await?.filter(|due| *due > now);
        let next = [deadline, outbox].into_iter().flatten().min();
        let wait = next.map(|due| due.duration_since(now));
        let wait = wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or(IDLE);
        Ok(wait.clamp(Duration::from_millis(10), IDLE))
    }

    fn reserve(&self, row: &OutboxRow) -> bool {
        let mut busy = self.busy.lock().expect("no panic while rows are held");
        let is_ticket = row.kind == Work::SyncTicket.name();
        if busy.rows.len() >= CAPACITY
            || busy.rows.contains(&row.id)
            || (is_ticket && busy.tickets.contains(&row.incident_id))
        {
            return false;
        }
        busy.rows.insert(row.id);
        if is_ticket {
            busy.tickets.insert(row.incident_id);
        }
        true
    }

    fn release(&self, row: &OutboxRow) {
        let mut busy = self.busy.lock().expect("no panic while rows are held");
        busy.rows.remove(&row.id);
        if row.kind == Work::SyncTicket.name() {
            busy.tickets.remove(&row.incident_id);
        }
    }

    async fn perform(&self, row: &OutboxRow) {
        let tried = match self.try_row(row).await {
            Ok(tried) => tried,
            Err(error) => Tried::Again { why: error.to_string(), counts: false },
        };
        if let Err(error) = self.settle(row, tried).await {
            tracing::error!(incident.id = %row.incident_id, kind = row.kind, ?error, "outbox");
        }
    }

    async fn try_row(&self, row: &OutboxRow) -> Result<Tried, StoreError> {
        let Some(stored) = self.engine.store.incident(row.incident_id).await? else {
            return Ok(Tried::Done(Vec::new()));
        };
        let incident = stored.incident;
        let is_current = incident.round == row.round;
        match Work::from_name(&row.kind) {
            Some(Work::Diagnose) if is_current && incident.phase.name() == "diagnosing" => {
                Ok(self.diagnose(&incident, row).await)
            }
            Some(Work::Resolve) if is_current && incident.phase.is_resolving() => {
                self.resolve(incident, row).await
            }
            Some(Work::CancelResolution) => Ok(self.cancel(&incident).await),
            Some(Work::SyncTicket) => self.sync_ticket(&incident, row).await,
            // The incident has gone on without it.
            _ => Ok(Tried::Done(Vec::new())),
        }
    }

    async fn settle(&self, row: &OutboxRow, tried: Tried) -> Result<(), StoreError> {
        let now = self.engine.process.now();
        let (why, counts) = match tried {
            Tried::Done(events) => {
                return self.engine.take_events(row.incident_id, events, Some(row.id)).await;
            }
            Tried::GivenUp { agent, why } => return self.give_up(row, agent, why, now).await,
            Tried::Again { why, counts } => (why, counts),
        };
        let is_ticket = row.kind == Work::SyncTicket.name();
        let most = if is_ticket { ATTEMPTS } else { AGENT_ATTEMPTS };
        if counts && row.attempt + 1 >= most {
            let agent = Work::from_name(&row.kind).map_or("agent", agent_name);
            return self.give_up(row, agent, why, now).await;
        }
        tracing::warn!(incident.id = %row.incident_id, kind = row.kind, why, "will be tried again");
        let wait = backoff(row.attempt);
        let not_before = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        self.engine.store.delay_outbox(row.id, counts, &why, not_before).await
    }

    async fn give_up(
        &self,
        row: &OutboxRow,
        agent: &'static str,
        why: String,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        tracing::error!(incident.id = %row.incident_id, kind = row.kind, why, "given up");
        let mut transaction = self.engine.store.begin().await?;
        transaction.bury_outbox(row, &why, now).await?;
        transaction.commit().await?;
        let failed = Event::AgentFailed { agent: agent.into(), why };
        // A ticket that cannot be written never blocks an incident.
        let events = if row.kind == Work::SyncTicket.name() { vec![] } else { vec![failed] };
        self.engine.take_events(row.incident_id, events, None).await
    }

    async fn diagnose(&self, incident: &Incident, row: &OutboxRow) -> Tried {
        let key = format!("{}:{}:diagnose:{}", incident.id, incident.round, row.attempt);
        let message = self.message(&key, &[Payload::Brief(incident.brief())]);
        let wait = Duration::from_secs(self.engine.config.limits.diagnosis_seconds);
        let send = Send { message, idempotency_key: Some(key), wait: Some(wait) };
        let task = match self.diagnostic.send(send).await {
            Ok(task) => task,
            Err(error) => return failed("diagnostic-agent", &error),
        };
        match end_of(&task, "diagnostic-agent") {
            Err(tried) => tried,
            Ok(()) => match find(&task, "diagnosis") {
                Some(Payload::Diagnosis(diagnosis)) => {
                    Tried::Done(vec![Event::DiagnosisReady(diagnosis)])
                }
                _ => no_artifact("diagnostic-agent", "diagnosis"),
            },
        }
    }

    /// Hands the plan over once, then follows the task until it ends.
    async fn resolve(&self, incident: Incident, row: &OutboxRow) -> Result<Tried, StoreError> {
        let Some(diagnosis) = incident.diagnosis.clone() else {
            return Ok(Tried::Done(Vec::new()));
        };
        let key = format!("{}:{}:resolve:{}", incident.id, incident.round, row.attempt);
        let payloads = [Payload::Brief(incident.brief()), Payload::Diagnosis(diagnosis)];
        let message = self.message(&key, &payloads);
        let send = Send { message, idempotency_key: Some(key), wait: None };
        let task = match self.resolution.send(send).await {
            Ok(task) => task,
            Err(error) => return Ok(failed("resolution-agent", &error)),
        };
        let id = incident.id;
        let accepted = Event::ResolutionAccepted { task_id: task.id.clone() };
        self.engine.take_events(id, vec![accepted], None).await?;
        self.follow(id, task).await
    }

    async fn follow(&self, id: IncidentId, mut task: Task) -> Result<Tried, StoreError> {
        loop {
            let Some(stored) = self.engine.store.incident(id).await? else {
                return Ok(Tried::Done(Vec::new()));
            };
            if !stored.incident.phase.is_resolving() {
                return Ok(Tried::Done(Vec::new()));
            }
            let mut events = news(&stored.incident, &task);
            if task.status.state.is_terminal() {
                return Ok(match end_of(&task, "resolution-agent") {
                    Err(tried) => {
                        self.engine.take_events(id, events, None).await?;
                        tried
                    }
                    Ok(()) => match find(&task, "outcome") {
                        Some(Payload::Outcome(outcome)) => {
                            events.push(Event::Concluded(outcome));
                            Tried::Done(events)
                        }
                        _ => no_artifact("resolution-agent", "outcome"),
                    },
                });
            }
            if !events.is_empty() {
                self.engine.take_events(id, events, None).await?;
            }
            self.engine.process.clock().sleep(POLL).await;
            match self.resolution.task(&task.id).await {
                Ok(newer) => task = newer,
                // An agent that restarts takes its tasks up again; the phase's deadline bounds this.
                Err(error) if error.is_transient() => {
                    tracing::debug!(incident.id = %id, %error, "resolution-agent");
                }
                Err(error) => return Ok(failed("resolution-agent", &error)),
            }
        }
    }

    async fn cancel(&self, incident: &Incident) -> Tried {
        let Some(task_id) = &incident.resolution_task else {
            return Tried::Done(Vec::new());
        };
        match self.resolution.cancel(task_id).await {
            Ok(_) => Tried::Done(Vec::new()),
            // It has ended, or is unknown: there is nothing left to cancel.
            Err(ClientError::Refused { error, .. }) if [-32001, -32002].contains(&error.code) => {
                Tried::Done(Vec::new())
            }
            Err(error) => Tried::Again { why: error.to_string(), counts: true },
        }
    }

    async fn sync_ticket(&self, incident: &Incident, row: &OutboxRow) -> Result<Tried, StoreError> {
        let timeline = self.engine.store.timeline(incident.id, 0).await?;
        let update = ticket::update(incident, &timeline);
        let key = format!("{}:ticket:{}:{}", incident.id, row.id, row.attempt);
        let message = self.message(&key, &[Payload::TicketUpdate(update)]);
        let send = Send { message, idempotency_key: Some(key), wait: Some(TICKET_DEADLINE) };
        let task = match self.ticketing.send(send).await {
            Ok(task) => task,
            Err(error) => return Ok(failed("ticketing-agent", &error)),
        };
        Ok(match end_of(&task, "ticketing-agent") {
            Err(tried) => tried,
            Ok(()) => match find(&task, "ticket") {
                Some(Payload::Ticket(ticket)) => Tried::Done(vec![Event::TicketSynced(ticket)]),
                _ => no_artifact("ticketing-agent", "ticket"),
            },
        })
    }

    /// A message whose id, like its key, is the same at every repetition.
    fn message(&self, key: &str, payloads: &[Payload]) -> Message {
        let parts = payloads.iter().map(rpc::part).collect();
        let mut message = Message::new(key, Role::User, parts);
        message.extensions.push(incident::EXTENSION_URI.into());
        message
    }
}

/// What a task shows that its incident has not taken yet.
fn news(incident: &Incident, task: &Task) -> Vec<Event> {
    let mut events = Vec::new();
    if incident.plan.is_none()
        && let Some(Payload::Plan(plan)) = find(task, "plan")
    {
        let is_asked = task.status.state == TaskState::InputRequired;
        let plan_hash = plan.hash();
        events.push(Event::PlanReady(plan));
        if is_asked {
            events.push(Event::ApprovalAsked { plan_hash });
        }
    }
    if let Some(Payload::Progress { entries }) = find(task, "progress") {
        let unseen = entries.into_iter().enumerate().skip(incident.progress_seen);
        events.extend(unseen.map(|(index, entry)| Event::Progressed { index, entry }));
    }
    events
}

fn find(task: &Task, artifact: &str) -> Option<Payload> {
    let parts = &task.artifact(artifact)?.parts;
    rpc::payloads(parts).ok()?.into_iter().next()
}

/// Whether a settled task ended well, else what that means for its row.
fn end_of(task: &Task, agent: &'static str) -> Result<(), Tried> {
    let is_transient = task.metadata.get(TRANSIENT_KEY).is_some_and(|value| value == true);
    let why = || format!("{:?}: {}", task.status.state, task.status_text());
    match task.status.state {
        TaskState::Completed => Ok(()),
        TaskState::Failed if is_transient => Err(Tried::Again { why: why(), counts: true }),
        _ => Err(Tried::GivenUp { agent, why: why() }),
    }
}

fn failed(agent: &'static str, error: &ClientError) -> Tried {
    let why = describe(error);
    match error.is_transient() {
        // A peer that is away gave no answer: only the phase's deadline ends this.
        true => Tried::Again { why, counts: false },
        false => Tried::GivenUp { agent, why },
    }
}

fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn no_artifact(agent: &'static str, artifact: &str) -> Tried {
    Tried::GivenUp { agent, why: format!("completed without a readable {artifact}") }
}

fn agent_name(kind: Work) -> &'static str {
    match kind {
        Work::Diagnose => "diagnostic-agent",
        Work::Resolve | Work::CancelResolution => "resolution-agent",
        Work::SyncTicket => "ticketing-agent",
    }
}

fn backoff(attempt: u32) -> Duration {
    let (least, most) = BACKOFF;
    most.min(least.saturating_mul(2u32.saturating_pow(attempt.min(16))))
}
