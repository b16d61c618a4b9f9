//! Follows a task to its end, whatever breaks on the way. A stream that ends early is taken up
//! again; a peer without streams, or whose streams keep failing, is asked for its task; the end is
//! read once more in full, since events may hold less than the task. A message is repeated only
//! with an idempotency key, and only after a transient error.

use std::time::Duration;

use a2a_types::{SendMessageResponse, StreamResponse, Task};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Client, ClientError, EventStream, Send};
use crate::a2a::backoff::backoff;

/// Streams in a row that told nothing new; then the peer is asked instead.
const FRUITLESS: u32 = 3;
/// Bounds of the wait before a peer is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Bounds of the time between two questions for a task.
const POLL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Tries to read a task that has ended in full; after them, what its events told is taken.
const LAST_LOOKS: u32 = 3;

type Answers = BoxStream<'static, Result<SendMessageResponse, ClientError>>;

pub(super) fn start(client: Client, send: Send, within: Duration) -> Answers {
    Follow::new(client, Stage::Send { send: Box::new(send), tries: 0 }, None, within).into_stream()
}

pub(super) fn follow(
    client: Client,
    task: Task,
    within: Duration,
) -> BoxStream<'static, Result<Task, ClientError>> {
    let stage = if task.status.state.is_terminal() { Stage::Ended } else { Stage::Rejoin };
    let answers = Follow::new(client, stage, Some(task), within).into_stream();
    let task = |answer| match answer {
        Ok(SendMessageResponse::Task(task)) => Some(Ok(task)),
        // Only the answer to a message is a message.
        Ok(SendMessageResponse::Message(_)) => None,
        Err(error) => Some(Err(error)),
    };
    answers.filter_map(move |answer| std::future::ready(task(answer))).boxed()
}

/// The first answer that leaves the peer nothing to do without its caller.
pub(super) async fn run(
    mut answers: Answers,
    url: &str,
) -> Result<SendMessageResponse, ClientError> {
    while let Some(answer) = answers.next().await {
        match answer? {
            SendMessageResponse::Task(task) if !task.status.state.is_settled() => {}
            settled => return Ok(settled),
        }
    }
    Err(ClientError::Interrupted { url: url.to_owned(), why: "no answer".into() })
}

enum Stage {
    Send { send: Box<Send>, tries: u32 },
    Listen { stream: Box<EventStream>, send: Option<(Box<Send>, u32)>, is_fruitful: bool },
    Rejoin,
    Poll,
    Ended,
}

struct Follow {
    client: Client,
    stage: Stage,
    task: Option<Task>,
    within: Duration,
    until: Instant,
    last_event_id: Option<String>,
    /// Whether streams are tried: the card offers them, and the peer has not refused them.
    streams: bool,
    /// Streams in a row that told nothing new.
    fruitless: u32,
    /// Failures and looks in a row that brought nothing.
    waits: u32,
}

impl Follow {
    fn new(client: Client, stage: Stage, task: Option<Task>, within: Duration) -> Self {
        let until = Instant::now() + within;
        Self {
            client,
            stage,
            task,
            within,
            until,
            last_event_id: None,
            streams: true,
            fruitless: 0,
            waits: 0,
        }
    }

