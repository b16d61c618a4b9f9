//! What ingress counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use service::Metrics;

use crate::engine::Work;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Delivery {
    pub(crate) source: &'static str,
    pub(crate) status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct PhaseLabel {
    pub(crate) phase: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WorkLabel {
    work: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct IngressMetrics {
    pub(crate) deliveries: Family<Delivery, Counter>,
    pub(crate) phases_entered: Family<PhaseLabel, Counter>,
    given_up: Family<WorkLabel, Counter>,
    dead_letters: Family<WorkLabel, Gauge>,
}

impl IngressMetrics {
    pub(crate) fn dead_letters_of(&self, work: Work) -> Gauge {
        self.dead_letters.get_or_create_owned(&WorkLabel { work: work.name() })
    }

    pub(crate) fn given_up_of(&self, work: Work) -> Counter {
        self.given_up.get_or_create_owned(&WorkLabel { work: work.name() })
    }

    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            deliveries: metrics.register(
                "webhook_deliveries",
                "Webhook requests by source and answered status",
                Family::default(),
            ),
            phases_entered: metrics.register(
                "incident_phases_entered",
                "Incidents that entered a phase",
                Family::default(),
            ),
            given_up: metrics.register(
                "effects_given_up",
                "Effects that became a dead letter",
                Family::default(),
            ),
            dead_letters: metrics.register(
                "dead_letters",
                "Effects that were given up and wait for somebody to replay them",
                Family::default(),
            ),
        }
    }
}
