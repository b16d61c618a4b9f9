//! Performs what the outbox holds. Rows are repeated until their effect is confirmed; the agents
//! find a repeated request again by its idempotency key, so nothing happens twice.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_types::{Message, Role, SendMessageResponse, Task};
use futures::StreamExt;
use futures::stream::BoxStream;
use incident::{Diagnosis, Event, Incident, IncidentId, Outcome, Payload, Phase, TicketRef};
use jiff::Timestamp;
use rpc::a2a::{Client, ClientError, ClientOptions, PeerConfig, Send, SettingError};
use store::{OutboxRow, StoreError};
use tokio::sync::watch;

use crate::answer::{self, NoResult};
use crate::engine::{Engine, RowEnd, Work};
use crate::ticket;

/// Bounds of the time between two looks at an incident whose resolution runs.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Definite failures after which an effect is given up.
const ATTEMPTS: u32 = 20;
/// The same for the agents an incident waits for: a person is asked sooner.
const AGENT_ATTEMPTS: u32 = 4;
/// Bounds of the wait between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// The longest wait for a peer that is away: it may be back at any moment.
const AWAY: Duration = Duration::from_secs(5);
/// How long the ticketing agent may take for one update.
const TICKET_DEADLINE: Duration = Duration::from_secs(45);
/// The longest sleep when nothing is due: a lost wake-up costs no more than this.
const IDLE: Duration = Duration::from_secs(5);
/// The pause after the database failed.
const RECOVERY: Duration = Duration::from_millis(500);

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
    rows: HashMap<i64, Work>,
    tickets: HashSet<IncidentId>,
}

impl Busy {
    fn is_full(&self, kind: Work) -> bool {
        self.rows.values().filter(|busy| **busy == kind).count() >= capacity(kind)
    }
}

/// Effects of a kind performed at a time. Each kind has its own, so that resolutions that wait for
/// a person, or a tracker that hangs, hold up nothing else.
fn capacity(kind: Work) -> usize {
    match kind {
        Work::CancelResolution | Work::Diagnose => 32,
        Work::Resolve => 256,
        Work::SyncTicket => 16,
    }
}

/// What an agent answers to one message, change by change.
type Answers = BoxStream<'static, Result<SendMessageResponse, ClientError>>;

/// What became of one try.
#[derive(Debug)]
enum Tried {
    /// Confirmed; the events it brought are to be taken.
    Done(Vec<Event>),
    /// Not confirmed; `counts` when the peer gave a definite answer.
    Again { why: String, counts: bool },
    /// The peer will never take it.
    GivenUp { why: String },
}

