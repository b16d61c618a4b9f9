//! A subscriber that goes on where it was whenever its stream breaks.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::sut::{Sut, call};

/// Before a broken stream is taken up again.
const PAUSE: Duration = Duration::from_millis(20);

/// What one subscriber has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) task_id: String,
    /// The numbers of its events.
    pub(super) numbers: Vec<u64>,
    /// The texts that were streamed.
    pub(super) pieces: Vec<String>,
    /// How often its stream broke.
    pub(super) breaks: usize,
    is_ended: bool,
}

pub(super) struct Subscriber {
    events: watch::Receiver<usize>,
    following: JoinHandle<anyhow::Result<Seen>>,
}

impl Subscriber {
    /// Starts a task that counts to `pieces`, and follows it.
    pub(super) async fn send(
        sut: &Sut,
        number: usize,
        pieces: usize,
        push: &str,
    ) -> anyhow::Result<Self> {
        let params = json!({
            "message": {
                "messageId": format!("firebreak-count-{number}"),
                "role": "ROLE_USER",
                "parts": [{"text": pieces.to_string()}],
            },
            "configuration": {"taskPushNotificationConfig": {"id": "push", "url": push}},
        });
        let (http, url) = (sut.http.clone(), sut.url());
        let answer = call(&http, &url, "SendStreamingMessage", &params).send().await?;
        let (told, mut events) = watch::channel(0);
        let following = following(http, url, answer, told);
        // The task is there once its first event is.
        events.wait_for(|events| *events > 0).await.context("the task is followed")?;
        Ok(Self { events, following })
    }

    pub(super) async fn until_end(self) -> anyhow::Result<Seen> {
        self.following.await?
    }
}

/// Waits until all subscribers together have seen so many events.
pub(super) async fn wait_for(subscribers: &mut [Subscriber], events: usize) {
    let each = events / subscribers.len();
    for subscriber in subscribers {
        // One that has ended is waited for no longer.
        let _ = subscriber.events.wait_for(|seen| *seen >= each).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "awaited by `until_end`")]
fn following(
    http: reqwest::Client,
    url: String,
    answer: reqwest::Response,
    told: watch::Sender<usize>,
) -> JoinHandle<anyhow::Result<Seen>> {
    tokio::spawn(async move {
        let mut seen = Seen::default();
        let mut answer = Some(answer);
        while !seen.is_ended {
            match answer.take() {
                Some(stream) => {
                    read(stream, &mut seen, &told).await?;
                    seen.breaks += usize::from(!seen.is_ended);
                }
                None => tokio::time::sleep(PAUSE).await,
            }
            let params = json!({"id": seen.task_id});
            let again = call(&http, &url, "SubscribeToTask", &params);
            let last = seen.numbers.last().context("a first event")?;
            if !seen.is_ended {
                answer = again.header("last-event-id", last.to_string()).send().await.ok();
            }
        }
        Ok(seen)
    })
}

/// Reads a stream until it ends or breaks.
async fn read(
    stream: reqwest::Response,
    seen: &mut Seen,
    told: &watch::Sender<usize>,
) -> anyhow::Result<()> {
    let kind = stream.headers().get("content-type").cloned();
    ensure!(kind.is_some_and(|kind| kind == "text/event-stream"), "{}", stream.text().await?);
    let mut chunks = stream.bytes_stream();
    let mut text = String::new();
    while let Some(Ok(chunk)) = chunks.next().await {
        text.push_str(std::str::from_utf8(&chunk)?);
        while let Some((event, rest)) = text.split_once("\n\n") {
            take(event, seen)?;
            text = rest.to_owned();
            told.send_replace(seen.numbers.len());
        }
    }
    Ok(())
}

fn take(event: &str, seen: &mut Seen) -> anyhow::Result<()> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    // A comment keeps the connection alive and says nothing.
    let Some(data) = field("data:") else { return Ok(()) };
    let data: Value = serde_json::from_str(data)?;
    let result = &data["result"];
    if let Some(id) = result["task"]["id"].as_str() {
        ensure!(seen.task_id.is_empty(), "the whole task again instead of what is missing");
        seen.task_id = id.to_owned();
    }
    seen.numbers.push(field("id:").context("an event without id")?.trim().parse()?);
    if let Some(parts) = result["artifactUpdate"]["artifact"]["parts"].as_array() {
        let texts = parts.iter().filter_map(|part| part["text"].as_str());
        seen.pieces.extend(texts.map(str::to_owned));
    }
    let state = &result["statusUpdate"]["status"]["state"];
    seen.is_ended = state.as_str().is_some_and(|state| state == "TASK_STATE_COMPLETED");
    Ok(())
}
