//! The three agents, played: each does what its test set, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use a2a_types::{AgentCapabilities, AgentCard, AgentInterface, Artifact, Message, Part, TaskStore};
use futures::future::BoxFuture;
use incident::{Brief, EntryKind, OutcomeResult, Payload, TicketRef, TicketUpdate};
use rpc::a2a::{Agent, AgentError, Job, MemoryTaskStore, Server, ServerOptions};
use service::Process;
use tokio::sync::{Semaphore, watch};

use super::sample::{diagnosis, entry, outcome, plan};
use super::world::PATIENCE;

/// What an agent does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Play {
    Diagnose {
        cause: Option<&'static str>,
    },
    Resolve {
        result: OutcomeResult,
        asks: bool,
    },
    Ticket,
    /// Fails for good.
    Fail,
}

#[derive(Debug)]
pub(crate) struct Player {
    play: Mutex<Play>,
    /// What it was asked, in order.
    asked: watch::Sender<Vec<Message>>,
    /// Tasks it was told to stop.
    pub(crate) stopped: watch::Sender<usize>,
    /// One permit for each answer it may give, while it is gated.
    gate: Semaphore,
}

impl Player {
    fn new(play: Play) -> Arc<Self> {
        Arc::new(Self {
            play: Mutex::new(play),
            asked: watch::Sender::default(),
            stopped: watch::Sender::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    pub(crate) fn set(&self, play: Play) {
        *self.play.lock().unwrap() = play;
    }

    /// It answers nothing more until `open`.
    pub(crate) fn close(&self) {
        self.gate.forget_permits(usize::MAX);
    }

    pub(crate) fn open(&self) {
        self.gate.add_permits(1 << 20);
    }

    pub(crate) fn asked(&self) -> Vec<Message> {
        self.asked.borrow().clone()
    }

    pub(crate) async fn was_asked(&self, count: usize) {
        let mut asked = self.asked.subscribe();
        let waiting = asked.wait_for(|asked| asked.len() >= count);
        tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    }

    pub(crate) async fn was_stopped(&self) {
        let mut stopped = self.stopped.subscribe();
        let waiting = stopped.wait_for(|count| *count > 0);
        tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    }

    /// Waits at the gate; false when the task is stopped there.
    async fn pass(&self, job: &Job) -> bool {
        match job.cancelled.run_until_cancelled(self.gate.acquire()).await {
            Some(permit) => {
                permit.unwrap().forget();
                true
            }
            None => {
                self.stopped.send_modify(|count| *count += 1);
                false
            }
        }
    }

    async fn act(&self, job: Job) -> Result<(), AgentError> {
        self.asked.send_modify(|asked| asked.push(job.message.clone()));
        let play = *self.play.lock().unwrap();
        match play {
            Play::Diagnose { cause } => {
                if !self.pass(&job).await {
                    return Ok(());
                }
                let diagnosis = diagnosis(brief(&job).incident.id, cause);
                give(&job, "diagnosis", Payload::Diagnosis(diagnosis)).await?;
                Ok(job.updates.complete("diagnosed").await?)
            }
            Play::Resolve { result, asks } => self.resolve(&job, result, asks).await,
            Play::Ticket => {
                if !self.pass(&job).await {
                    return Ok(());
                }
                let update = ticket_update(&job.message);
                let status = format!("{:?}", update.status);
                let (key, url) = ("FB-1".to_owned(), "file:///FB-1".to_owned());
                let sequence = update.comments.last().map_or(0, |comment| comment.sequence);
                let ticket = TicketRef { key, url, status, sequence };
                give(&job, "ticket", Payload::Ticket(ticket)).await?;
                Ok(job.updates.complete("written").await?)
            }
            Play::Fail => Err(AgentError::failed("out of order")),
        }
    }

    async fn resolve(
        &self,
        job: &Job,
        result: OutcomeResult,
        asks: bool,
    ) -> Result<(), AgentError> {
        let id = brief(job).incident.id;
        let decision = rpc::payloads(&job.message.parts).unwrap().into_iter().next();
        give(job, "plan", Payload::Plan(plan(id))).await?;
        let mut entries = vec![entry(EntryKind::Planned)];
        match decision {
            Some(Payload::Approval { approved: false, .. }) => {
                give(job, "outcome", Payload::Outcome(outcome(id, OutcomeResult::Refused))).await?;
                return Ok(job.updates.complete("not approved").await?);
            }
            // The author of a plan cannot approve it: the question stands.
            Some(Payload::Approval { by, .. }) if by == "resolution-agent" => {
                return Ok(job.updates.ask(vec![Part::text("another, please")]).await?);
            }
            Some(Payload::Approval { .. }) => entries.push(entry(EntryKind::Approved)),
            _ if asks => return Ok(job.updates.ask(vec![Part::text("may I?")]).await?),
            _ => {}
        }
        let kinds =
            [EntryKind::StepStarted, EntryKind::StepFinished, EntryKind::VerificationStarted];
        entries.extend(kinds.map(entry));
        give(job, "progress", Payload::Progress { entries: entries.clone() }).await?;
        let result = if self.pass(job).await { result } else { OutcomeResult::Undone };
        give(job, "outcome", Payload::Outcome(outcome(id, result))).await?;
        Ok(job.updates.complete("concluded").await?)
    }
}

impl Agent for Player {
    fn run(self: Arc<Self>, job: Job) -> BoxFuture<'static, Result<(), AgentError>> {
        Box::pin(async move { self.act(job).await })
    }
}

async fn give(job: &Job, name: &str, payload: Payload) -> Result<(), AgentError> {
    Ok(job.updates.put_artifact(Artifact::new(name, vec![rpc::part(&payload)])).await?)
}

fn brief(job: &Job) -> Brief {
    match rpc::payloads(&job.task.history[0].parts).unwrap().into_iter().next() {
        Some(Payload::Brief(brief)) => brief,
        other => panic!("no brief: {other:?}"),
    }
}

pub(crate) fn ticket_update(message: &Message) -> TicketUpdate {
    match rpc::payloads(&message.parts).unwrap().into_iter().next() {
        Some(Payload::TicketUpdate(update)) => update,
        other => panic!("no update: {other:?}"),
    }
}

/// One agent at one address, which can go away and come back.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) player: Arc<Player>,
    pub(crate) address: String,
    tasks: Arc<dyn TaskStore>,
    process: Mutex<Option<Process>>,
}

impl Place {
    pub(crate) fn away(play: Play) -> Self {
        Self {
            player: Player::new(play),
            address: service::own_loopback_address(),
            tasks: Arc::new(MemoryTaskStore::default()),
            process: Mutex::default(),
        }
    }