impl Performer {
    pub(crate) fn new(engine: Arc<Engine>) -> Result<Self, SettingError> {
        let agents = engine.config.agents.clone();
        // What is repeated, and when, the outbox says.
        let http = engine.process.exchange().into();
        let options = ClientOptions { retries: 0, http, ..ClientOptions::default() };
        let time = engine.process.time_source();
        let client = |role: &str, peer: PeerConfig| {
            let client = Client::of_peer(peer, options.clone(), time.clone());
            client.map_err(|error| error.within(&format!("agents.{role}")))
        };
        Ok(Self {
            diagnostic: client("diagnostic", agents.diagnostic)?,
            resolution: client("resolution", agents.resolution)?,
            ticketing: client("ticketing", agents.ticketing)?,
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
            // A ring between here and the wait is kept, and ends the wait at once.
            let woken = self.engine.work.notified();
            let pause = match self.start_due().await {
                Ok(()) => self.pause().await,
                Err(error) => Err(error),
            };
            let pause = pause.unwrap_or_else(|error| {
                tracing::error!(?error, "outbox");
                RECOVERY
            });
            tokio::select! {
                () = woken => {}
                () = self.engine.process.clock().sleep(pause) => {}
            }
        }
    }

    async fn start_due(self: &Arc<Self>) -> Result<(), StoreError> {
        self.engine.meet_deadlines().await?;
        for kind in Work::ALL {
            // A row that ends while the list is read must not be started from that list again.
            let busy_before = self.busy_rows();
            for row in self.due(kind).await? {
                if !busy_before.contains(&row.id) && self.reserve(&row, kind) {
                    self.start(row, kind);
                }
            }
        }
        Ok(())
    }

    /// More rows of a kind than can be busy, so that those that are hide no others.
    async fn due(&self, kind: Work) -> Result<Vec<OutboxRow>, StoreError> {
        let (store, now) = (&self.engine.store, self.engine.process.now());
        let limit = u32::try_from(2 * capacity(kind)).unwrap_or(u32::MAX);
        match kind {
            Work::SyncTicket => store.due_outbox_by_incident(kind.name(), now, limit).await,
            _ => store.due_outbox(kind.name(), now, limit).await,
        }
    }

    fn start(self: &Arc<Self>, row: OutboxRow, kind: Work) {
        let performer = self.clone();
        let shutdown = self.engine.process.shutdown_token();
        self.engine.process.spawn(async move {
            // What is dropped here is in the outbox still.
            let work = Box::pin(performer.perform(&row, kind));
            let _ = shutdown.run_until_cancelled(work).await;
            performer.release(&row, kind);
            performer.engine.work.notify_one();
        });
    }

    /// How long nothing is due.
    async fn pause(&self) -> Result<Duration, StoreError> {
        let now = self.engine.process.now();
        let deadline = self.engine.store.next_deadline().await?;
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(RECOVERY);
        }
        let outbox = self.engine.store.next_outbox(now).await?;
        let next = [deadline, outbox].into_iter().flatten().min();
        let wait = next.map(|due| due.duration_since(now));
        let wait = wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or(IDLE);
        Ok(wait.clamp(Duration::from_millis(1), IDLE))
    }

    fn busy_rows(&self) -> HashSet<i64> {
        let busy = self.busy.lock().expect("no panic while rows are held");
        busy.rows.keys().copied().collect()
    }

    fn reserve(&self, row: &OutboxRow, kind: Work) -> bool {
        let mut busy = self.busy.lock().expect("no panic while rows are held");
        if busy.is_full(kind) || busy.rows.contains_key(&row.id) {
            return false;
        }
        // One ticket is written by one update at a time.
        if kind == Work::SyncTicket && !busy.tickets.insert(row.incident_id) {
            return false;
        }
        busy.rows.insert(row.id, kind);
        true
    }

    fn release(&self, row: &OutboxRow, kind: Work) {
        let mut busy = self.busy.lock().expect("no panic while rows are held");
        busy.rows.remove(&row.id);
        if kind == Work::SyncTicket {
            busy.tickets.remove(&row.incident_id);
        }
    }

    async fn perform(&self, row: &OutboxRow, kind: Work) {
        failpoints::hit(failpoints::AFTER_CLAIM);
        let tried = match self.try_row(row, kind).await {
            Ok(tried) => tried,
            Err(error) => Tried::Again { why: error.to_string(), counts: false },
        };
        failpoints::hit(failpoints::AFTER_EFFECT);
        if let Err(error) = self.settle(row, kind, tried).await {
            tracing::error!(incident.id = %row.incident_id, kind = row.kind, ?error, "outbox");
        }
    }

    async fn try_row(&self, row: &OutboxRow, kind: Work) -> Result<Tried, StoreError> {
        let Some(stored) = self.engine.store.incident(row.incident_id).await? else {
            return Ok(Tried::Done(Vec::new()));
        };
        failpoints::hit(failpoints::BEFORE_EFFECT);
        let incident = stored.incident;
        let is_current = incident.round == row.round && !incident.phase.is_final();
        match kind {
            Work::Diagnose if is_current && incident.phase == Phase::Diagnosing => {
                Ok(self.diagnose(&incident, row).await)
            }
            Work::Resolve if is_current && incident.outcome.is_none() => {
                self.resolve(incident, row).await
            }
            Work::CancelResolution => Ok(self.cancel(&incident).await),
            Work::SyncTicket => self.sync_ticket(&incident, row).await,
            // The incident has gone on without it.
            Work::Diagnose | Work::Resolve => Ok(Tried::Done(Vec::new())),
        }
    }

