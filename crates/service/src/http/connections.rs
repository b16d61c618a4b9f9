//! The open connections of one listener: what each waits for, how long that may last, and which are
//! closed first when there are too many. Whoever waits longest for its own client goes first, so that
//! any number of silent clients takes no place from one that speaks.
//!
//! Time is counted in ticks of the listener; within a tick, what came later has the greater moment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::connection::{Connection, Order, Phase};
use super::limits::ConnectionLimits;
use crate::metrics::{ConnectionMetrics, Why};

/// One of so many is closed when there are too many: looking for them costs a walk over all.
const SHARE_CLOSED: usize = 128;
/// Moments of one tick.
const MOMENTS: u64 = 1 << 20;
/// How long what a client still sends is thrown away after the last answer, so that the answer
/// reaches it.
const CLOSING: Duration = Duration::from_secs(2);

/// All connections of a listener.
#[derive(Debug)]
pub(super) struct Connections {
    limits: ConnectionLimits,
    /// One tick.
    tick: Duration,
    now: Arc<AtomicU64>,
    metrics: ConnectionMetrics,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// In order of arrival.
    by_number: BTreeMap<u64, Arc<Connection>>,
    /// Closed or refused for want of room since the last tick.
    crowded_out: u64,
}

impl Connections {
    pub(super) fn new(limits: ConnectionLimits, metrics: ConnectionMetrics) -> Self {
        let tick = limits.tick();
        Self { limits, tick, now: Arc::default(), metrics, open: Mutex::default() }
    }

    pub(super) fn tick(&self) -> Duration {
        self.tick
    }

    pub(super) fn are_none(&self) -> bool {
        self.lock().by_number.is_empty()
    }

    /// Takes a connection in, if need be in place of others. `None`: each of the others is busy.
    pub(super) fn admit(self: &Arc<Self>, peer: SocketAddr, phase: Phase) -> Option<Admitted> {
        let mut open = self.lock();
        if open.by_number.len() >= self.limits.open {
            self.make_room(&mut open, |phase, _| phase.is_silent());
        }
        if open.by_number.len() >= self.limits.open {
            self.make_room(&mut open, |phase, ticks| phase.is_lasting() && ticks > 1);
        }
        if open.by_number.len() >= self.limits.open {
            open.crowded_out += 1;
            self.metrics.closed(Why::Refused);
            return None;
        }
        let connection = Arc::new(Connection::new(peer, phase, self.now.clone()));
        let number = open.next;
        open.next += 1;
        open.by_number.insert(number, connection.clone());
        self.metrics.open.inc();
        Some(Admitted { connection, number, among: self.clone() })
    }

    /// Closes some of the connections that wait longest for their clients.
    pub(super) fn shed(&self) {
        self.make_room(&mut self.lock(), |phase, _| phase.is_silent());
    }

    /// Closes some of the clients that are slowest with their bodies, if they are slow at all.
    pub(super) fn shed_bodies(&self) {
        self.make_room(&mut self.lock(), |phase, ticks| phase == Phase::Body && ticks > 1);
    }

    fn make_room(&self, open: &mut Open, yields: impl Fn(Phase, u64) -> bool) {
        let now = self.now.load(Ordering::Relaxed);
        let mut waiting: Vec<(u64, u64)> = open
            .by_number
            .iter()
            .filter_map(|(number, connection)| {
                let (phase, since) = connection.state();
                yields(phase, ticks(since, now)).then_some((since, *number))
            })
            .collect();
        let count = self.limits.open.div_ceil(SHARE_CLOSED);
        if waiting.len() > count {
            waiting.select_nth_unstable(count);
            waiting.truncate(count);
        }
        for (_, number) in waiting {
            open.crowded_out += 1;
            self.close(open, number, Why::Room);
        }
    }

    /// Closes whoever has kept us waiting for too long.
    pub(super) fn sweep(&self) {
        let now = self.now.fetch_add(MOMENTS, Ordering::Relaxed) + MOMENTS;
        let mut open = self.lock();
        let late: Vec<(u64, Why)> = open
            .by_number
            .iter()
            .filter_map(|(number, connection)| {
                let (phase, since) = connection.state();
                (ticks(since, now) > self.ticks_of(phase)?).then(|| (*number, phase.why()))
            })
            .collect();
        for (number, why) in late {
            self.close(&mut open, number, why);
        }
        let crowded_out = std::mem::take(&mut open.crowded_out);
        if crowded_out > 0 {
            let open = open.by_number.len();
            tracing::warn!(crowded_out, open, "connections closed for want of room");
        }
    }

    /// How many whole ticks a phase may last; `None`: as long as it takes.
    fn ticks_of(&self, phase: Phase) -> Option<u64> {
        let limits = &self.limits;
        let allowed = match phase {
            Phase::Handshake | Phase::Head => limits.head(),
            Phase::Body => limits.body(),
            Phase::Answer | Phase::Stream => return None,
            Phase::Reader => limits.reader(),
            Phase::Idle => limits.idle(),
            Phase::Closing => CLOSING,
        };
        u64::try_from(allowed.as_nanos().div_ceil(self.tick.as_nanos())).ok()
    }

    fn close(&self, open: &mut Open, number: u64, why: Why) {
        if let Some(connection) = open.by_number.remove(&number) {
            tracing::debug!(peer = %connection.peer, waited_for = ?connection.phase(), "connection closed");
            self.metrics.closed(why);
            connection.give(Order::Close);
        }
    }

    /// Asks every connection to end when what is in hand is answered.
    pub(super) fn finish_all(&self) {
        for connection in self.lock().by_number.values() {
            connection.give(Order::Finish);
        }
    }

    /// Ends every connection, and says how many there were.
    pub(super) fn close_all(&self) -> usize {
        let open = self.lock();
        for connection in open.by_number.values() {
            connection.give(Order::Close);
        }
        open.by_number.len()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no panic while it is held")
    }
}

/// The ticks from one moment to another.
fn ticks(since: u64, now: u64) -> u64 {
    (now / MOMENTS).saturating_sub(since / MOMENTS)
}

/// A connection's place among the others, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) connection: Arc<Connection>,
    number: u64,
    among: Arc<Connections>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.among.lock().by_number.remove(&self.number);
        self.among.metrics.open.dec();
    }
}
