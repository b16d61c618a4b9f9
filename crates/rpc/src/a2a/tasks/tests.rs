//! Tasks over the memory store, with an agent whose jobs the test does itself.

mod bounds;
mod events;
mod owners;
mod replicas;
mod turns;

use std::sync::{Arc, Mutex};

use a2a_types::{Message, Part, Role, StreamResponse, Task, TaskEvent, TaskOwner, TaskState};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{Agent, AgentError, Job, Subscription, TakeMessage, Taken, TaskOptions, Tasks};
use crate::Host;
use crate::a2a::MemoryTaskStore;

/// Hands its jobs to the test; does `auto` and `ask` itself, and replies to `hello`.
#[derive(Debug)]
struct Puppet(mpsc::UnboundedSender<Given>);

/// A job, and how it ends.
#[derive(Debug)]
struct Given {
    job: Job,
    end: oneshot::Sender<Result<(), AgentError>>,
}

impl Agent for Puppet {
    fn run(self: Arc<Self>, job: Job) -> BoxFuture<'static, Result<(), AgentError>> {
        Box::pin(async move {
            match job.message.text().as_str() {
                "auto" => {
                    job.updates.working("one").await?;
                    job.updates.append_artifact("a", vec![Part::text("two")], true).await?;
                    Ok(job.updates.complete("three").await?)
                }
                "ask" => Ok(job.updates.ask(vec![Part::text("which one?")]).await?),
                _ => {
                    let cancelled = job.cancelled.clone();
                    let (end, ended) = oneshot::channel();
                    self.0.send(Given { job, end }).unwrap();
                    let ended = cancelled.run_until_cancelled(ended).await;
                    ended.map_or(Ok(()), |ended| ended.unwrap_or(Ok(())))
                }
            }
        })
    }

    fn reply<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Option<Message>> {
        assert_ne!(message.text(), "panic", "as told");
        let reply = Message::new("", Role::Unspecified, vec![Part::text("good day")]);
        Box::pin(std::future::ready((message.text() == "hello").then_some(reply)))
    }
}

struct World {
    tasks: Tasks,
    store: Arc<MemoryTaskStore>,
    jobs: mpsc::UnboundedReceiver<Given>,
    deliveries: Arc<Notify>,
    now: Arc<Mutex<Timestamp>>,
    shutdown: CancellationToken,
    tracker: TaskTracker,
}

impl World {
    fn new() -> Self {
        Self::with(Arc::default(), TaskOptions::default())
    }

    fn with(store: Arc<MemoryTaskStore>, options: TaskOptions) -> Self {
        let start = "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
        Self::at(Arc::new(Mutex::new(start)), store, options)
    }

    fn at(now: Arc<Mutex<Timestamp>>, store: Arc<MemoryTaskStore>, options: TaskOptions) -> Self {
        let last_id = Mutex::new(0);
        let (shutdown, tracker, deliveries) =
            (CancellationToken::new(), TaskTracker::new(), Arc::<Notify>::default());
        let (time, namespace) = (now.clone(), Arc::as_ptr(&deliveries) as u128);
        let ids = move || {
            let mut last = last_id.lock().unwrap();
            *last += 1;
            Uuid::from_u128(namespace << 64 | *last)
        };
        let time = move || *time.lock().unwrap();
        let host = Host::new(Arc::new(time), Arc::new(ids), tracker.clone(), shutdown.clone());
        let (given, jobs) = mpsc::unbounded_channel();
        let agent = Arc::new(Puppet(given));
        let tasks = Tasks::new(agent, store.clone(), host, options, deliveries.clone());
        Self { tasks, store, jobs, deliveries, now, shutdown, tracker }
    }

    /// Ends the process, and starts another on the same store.
    async fn restart(self) -> Self {
        self.shutdown.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        Self::with(self.store, TaskOptions::default())
    }

    async fn job(&mut self) -> Given {
        self.jobs.recv().await.unwrap()
    }

    fn pass(&self, time: SignedDuration) {
        *self.now.lock().unwrap() += time;
    }

    async fn take(&self, text: &str) -> Task {
        task(self.tasks.take(say(text)).await.unwrap())
    }

    async fn settle(&self, request: TakeMessage) -> Task {
        task(self.tasks.take_and_settle(request).await.unwrap())
    }

    async fn stream(&self, request: TakeMessage) -> Subscription {
        task(self.tasks.take_and_subscribe(request).await.unwrap())
    }

    async fn subscribe(&self, task: &Task, after: Option<u64>) -> Subscription {
        self.tasks.subscribe(&TaskOwner::default(), &task.id, after).await.unwrap()
    }

    async fn get(&self, task: &Task) -> Task {
        self.tasks.get(&TaskOwner::default(), &task.id).await.unwrap()
    }

    /// Waits until nobody holds a task in memory; runs that have ended let go of it at once.
    async fn until_idle(&self) {
        while self.tasks.live_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl Given {
    async fn work(&self, texts: std::ops::Range<u32>) {
        for text in texts {
            self.job.updates.working(text.to_string()).await.unwrap();
        }
    }

    async fn complete(self) {
        self.job.updates.complete("done").await.unwrap();
        self.end.send(Ok(())).unwrap();
    }
}

fn task<T>(taken: Taken<T>) -> T {
    match taken {
        Taken::Task(task) => task,
        Taken::Message(message) => panic!("no task: {message:?}"),
    }
}

fn say(text: &str) -> TakeMessage {
    TakeMessage {
        owner: TaskOwner::default(),
        message: Message::new("m-1", Role::User, vec![Part::text(text)]),
        idempotency_key: None,
        push: None,
    }
}

fn keyed(text: &str) -> TakeMessage {
    TakeMessage { idempotency_key: Some("k/m-1".into()), ..say(text) }
}

fn answer(task: &Task, text: &str) -> TakeMessage {
    let mut request = say(text);
    request.message.task_id.clone_from(&task.id);
    request.message.message_id = "m-2".into();
    request
}

/// The next events that are there already or come without anything else having to happen.
async fn read(subscription: &mut Subscription, count: usize) -> Vec<TaskEvent> {
    subscription.events.by_ref().take(count).collect().await
}

fn numbers(events: &[TaskEvent]) -> Vec<u64> {
    events.iter().map(|event| event.sequence).collect()
}

/// The states that events show, and the texts of artifacts.
fn shown(events: &[TaskEvent]) -> Vec<String> {
    let show = |event: &TaskEvent| match &event.event {
        StreamResponse::StatusUpdate(update) => format!("{:?}", update.status.state),
        StreamResponse::ArtifactUpdate(update) => {
            let texts = update.artifact.parts.iter().filter_map(Part::as_text);
            texts.collect::<Vec<_>>().join("+")
        }
        other => panic!("no event of a task: {other:?}"),
    };
    events.iter().map(show).collect()
}

fn is_pending(subscription: &mut Subscription) -> bool {
    subscription.events.next().now_or_never().is_none()
}