    async fn settle(&self, row: &OutboxRow, kind: Work, tried: Tried) -> Result<(), StoreError> {
        let (why, counts) = match tried {
            Tried::Done(events) => return self.finish(row, kind, events).await,
            Tried::GivenUp { why } => return self.give_up(row, kind, why).await,
            Tried::Again { why, counts } => (why, counts),
        };
        let most = if kind == Work::SyncTicket { ATTEMPTS } else { AGENT_ATTEMPTS };
        if counts && row.attempt + 1 >= most {
            return self.give_up(row, kind, why).await;
        }
        tracing::warn!(incident.id = %row.incident_id, kind = row.kind, why, "will be tried again");
        let most = if counts { BACKOFF.1 } else { AWAY };
        let wait = backoff(row.tries).min(most);
        let not_before = self.engine.process.now().checked_add(wait).unwrap_or(Timestamp::MAX);
        self.engine.store.delay_outbox(row.id, counts, &why, not_before).await
    }

    async fn finish(
        &self,
        row: &OutboxRow,
        kind: Work,
        events: Vec<Event>,
    ) -> Result<(), StoreError> {
        let end = RowEnd::Finished(row.id);
        self.engine.take_events(row.incident_id, round_of(row, kind), events, end).await
    }

    async fn give_up(&self, row: &OutboxRow, kind: Work, why: String) -> Result<(), StoreError> {
        tracing::error!(incident.id = %row.incident_id, kind = row.kind, why, "given up");
        let agent = agent_name(kind).into();
        let events = match kind {
            Work::Diagnose | Work::Resolve => vec![Event::AgentFailed { agent, why: why.clone() }],
            // A ticket that cannot be written, or a task that cannot be stopped, blocks no incident.
            Work::SyncTicket => vec![Event::TicketFailed { why: why.clone() }],
            Work::CancelResolution => Vec::new(),
        };
        let end = RowEnd::Buried { row, why: &why };
        self.engine.take_events(row.incident_id, round_of(row, kind), events, end).await
    }

    async fn diagnose(&self, incident: &Incident, row: &OutboxRow) -> Tried {
        let key = format!("{}:{}:diagnose:{}", incident.id, incident.round, row.attempt);
        let message = self.message(&key, &[Payload::Brief(incident.brief())]);
        let send = Send { message, idempotency_key: Some(key), wait: None };
        let within = Duration::from_secs(self.engine.config.limits.diagnosis_seconds);
        match self.diagnostic.run(send, within).await {
            Ok(answer) => {
                taken(answer::result::<Diagnosis>(&answer, incident.id), Event::DiagnosisReady)
            }
            Err(error) => failed(&error),
        }
    }

    /// Hands the diagnosis over once, then follows the task until it ends.
    async fn resolve(&self, incident: Incident, row: &OutboxRow) -> Result<Tried, StoreError> {
        let Some(diagnosis) = incident.diagnosis.clone() else {
            return Ok(Tried::Done(Vec::new()));
        };
        if !incident.phase.is_resolving() {
            return self.await_end(&incident).await;
        }
        let key = format!("{}:{}:resolve:{}", incident.id, incident.round, row.attempt);
        let payloads = [Payload::Brief(incident.brief()), Payload::Diagnosis(diagnosis)];
        let message = self.message(&key, &payloads);
        let send = Send { message, idempotency_key: Some(key), wait: None };
        let answers = self.resolution.start(send, self.longest_resolution());
        self.follow(incident.id, incident.round, answers).await
    }

