//! Sends what waits in the task store, at least once: a delivery leaves the store after it was
//! answered, so one that a dead process had in hand is sent again, with the same idempotency key.
//! Those of one configuration are sent one after another; a slow receiver holds up nobody else.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_types::{Delivery, StoreFuture, TaskStore, TaskStoreError};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use url::Url;

use super::PushConfig;
use super::connector::Connector;
use super::request::request;
use super::retry::{Outcome, next_try};
use crate::Host;
use crate::a2a::backoff::{STORE_PAUSE, backoff};

/// What a single slow host can take of all sends at once, as a divisor.
const HOST_SHARE: usize = 4;
/// Due deliveries read at once for one that may be sent, for each that can be.
const LOOK_AHEAD: usize = 8;
/// How often they are read before there is a rest.
const PAGES: usize = 4;
/// The store is asked again after so long, although nobody said that there is something.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// The same while something due cannot be sent yet: it hides what becomes due meanwhile.
const SHORTEST_REST: Duration = Duration::from_millis(250);
/// How long shutdown waits for what is in hand.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);
/// Receivers remembered as gone. Beyond it, all of them are tried in full again.
const GONE: usize = 10_000;

/// A push configuration: task and id.
type Key = (String, String);

#[derive(Debug)]
pub(super) struct Sender {
    pub(super) store: Arc<dyn TaskStore>,
    pub(super) connector: Connector,
    pub(super) host: Host,
    pub(super) options: PushConfig,
    /// Woken when there may be something to send.
    pub(super) deliveries: Arc<Notify>,
    /// Receivers that were given up: each further event is tried once, until one arrives.
    pub(super) gone: Mutex<HashSet<Key>>,
}

/// What is being sent.
#[derive(Debug, Default)]
struct InHand {
    sends: JoinSet<()>,
    of: HashMap<Id, (Key, String)>,
    /// The last due delivery that was looked at; 0 before the first.
    looked_at: i64,
}

