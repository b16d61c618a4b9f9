//! The database and the connection pool in front of it. A request waits for a connection at most
//! the acquire timeout; queries hold theirs for as long as they take.

use std::collections::{BTreeMap, VecDeque};

use rand::Rng;
use rand::rngs::StdRng;

use super::stats::Histogram;
use super::{Millis, Request, chance};

/// A query takes this long, plus an exponential time with mean `QUERY_MEAN_MS`.
const QUERY_LEAST_MS: f64 = 20.0;
const QUERY_MEAN_MS: f64 = 60.0;
/// How long one query keeps the contended lock of `fix_that_fails`.
const LOCK_HELD_MS: u64 = 50;
/// How soon a query that cannot get memory fails.
const OUT_OF_MEMORY_MS: u64 = 20;
/// The share of queries that write.
const WRITES: f64 = 0.2;

/// What decides how queries fare at this moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    pub(crate) pool_size: usize,
    pub(crate) acquire_timeout: u64,
    pub(crate) statement_timeout: u64,
    /// The chance that a query finds no memory.
    pub(crate) out_of_memory: f64,
    pub(crate) is_disk_full: bool,
    /// Every query waits its turn for one lock.
    pub(crate) is_locked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    AcquireTimeout,
    StatementTimeout,
    OutOfMemory,
    DiskFull,
    Unavailable,
}

impl Failure {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::AcquireTimeout => "acquire_timeout",
            Self::StatementTimeout => "statement_timeout",
            Self::OutOfMemory => "out_of_memory",
            Self::DiskFull => "disk_full",
            Self::Unavailable => "unavailable",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) request: Request,
    pub(crate) result: Result<(), Failure>,
    /// How long the query waited for the lock.
    pub(crate) lock_wait: u64,
}

#[derive(Clone, Copy, Debug)]
struct Query {
    started: Millis,
    ends: Millis,
    answer: Answer,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Database {
    pub(crate) timeouts: u64,
    pub(crate) errors: BTreeMap<&'static str, u64>,
    pub(crate) durations: Histogram,
    active: Vec<Query>,
    waiting: VecDeque<(Millis, Request)>,
    lock_free_at: Millis,
}

impl Database {
    pub(crate) fn active(&self) -> usize {
        self.active.len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Queries that wait for the lock.
    pub(crate) fn lock_waiters(&self, now: Millis) -> usize {
        self.active.iter().filter(|query| query.started + query.answer.lock_wait > now).count()
    }

    /// Asks for a connection.
    pub(crate) fn request(&mut self, request: Request, now: Millis) {
        self.waiting.push_back((now, request));
    }

    /// Ends what is due, gives up on who waited too long, starts queries on free connections.
    pub(crate) fn work(&mut self, now: Millis, on: Conditions, rng: &mut StdRng) -> Vec<Answer> {
        let ended: Vec<Query> = self.active.extract_if(.., |query| query.ends <= now).collect();
        let mut answers = Vec::with_capacity(ended.len());
        for query in ended {
            self.durations.observe_ms(now - query.started);
            if let Err(failure) = query.answer.result {
                self.count_error(failure);
            }
            answers.push(query.answer);
        }
        while self.active.len() < on.pool_size {
            let Some((_, request)) = self.waiting.pop_front() else { break };
            let query = self.begin(request, now, on, rng);
            self.active.push(query);
        }
        while let Some((since, request)) = self.waiting.front().copied() {
            if now - since < on.acquire_timeout {
                break;
            }
            self.waiting.pop_front();
            self.timeouts += 1;
            answers.push(failed(request, Failure::AcquireTimeout));
        }
        answers
    }

    fn begin(&mut self, request: Request, now: Millis, on: Conditions, rng: &mut StdRng) -> Query {
        let mut time = chance::duration_ms(rng, QUERY_LEAST_MS, QUERY_MEAN_MS);
        let mut result = Ok(());
        let mut lock_wait = 0;
        if on.is_locked {
            let locked_at = self.lock_free_at.max(now);
            lock_wait = locked_at - now;
            self.lock_free_at = locked_at + LOCK_HELD_MS;
            time = lock_wait + LOCK_HELD_MS;
        }
        if rng.random_bool(on.out_of_memory) {
            (time, result) = (OUT_OF_MEMORY_MS, Err(Failure::OutOfMemory));
        } else if on.is_disk_full && rng.random_bool(WRITES) {
            result = Err(Failure::DiskFull);
        } else if time > on.statement_timeout {
            (time, result) = (on.statement_timeout, Err(Failure::StatementTimeout));
        }
        let answer = Answer { request, result, lock_wait };
        Query { started: now, ends: now + time, answer }
    }

    /// Fails everything in hand: the server went away.
    pub(crate) fn drop_connections(&mut self) -> Vec<Answer> {
        let requests = self.abandon();
        requests.into_iter().map(|request| self.refuse(request)).collect()
    }

    /// Fails one request while the server is away.
    pub(crate) fn refuse(&mut self, request: Request) -> Answer {
        self.count_error(Failure::Unavailable);
        failed(request, Failure::Unavailable)
    }

    /// Forgets everything in hand: the clients went away. Returns whose requests they were.
    pub(crate) fn abandon(&mut self) -> Vec<Request> {
        self.lock_free_at = 0;
        let active = self.active.drain(..).map(|query| query.answer.request);
        active.chain(self.waiting.drain(..).map(|(_, request)| request)).collect()
    }

    fn count_error(&mut self, failure: Failure) {
        *self.errors.entry(failure.reason()).or_default() += 1;
    }
}

fn failed(request: Request, failure: Failure) -> Answer {
    Answer { request, result: Err(failure), lock_wait: 0 }
}