    fn into_stream(self) -> Answers {
        stream::unfold(self, |mut follow| async move {
            let answer = follow.next().await?;
            Some((answer, follow))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<SendMessageResponse, ClientError>> {
        if matches!(self.stage, Stage::Ended) {
            return None;
        }
        let late = ClientError::Deadline { url: self.url(), deadline: self.within };
        let answer = timeout_at(self.until, self.news()).await.unwrap_or(Err(late));
        let is_last = match &answer {
            Ok(SendMessageResponse::Task(task)) => task.status.state.is_terminal(),
            Ok(SendMessageResponse::Message(_)) | Err(_) => true,
        };
        if is_last {
            self.stage = Stage::Ended;
        }
        Some(answer)
    }

    /// Goes from stage to stage until there is something to show.
    async fn news(&mut self) -> Result<SendMessageResponse, ClientError> {
        loop {
            let news = match std::mem::replace(&mut self.stage, Stage::Ended) {
                Stage::Send { send, tries } => self.send(send, tries).await?,
                Stage::Listen { stream, send, is_fruitful } => {
                    self.listen(stream, send, is_fruitful).await?
                }
                Stage::Rejoin => self.rejoin().await?,
                Stage::Poll => self.poll().await?,
                Stage::Ended => {
                    let why = "nothing is left to follow".to_owned();
                    return Err(ClientError::Interrupted { url: self.url(), why });
                }
            };
            if let Some(news) = news {
                return Ok(news);
            }
        }
    }

    async fn send(
        &mut self,
        send: Box<Send>,
        tries: u32,
    ) -> Result<Option<SendMessageResponse>, ClientError> {
        self.streams = self.streams && self.card_says_streaming().await;
        if self.streams {
            match self.client.stream((*send).clone()).await {
                Ok(stream) => self.listen_to(stream, Some((send, tries))),
                // Refused, so not taken: it may be sent the other way.
                Err(error) if error.is_unsupported() => {
                    self.streams = false;
                    self.stage = Stage::Send { send, tries };
                }
                Err(error) => self.send_again(send, tries, error).await?,
            }
            return Ok(None);
        }
        // A peer may work on it before it answers, whatever it was asked.
        let once = Send { wait: None, ..(*send).clone() };
        match self.client.send_within(once, self.within).await {
            Ok(SendMessageResponse::Task(task)) => {
                self.stage = Stage::Poll;
                Ok(Some(self.show(task)))
            }
            Ok(message) => Ok(Some(message)),
            Err(error) => self.send_again(send, tries, error).await.map(|()| None),
        }
    }

    /// The same message once more, where that is safe.
    async fn send_again(
        &mut self,
        send: Box<Send>,
        tries: u32,
        error: ClientError,
    ) -> Result<(), ClientError> {
        let is_safe = send.idempotency_key.is_some() && error.is_transient();
        if !is_safe || tries >= self.client.options().retries {
            return Err(error);
        }
        self.rest(&error).await;
        self.stage = Stage::Send { send, tries: tries + 1 };
        Ok(())
    }

    async fn listen(
        &mut self,
        mut stream: Box<EventStream>,
        send: Option<(Box<Send>, u32)>,
        is_fruitful: bool,
    ) -> Result<Option<SendMessageResponse>, ClientError> {
        let next = stream.next().await;
        self.last_event_id =
            stream.last_event_id().map(str::to_owned).or(self.last_event_id.take());
        let event = match next {
            Ok(Some(StreamResponse::Message(message))) if self.task.is_none() => {
                return Ok(Some(SendMessageResponse::Message(message)));
            }
            Ok(Some(event)) => event,
            Ok(None) => {
                let why = "it ended before its task".to_owned();
                let error = ClientError::Interrupted { url: self.url(), why };
                return self.broken(send, error, is_fruitful).await.map(|()| None);
            }
            Err(error) => return self.broken(send, error, is_fruitful).await.map(|()| None),
        };
        let task = match self.applied(event) {
            Ok(task) => task,
            // A stream that is no A2A may hide a task that is.
            Err(_) if self.task.is_some() => {
                (self.fruitless, self.stage) = (FRUITLESS, Stage::Poll);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let is_new = self.task.as_ref() != Some(&task);
        let is_fruitful = is_fruitful || is_new;
        if is_fruitful {
            (self.fruitless, self.waits) = (0, 0);
        }
        if task.status.state.is_terminal() {
            return self.conclude(task).await.map(Some);
        }
        self.stage = Stage::Listen { stream, send: None, is_fruitful };
        Ok(is_new.then(|| self.show(task)))
    }

    /// What to do when a stream ends before its task.
    async fn broken(
        &mut self,
        send: Option<(Box<Send>, u32)>,
        error: ClientError,
        is_fruitful: bool,
    ) -> Result<(), ClientError> {
        // Nothing was heard of the message: it may not have been taken.
        if let Some((send, tries)) = send {
            return self.send_again(send, tries, error).await;
        }
        if error.is_task_not_found() {
            return Err(self.lost());
        }
        if !is_fruitful {
            self.fruitless += 1;
            self.rest(&error).await;
        }
        let is_hopeless = !error.is_transient() || self.fruitless >= FRUITLESS;
        self.stage = if is_hopeless { Stage::Poll } else { Stage::Rejoin };
        Ok(())
    }

    async fn rejoin(&mut self) -> Result<Option<SendMessageResponse>, ClientError> {
        self.streams = self.streams && self.card_says_streaming().await;
        if !self.streams {
            self.stage = Stage::Poll;
            return Ok(None);
        }
        match self.client.subscribe(&self.task_id(), self.last_event_id.as_deref()).await {
            Ok(stream) => self.listen_to(stream, None),
            Err(error) if error.is_task_not_found() => return Err(self.lost()),
            Err(error) if error.is_transient() => {
                self.rest(&error).await;
                self.stage = Stage::Rejoin;
            }
            // The task may have ended, which is as good a reason to refuse as having no streams.
            Err(ClientError::Refused { .. } | ClientError::Status { .. }) => {
                self.fruitless += 1;
                self.streams = self.fruitless < FRUITLESS;
                self.stage = Stage::Poll;
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    async fn poll(&mut self) -> Result<Option<SendMessageResponse>, ClientError> {
        let asked = self.client.task(&self.task_id()).await;
        self.stage = Stage::Poll;
        match asked {
            Ok(task) if self.task.as_ref() != Some(&task) => {
                let was_waiting =
                    self.task.as_ref().is_some_and(|t| t.status.state.is_interrupted());
                self.waits = 0;
                // It goes on: its stream may be back.
                if was_waiting && !task.status.state.is_settled() {
                    (self.stage, self.fruitless) = (Stage::Rejoin, 0);
                }
                Ok(Some(self.show(task)))
            }
            Ok(_) => {
                if self.streams && self.fruitless < FRUITLESS {
                    self.stage = Stage::Rejoin;
                }
                sleep(backoff(self.waits, POLL)).await;
                self.waits += 1;
                Ok(None)
            }
            Err(error) if error.is_task_not_found() => Err(self.lost()),
            Err(error) if error.is_transient() => {
                self.rest(&error).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The end, read in full: the events of a stream need not hold the task's metadata.
    async fn conclude(&mut self, ended: Task) -> Result<SendMessageResponse, ClientError> {
        for _ in 0..LAST_LOOKS {
            match self.client.task(&ended.id).await {
                Ok(task) if task.status.state.is_terminal() => return Ok(self.show(task)),
                Err(error) if error.is_transient() => self.rest(&error).await,
                // It was forgotten as soon as it had ended, or another answers for it.
                Ok(_) | Err(_) => break,
            }
        }
        Ok(self.show(ended))
    }

    /// The task with an event in it.
    fn applied(&self, event: StreamResponse) -> Result<Task, ClientError> {
        let invalid = |why: String| ClientError::InvalidAnswer { url: self.url(), why };
        let known = |id: &str| match &self.task {
            Some(task) if task.id == id => Ok(task.clone()),
            Some(task) => Err(invalid(format!("an event of task {id} among those of {}", task.id))),
            None => Err(invalid(format!("an event of task {id} before the task"))),
        };
        match event {
            StreamResponse::Task(task) if self.task.is_none() => Ok(task),
            StreamResponse::Task(task) => known(&task.id).map(|_| task),
            StreamResponse::StatusUpdate(update) => {
                let mut task = known(&update.task_id)?;
                task.status = update.status;
                Ok(task)
            }
            StreamResponse::ArtifactUpdate(update) => {
                let mut task = known(&update.task_id)?;
                match update.append {
                    true => drop(task.append_artifact(update.artifact)),
                    false => task.put_artifact(update.artifact),
                }
                Ok(task)
            }
            StreamResponse::Message(_) => Err(invalid("a message in the stream of a task".into())),
        }
    }

    fn listen_to(&mut self, stream: EventStream, send: Option<(Box<Send>, u32)>) {
        self.stage = Stage::Listen { stream: Box::new(stream), send, is_fruitful: false };
    }

    fn show(&mut self, task: Task) -> SendMessageResponse {
        self.task = Some(task.clone());
        SendMessageResponse::Task(task)
    }

    /// Waits before the peer is tried again.
    async fn rest(&mut self, error: &ClientError) {
        tracing::debug!(%error, "the peer is tried again");
        let wait = backoff(self.waits, BACKOFF);
        self.waits += 1;
        sleep(error.retry_after().map_or(wait, |asked| asked.max(wait))).await;
    }

    /// A card that cannot be had is no reason to do without streams.
    async fn card_says_streaming(&self) -> bool {
        match self.client.card().await {
            Ok(card) => card.capabilities.streaming.unwrap_or(false),
            Err(_) => true,
        }
    }

    fn lost(&self) -> ClientError {
        ClientError::TaskLost { url: self.url(), task: self.task_id() }
    }

    fn task_id(&self) -> String {
        self.task.as_ref().map(|task| task.id.clone()).unwrap_or_default()
    }

    fn url(&self) -> String {
        self.client.peer().url.to_string()
    }
}