    /// Goes on with the task of an incident that has left its resolution behind.
    async fn await_end(&self, incident: &Incident) -> Result<Tried, StoreError> {
        let Some(task_id) = &incident.resolution_task else {
            return Ok(Tried::Done(Vec::new()));
        };
        let task = match self.resolution.task(task_id).await {
            Ok(task) => task,
            Err(error) => return Ok(failed(&error)),
        };
        let known = SendMessageResponse::Task(task.clone());
        let changes = self.resolution.follow(task, self.longest_resolution());
        let changes = changes.map(|task| task.map(SendMessageResponse::Task));
        let known = futures::stream::once(std::future::ready(Ok(known)));
        self.follow(incident.id, incident.round, known.chain(changes).boxed()).await
    }

    /// Brings what a task shows into its incident until the task ends. A task whose incident no
    /// longer wants it is told to stop, and what it still did is taken all the same.
    async fn follow(
        &self,
        id: IncidentId,
        round: u32,
        mut answers: Answers,
    ) -> Result<Tried, StoreError> {
        let mut changes = self.engine.changes.subscribe();
        let (mut shown, mut is_stopped) = (None::<Task>, false);
        loop {
            tokio::select! {
                answer = answers.next() => match answer {
                    Some(Ok(SendMessageResponse::Task(task))) => {
                        if shown.is_none() {
                            self.accepted(id, round, &task).await?;
                        }
                        shown = Some(task);
                    }
                    Some(Ok(message)) => return Ok(outcome_of(&message, id)),
                    Some(Err(error)) => return Ok(failed(&error)),
                    None => return Ok(again("its task was followed to no end")),
                },
                () = self.incident_may_have_changed(&mut changes), if shown.is_some() => {}
            }
            let Some(task) = &shown else { continue };
            let Some(stored) = self.engine.store.incident(id).await? else {
                return Ok(Tried::Done(Vec::new()));
            };
            let incident = stored.incident;
            let is_left = incident.round != round || incident.phase.is_final();
            let is_wanted = !is_left && incident.phase.is_resolving();
            let is_over = task.status.state.is_terminal();
            if !is_wanted && !is_stopped && !is_over {
                is_stopped = self.stop(&task.id).await.is_ok();
            }
            if is_left && (is_stopped || is_over) {
                return Ok(Tried::Done(Vec::new()));
            }
            let events = if is_left { Vec::new() } else { answer::news(&incident, task) };
            if is_over {
                return self.conclude(id, round, task, events, is_wanted).await;
            }
            if !events.is_empty() {
                self.engine.take_events(id, Some(round), events, RowEnd::Kept).await?;
            }
        }
    }

    async fn accepted(&self, id: IncidentId, round: u32, task: &Task) -> Result<(), StoreError> {
        let accepted = vec![Event::ResolutionAccepted { task_id: task.id.clone() }];
        self.engine.take_events(id, Some(round), accepted, RowEnd::Kept).await
    }

    /// Returns soon after a commit, and after a while without one.
    async fn incident_may_have_changed(&self, changes: &mut watch::Receiver<u64>) {
        let clock = self.engine.process.clock();
        clock.sleep(LOOK.0).await;
        tokio::select! {
            // The sender lives as long as the engine.
            _ = changes.changed() => {}
            () = clock.sleep(LOOK.1) => {}
        }
    }

    /// A resolution that is not over by then has outlived every deadline of its incident.
    fn longest_resolution(&self) -> Duration {
        let limits = &self.engine.config.limits;
        Duration::from_secs(limits.resolution_seconds.saturating_add(limits.approval_seconds))
    }

