//! One connection, as its task and its listener see it: what it waits for since when, and what the
//! listener wants of it. A request costs it a few stores, and no look at a clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::metrics::Why;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The TLS handshake.
    Handshake,
    /// The rest of a request's head.
    Head,
    /// The rest of a request's body.
    Body,
    /// A route.
    Answer,
    /// More of an answer that has begun.
    Stream,
    /// The client, to read its answer.
    Reader,
    /// The next request.
    Idle,
    /// The client, to close its end.
    Closing,
}

const PHASES: [Phase; 8] = [
    Phase::Handshake,
    Phase::Head,
    Phase::Body,
    Phase::Answer,
    Phase::Stream,
    Phase::Reader,
    Phase::Idle,
    Phase::Closing,
];

impl Phase {
    pub(super) fn why(self) -> Why {
        match self {
            Self::Handshake => Why::Handshake,
            Self::Head => Why::Head,
            Self::Body => Why::Body,
            Self::Answer | Self::Stream | Self::Reader => Why::Reader,
            Self::Idle | Self::Closing => Why::Idle,
        }
    }

    /// Nothing is in hand: such a connection gives way first.
    pub(super) fn is_silent(self) -> bool {
        matches!(self, Self::Handshake | Self::Head | Self::Idle | Self::Closing)
    }

    /// Something is in hand that can last as long as its client wants.
    pub(super) fn is_lasting(self) -> bool {
        matches!(self, Self::Body | Self::Stream | Self::Reader)
    }
}

/// What the listener wants of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Order {
    Serve,
    /// Answer what is in hand, then end.
    Finish,
    /// End now.
    Close,
}

/// One connection, as its task and the listener share it. Only its task moves its phase.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    now: Arc<AtomicU64>,
    /// The moment at which the phase began, and the phase in the lowest byte.
    state: AtomicU64,
    order: AtomicU8,
    ordered: Notify,
}

impl Connection {
    pub(super) fn new(peer: SocketAddr, phase: Phase, now: Arc<AtomicU64>) -> Self {
        let connection = Self {
            peer,
            now,
            state: AtomicU64::default(),
            order: AtomicU8::new(Order::Serve as u8),
            ordered: Notify::new(),
        };
        connection.enter(phase);
        connection
    }

    /// What it waits for, and since which moment.
    pub(super) fn state(&self) -> (Phase, u64) {
        let state = self.state.load(Ordering::Relaxed);
        (PHASES[usize::from(state.to_le_bytes()[0])], state >> 8)
    }

    pub(super) fn phase(&self) -> Phase {
        self.state().0
    }

    pub(super) fn enter(&self, phase: Phase) {
        let since = match phase {
            Phase::Idle => self.now.fetch_add(1, Ordering::Relaxed),
            _ => self.now.load(Ordering::Relaxed),
        };
        self.state.store(since << 8 | u64::from(phase as u8), Ordering::Relaxed);
    }

    /// The same, if it is in the phase `from`.
    pub(super) fn go_on(&self, from: Phase, to: Phase) {
        if self.phase() == from {
            self.enter(to);
        }
    }

    pub(super) fn give(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::Release);
        self.ordered.notify_one();
    }

    pub(super) fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::Serve,
            1 => Order::Finish,
            _ => Order::Close,
        }
    }

    /// Returns when there is another order to look at.
    pub(super) async fn ordered(&self) {
        self.ordered.notified().await;
    }
}
