//! One registry per program, served at `/metrics`.

use std::sync::Mutex;

use prometheus_client::registry::{Metric, Registry};

#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { registry: Mutex::new(Registry::with_prefix("firebreak")) }
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
