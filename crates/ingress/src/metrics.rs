//! What ingress counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use service::Metrics;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Delivery {
    pub(crate) source: &'static str,
    pub(crate) status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct PhaseLabel {
    pub(crate) phase: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct IngressMetrics {
    pub(crate) deliveries: Family<Delivery, Counter>,
    pub(crate) phases_entered: Family<PhaseLabel, Counter>,
}

impl IngressMetrics {
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
        }
    }
}