    async fn conclude(
        &self,
        id: IncidentId,
        round: u32,
        task: &Task,
        mut events: Vec<Event>,
        is_wanted: bool,
    ) -> Result<Tried, StoreError> {
        if let Some(outcome) = answer::find_in_task::<Outcome>(task) {
            events.push(Event::Concluded(outcome));
            return Ok(Tried::Done(events));
        }
        if !is_wanted {
            return Ok(Tried::Done(events));
        }
        self.engine.take_events(id, Some(round), events, RowEnd::Kept).await?;
        Ok(outcome_of(&SendMessageResponse::Task(task.clone()), id))
    }

    async fn cancel(&self, incident: &Incident) -> Tried {
        let Some(task_id) = &incident.resolution_task else {
            return Tried::Done(Vec::new());
        };
        match self.stop(task_id).await {
            Ok(()) => Tried::Done(Vec::new()),
            Err(error) => failed(&error),
        }
    }

    /// Tells the resolution agent to stop a task; one that has ended or is unknown needs no telling.
    async fn stop(&self, task_id: &str) -> Result<(), ClientError> {
        match self.resolution.cancel(task_id).await {
            Err(error) if error.is_task_not_found() || error.is_task_not_cancelable() => Ok(()),
            answer => answer.map(drop),
        }
    }

    async fn sync_ticket(&self, incident: &Incident, row: &OutboxRow) -> Result<Tried, StoreError> {
        let timeline = self.engine.store.timeline(incident.id, 0).await?;
        let update = ticket::update(incident, &timeline);
        let key = format!("{}:ticket:{}:{}", incident.id, row.id, row.attempt);
        let message = self.message(&key, &[Payload::TicketUpdate(update)]);
        let send = Send { message, idempotency_key: Some(key), wait: None };
        Ok(match self.ticketing.run(send, TICKET_DEADLINE).await {
            Ok(answer) => {
                let handed_over_at = handed_over_at(incident);
                taken(answer::result::<TicketRef>(&answer, incident.id), |ticket| {
                    Event::TicketSynced { ticket, handed_over_at }
                })
            }
            Err(error) => failed(&error),
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

/// The hand-over that a ticket tells of.
fn handed_over_at(incident: &Incident) -> Option<Timestamp> {
    match incident.phase {
        Phase::NeedsHuman { at, .. } => Some(at),
        _ => None,
    }
}

fn outcome_of(answer: &SendMessageResponse, id: IncidentId) -> Tried {
    taken(answer::result::<Outcome>(answer, id), Event::Concluded)
}

fn taken<T>(result: Result<T, NoResult>, event: impl FnOnce(T) -> Event) -> Tried {
    match result {
        Ok(result) => Tried::Done(vec![event(result)]),
        Err(NoResult::Transient(why)) => Tried::Again { why, counts: true },
        Err(NoResult::Final(why)) => Tried::GivenUp { why },
    }
}

fn failed(error: &ClientError) -> Tried {
    let why = describe(error);
    match error {
        // It was told again from the start so often, or a secret is being changed.
        ClientError::TaskLost { .. } | ClientError::Unauthorized { .. } => {
            Tried::Again { why, counts: true }
        }
        // A peer that is away gave no answer: only the phase's deadline ends this.
        _ if error.is_transient() => Tried::Again { why, counts: false },
        _ => Tried::GivenUp { why },
    }
}

fn again(why: &str) -> Tried {
    Tried::Again { why: why.to_owned(), counts: false }
}

fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The round that the events of a row belong to; a ticket belongs to all of them.
fn round_of(row: &OutboxRow, kind: Work) -> Option<u32> {
    (kind != Work::SyncTicket).then_some(row.round)
}

fn agent_name(kind: Work) -> &'static str {
    match kind {
        Work::Diagnose => "diagnostic-agent",
        Work::Resolve | Work::CancelResolution => "resolution-agent",
        Work::SyncTicket => "ticketing-agent",
    }
}

fn backoff(tries: u32) -> Duration {
    let (least, most) = BACKOFF;
    most.min(least.saturating_mul(2u32.saturating_pow(tries.min(16))))
}
