//! The agent: one behaviour a message, each safe to take up again after a restart.

use std::sync::Arc;
use std::time::Duration;

use a2a_types::{Artifact, Message, Part, PartContent, Role};
use futures::FutureExt;
use futures::future::BoxFuture;
use rpc::a2a::{Agent, AgentError, Job};
use serde_json::json;

use crate::behaviour::{Behaviour, Content};

/// Twice the streaming timeout of the kit's own agents.
const LONG: Duration = Duration::from_secs(4);
/// Between two pieces of a counted artifact.
const PACE: Duration = Duration::from_millis(20);
const MOST_PIECES: usize = 10_000;
const ARTIFACT: &str = "output";
/// "tck"
const FILE_BASE64: &str = "dGNr";

#[derive(Debug)]
pub(crate) struct Steered;

impl Agent for Steered {
    fn run(self: Arc<Self>, job: Job) -> BoxFuture<'static, Result<(), AgentError>> {
        run(job).boxed()
    }

    fn reply<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Option<Message>> {
        let reply = match Behaviour::of(&message.message_id) {
            Behaviour::Reply(text) => {
                Some(Message::new(String::new(), Role::Agent, vec![Part::text(text)]))
            }
            _ => None,
        };
        std::future::ready(reply).boxed()
    }
}

async fn run(job: Job) -> Result<(), AgentError> {
    let updates = &job.updates;
    match Behaviour::of(&job.message.message_id) {
        // A reply is asked for in the midst of a task.
        Behaviour::Complete(text) | Behaviour::Reply(text) => updates.complete(text).await?,
        Behaviour::Produce(content) => {
            updates.put_artifact(artifact(content)).await?;
            updates.complete("produced").await?;
        }
        Behaviour::Stream(content) => {
            updates.working("working").await?;
            updates.put_artifact(artifact(content)).await?;
            updates.complete("completed").await?;
        }
        Behaviour::Chunks => add_pieces(&job, &["chunk-1 ", "chunk-2"], Duration::ZERO).await?,
        Behaviour::Ask => updates.ask(vec![Part::text("What else?")]).await?,
        Behaviour::Reject => return Err(AgentError::Rejected("rejected".into())),
        Behaviour::Wait => {
            updates.working("working").await?;
            if pause(&job, LONG).await {
                updates.complete("waited").await?;
            }
        }
        Behaviour::Count => count(&job).await?,
    }
    Ok(())
}

/// Counts to the number in the message.
async fn count(job: &Job) -> Result<(), AgentError> {
    let text = job.message.text();
    let number = text.trim().parse().ok().filter(|number| (1..=MOST_PIECES).contains(number));
    let Some(number) = number else {
        let why = format!("{text:?} is no number from 1 to {MOST_PIECES}");
        return Err(AgentError::Rejected(why));
    };
    let pieces: Vec<String> = (1..=number).map(|piece| format!("{piece} ")).collect();
    add_pieces(job, &pieces, PACE).await
}

/// Adds the pieces that the artifact does not have yet: none twice, however often this process is
/// killed.
async fn add_pieces<T: AsRef<str>>(
    job: &Job,
    pieces: &[T],
    pace: Duration,
) -> Result<(), AgentError> {
    let made = job.task.artifact(ARTIFACT).map_or(0, |artifact| artifact.parts.len());
    if made == 0 {
        job.updates.working("working").await?;
    }
    for (index, piece) in pieces.iter().enumerate().skip(made) {
        if !pause(job, pace).await {
            return Ok(());
        }
        let parts = vec![Part::text(piece.as_ref())];
        job.updates.append_artifact(ARTIFACT, parts, index + 1 == pieces.len()).await?;
    }
    job.updates.complete("completed").await?;
    Ok(())
}

/// Whether the task goes on afterwards: it may be cancelled meanwhile.
async fn pause(job: &Job, duration: Duration) -> bool {
    let pause = tokio::time::sleep(duration);
    job.cancelled.run_until_cancelled(pause).await.is_some()
}

fn artifact(content: Content) -> Artifact {
    let part = match content {
        Content::Text(text) => Part::text(text),
        Content::File => file(PartContent::Raw(FILE_BASE64.into())),
        Content::FileUrl => file(PartContent::Url("https://example.com/output.txt".into())),
        Content::Data => Part::data(json!({"key": "value", "count": 42})),
    };
    Artifact::new(ARTIFACT, vec![part])
}

fn file(content: PartContent) -> Part {
    Part { content, filename: "output.txt".into(), ..Part::text("") }
}