    pub(crate) fn url(&self) -> url::Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    pub(crate) async fn come(&self) {
        let process = Process::new("player");
        let host = rpc::Host::new(
            process.time_source(),
            process.id_source(),
            process.tracker().clone(),
            process.shutdown_token(),
        );
        let (agent, tasks) = (self.player.clone(), self.tasks.clone());
        let options = ServerOptions::default();
        let server = Server::new(&card(&self.address), agent, tasks, &host, options);
        service::serve(&process, &self.address, "none", server.router()).await.unwrap();
        *self.process.lock().unwrap() = Some(process);
    }
}

fn card(address: &str) -> AgentCard {
    AgentCard {
        name: "player".into(),
        description: String::new(),
        supported_interfaces: vec![AgentInterface {
            url: format!("http://{address}{}", rpc::a2a::RPC_PATH),
            protocol_binding: "JSONRPC".into(),
            tenant: String::new(),
            protocol_version: "1.0".into(),
            ..Default::default()
        }],
        provider: None,
        version: "1".into(),
        documentation_url: None,
        capabilities: AgentCapabilities::default(),
        security_schemes: [].into(),
        security_requirements: Vec::new(),
        default_input_modes: Vec::new(),
        default_output_modes: Vec::new(),
        skills: Vec::new(),
        icon_url: None,
        signatures: Vec::new(),
        ..Default::default()
    }
}
