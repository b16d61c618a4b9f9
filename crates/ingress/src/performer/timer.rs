//! What happens by the clock: deadlines, rows put off, tickets that could not be told. Beside that,
//! the net under every ring that is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use store::{DeadLetter, StoreError};

use super::{Performer, RECOVERY};
use crate::engine::{IDLE, Work};

/// The least time between two answers to other replicas' hints.
const HINTS: Duration = Duration::from_millis(100);
/// The longest time without a look at every kind of work, while there are reminders all the time.
const RING: Duration = Duration::from_secs(1);
/// Time between two looks at the dead letters.
const LETTERS: Duration = Duration::from_secs(30);
/// Dead letters read at a time.
const PAGE: u32 = 500;

impl Performer {
    pub(super) async fn keep_time(self: Arc<Self>) {
        let process = &self.engine.process;
        let clock = process.clock();
        let (mut letters_at, mut rung_at) = (clock.instant(), clock.instant());
        loop {
            let pause = match self.meet_times().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(?error, "deadlines");
                    RECOVERY
                }
            };
            if letters_at <= clock.instant() {
                letters_at = clock.instant() + LETTERS.min(self.ticket_retry());
                if let Err(error) = self.look_at_letters().await {
                    tracing::error!(?error, "dead letters");
                }
            }
            self.engine.wake.timer_rests(self.engine.outbox_now(), pause, clock.sleep(pause)).await;
            // Without a reminder, something of a former process or of another is due.
            if !self.engine.wake.ring_soon() || clock.instant() - rung_at > RING {
                rung_at = clock.instant();
                self.engine.wake.ring_all();
                self.engine.wake.tell_consoles();
            }
        }
    }

    /// Meets what is overdue, and returns how long nothing else is.
    async fn meet_times(&self) -> Result<Duration, StoreError> {
        self.engine.meet_deadlines().await?;
        let now = self.engine.process.now();
        let deadline = self.engine.store.next_deadline().await?;
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(RECOVERY);
        }
        let outbox_now = self.engine.outbox_now();
        let outbox = self.engine.store.next_outbox(outbox_now).await?;
        let until_deadline = deadline.map(|due| due.duration_since(now));
        let until_outbox = outbox.map(|due| due.duration_since(outbox_now));
        let next = until_deadline.into_iter().chain(until_outbox).min();
        let wait = next.and_then(|wait| Duration::try_from(wait).ok());
        Ok(wait.unwrap_or(IDLE).clamp(Duration::from_millis(1), IDLE))
    }

    /// Other replicas' commits, as far as they are told of.
    pub(super) async fn hear_others(self: Arc<Self>) {
        loop {
            self.engine.store.hint().await;
            self.engine.wake.ring_all();
            self.engine.wake.tell_consoles();
            self.engine.process.clock().sleep(HINTS).await;
        }
    }

    /// Counts the dead letters, and has tickets told again: that a person is asked for is never given
    /// up for good.
    async fn look_at_letters(&self) -> Result<(), StoreError> {
        let now = self.engine.process.now();
        let mut counts: BTreeMap<&'static str, i64> = BTreeMap::new();
        let mut before = None;
        loop {
            let letters = self.engine.store.dead_letters(PAGE, before).await?;
            before = letters.last().map(|letter| letter.id);
            let is_last = letters.len() < PAGE as usize;
            for letter in letters {
                let Some(work) = Work::named(&letter.kind) else { continue };
                match work == Work::SyncTicket && self.is_rested(&letter, now) {
                    true => {
                        let due = self.engine.outbox_now();
                        self.engine.store.replay_dead_letter(letter.id, due).await?;
                    }
                    false => *counts.entry(work.name()).or_default() += 1,
                }
            }
            if is_last {
                break;
            }
        }
        for work in Work::ALL {
            let count = counts.get(work.name()).copied().unwrap_or_default();
            self.engine.metrics.dead_letters_of(work).set(count);
        }
        Ok(())
    }

    fn is_rested(&self, letter: &DeadLetter, now: Timestamp) -> bool {
        let rest = SignedDuration::try_from(self.ticket_retry()).unwrap_or(SignedDuration::MAX);
        now.duration_since(letter.died_at) >= rest
    }

    fn ticket_retry(&self) -> Duration {
        Duration::from_secs(self.engine.config.ticket_retry_seconds)
    }
}
