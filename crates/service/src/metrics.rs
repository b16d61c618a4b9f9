//! One registry per program, served at `/metrics`.

use std::sync::Mutex;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    pub(crate) connections: ConnectionMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("firebreak");
        let connections = ConnectionMetrics::default();
        connections.register(&mut registry);
        Self { registry: Mutex::new(registry), connections }
    }
}

impl Metrics {
    /// Registers a family and hands it back. Names leave out `_total`, which the format adds.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.registry.lock().expect("no panic while metrics are registered").register(
            name,
            help,
            metric.clone(),
        );
        metric
    }

    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().expect("no panic while metrics are registered");
        prometheus_client::encoding::text::encode(&mut text, &registry)
            .expect("writing to a string cannot fail");
        text
    }
}

/// Connections of all listeners of a program.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionMetrics {
    pub(crate) open: Gauge,
    closed: Family<Closed, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Closed {
    why: Why,
}

/// Why a connection was closed that its client had not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Why {
    /// Its TLS handshake took too long.
    Handshake,
    /// So did the head of a request.
    Head,
    /// So did the body of one.
    Body,
    /// It did not read its answer.
    Reader,
    /// It asked nothing more.
    Idle,
    /// Another one needed its place.
    Room,
    /// It found no place.
    Refused,
}

impl ConnectionMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Open connections of clients.", self.open.clone());
        registry.register(
            "connections_closed",
            "Connections that clients had not closed, by why they were.",
            self.closed.clone(),
        );
    }

    pub(crate) fn closed(&self, why: Why) {
        self.closed.get_or_create(&Closed { why }).inc();
    }
}