impl Sender {
    pub(super) async fn run(self: Arc<Self>) {
        let mut in_hand = InHand::default();
        let mut failures = 0;
        while !self.host.shutdown().is_cancelled() {
            let taken = self.clone().take(&mut in_hand).await;
            let (rest, is_failed) = match taken {
                Ok(rest) => (rest, false),
                Err(error) => {
                    if failures == 0 {
                        tracing::error!(%error, "push notifications wait for the task store");
                    }
                    (backoff(failures, STORE_PAUSE), true)
                }
            };
            failures = if is_failed { failures + 1 } else { 0 };
            tokio::select! {
                () = self.host.shutdown().cancelled() => {}
                () = self.deliveries.notified(), if !is_failed => {}
                () = in_hand.one_done(), if !is_failed && !in_hand.sends.is_empty() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
        // What is not answered by then stays in the store, and is sent again by the next process.
        let _ = tokio::time::timeout(SHUTDOWN_PATIENCE, in_hand.all_done()).await;
    }

    /// Starts as many sends as may be, and says how long there is nothing to do.
    async fn take(self: Arc<Self>, in_hand: &mut InHand) -> Result<Duration, TaskStoreError> {
        in_hand.clear_done();
        let concurrent = self.options.concurrent.max(1);
        if in_hand.sends.len() >= concurrent {
            return Ok(LONGEST_REST);
        }
        let now = self.host.now();
        self.clone().look(in_hand, now, concurrent).await?;
        if in_hand.sends.len() >= concurrent {
            return Ok(LONGEST_REST);
        }
        Ok(self.store.next_delivery().await?.map_or(LONGEST_REST, |at| rest(now, at)))
    }

    /// Goes on through what is due from where it was left, and begins again at the end: what cannot
    /// be sent yet, however much there is of it, hides nothing behind it.
    async fn look(
        self: Arc<Self>,
        in_hand: &mut InHand,
        now: Timestamp,
        concurrent: usize,
    ) -> Result<(), TaskStoreError> {
        let limit = (concurrent * LOOK_AHEAD) as u32;
        let mut is_last_round = in_hand.looked_at == 0;
        for _ in 0..PAGES {
            let due = self.store.due_deliveries(now, in_hand.looked_at, limit).await?;
            let is_end = due.len() < limit as usize;
            for delivery in due {
                if in_hand.sends.len() >= concurrent {
                    return Ok(());
                }
                in_hand.looked_at = delivery.id;
                in_hand.start(&self, delivery);
            }
            if is_end {
                in_hand.looked_at = 0;
                if is_last_round {
                    return Ok(());
                }
                is_last_round = true;
            }
        }
        Ok(())
    }

    async fn send(self: Arc<Self>, delivery: Delivery) {
        let outcome = match request(&delivery) {
            Ok((headers, body)) => {
                let answer = self.connector.post(&delivery.config.url, headers, body).await;
                Outcome::new(answer, self.host.now())
            }
            Err(bad) => Outcome::Hopeless { why: format!("{} cannot be sent", bad.field) },
        };
        let key = key_of(&delivery);
        match outcome {
            Outcome::Delivered => {
                self.gone(|gone| gone.remove(&key));
                self.finish(&delivery).await;
            }
            Outcome::Again { why, wait } => match self.is_last(&delivery, &key) {
                true => {
                    self.gone(|gone| {
                        if gone.len() >= GONE {
                            gone.clear();
                        }
                        gone.insert(key)
                    });
                    self.give_up(&delivery, &why).await;
                }
                false => self.delay(&delivery, &why, wait).await,
            },
            Outcome::Hopeless { why } => self.give_up(&delivery, &why).await,
        }
    }

    fn is_last(&self, delivery: &Delivery, key: &Key) -> bool {
        delivery.attempt.saturating_add(1) >= self.options.max_attempts
            || self.gone(|gone| gone.contains(key))
    }

    fn gone<T>(&self, act: impl FnOnce(&mut HashSet<Key>) -> T) -> T {
        act(&mut self.gone.lock().expect("no panic while held"))
    }

    async fn give_up(&self, delivery: &Delivery, why: &str) {
        tracing::warn!(
            task.id = %delivery.config.task_id,
            push.id = %delivery.config.id,
            push.host = host_of(delivery),
            sequence = delivery.event.sequence,
            attempts = delivery.attempt.saturating_add(1),
            why,
            "push notification given up",
        );
        self.finish(delivery).await;
    }

    async fn finish(&self, delivery: &Delivery) {
        self.confirm(|| self.store.finish_delivery(delivery.id)).await;
    }

    async fn delay(&self, delivery: &Delivery, why: &str, wait: Option<Duration>) {
        // The lower half of an id is random.
        let chance = f64::from(self.host.new_id().as_u128() as u32) / f64::from(u32::MAX);
        let failures = delivery.attempt.saturating_add(1);
        let at = next_try(&self.options, failures, wait, chance, self.host.now());
        tracing::debug!(
            task.id = %delivery.config.task_id,
            push.id = %delivery.config.id,
            push.host = host_of(delivery),
            failures,
            why,
            next = %at,
            "push notification put off",
        );
        self.confirm(|| self.store.delay_delivery(delivery.id, at)).await;
    }

    /// Writes until the store has it: before that, the same delivery would be due again.
    async fn confirm<'a>(&'a self, write: impl Fn() -> StoreFuture<'a, ()>) {
        let mut failures = 0;
        while let Err(error) = write().await {
            if failures == 0 {
                tracing::error!(%error, "what became of a push notification cannot be stored yet");
            }
            let pause = tokio::time::sleep(backoff(failures, STORE_PAUSE));
            if self.host.shutdown().run_until_cancelled(pause).await.is_none() {
                return;
            }
            failures += 1;
        }
    }
}

impl InHand {
    /// Starts a send, unless one of its configuration or enough of its host are under way.
    fn start(&mut self, sender: &Arc<Sender>, delivery: Delivery) {
        let (key, host) = (key_of(&delivery), host_of(&delivery));
        let is_busy = self.of.values().any(|(known, _)| *known == key);
        let of_host = self.of.values().filter(|(_, known)| *known == host).count();
        if is_busy || of_host >= sender.options.concurrent.div_ceil(HOST_SHARE).max(1) {
            return;
        }
        let send = self.sends.spawn(sender.clone().send(delivery));
        self.of.insert(send.id(), (key, host));
    }

    async fn one_done(&mut self) {
        if let Some(done) = self.sends.join_next_with_id().await {
            let id = done.map_or_else(|error| error.id(), |(id, ())| id);
            self.of.remove(&id);
        }
    }

    fn clear_done(&mut self) {
        while let Some(done) = self.sends.try_join_next_with_id() {
            let id = done.map_or_else(|error| error.id(), |(id, ())| id);
            self.of.remove(&id);
        }
    }

    async fn all_done(&mut self) {
        while !self.sends.is_empty() {
            self.one_done().await;
        }
    }
}

fn rest(now: Timestamp, at: Timestamp) -> Duration {
    let until = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    until.clamp(SHORTEST_REST, LONGEST_REST)
}

fn key_of(delivery: &Delivery) -> Key {
    (delivery.config.task_id.clone(), delivery.config.id.clone())
}

/// For logs and bounds: a URL may hold secrets, its host does not.
fn host_of(delivery: &Delivery) -> String {
    let url = Url::parse(&delivery.config.url).ok();
    url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}
