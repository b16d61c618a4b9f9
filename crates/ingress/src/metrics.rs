//! What ingress counts.

use std::sync::atomic::AtomicU64;

use incident::AlertStatus;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use service::Metrics;

use crate::engine::Work;
use crate::sources::Reason;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct DeliveryLabel {
    pub(crate) source: String,
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

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct AlertLabel {
    source: String,
    status: &'static str,
}

impl AlertLabel {
    pub(crate) fn new(source: &str, status: AlertStatus) -> Self {
        let status = match status {
            AlertStatus::Firing => "firing",
            AlertStatus::Resolved => "resolved",
        };
        Self { source: source.to_owned(), status }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusalLabel {
    source: String,
    reason: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct RefusalMetrics(Family<RefusalLabel, Counter>);

impl RefusalMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let help = "Webhook requests that were refused for who sent them";
        Self(metrics.register("webhook_refusals", help, Family::default()))
    }

    pub(crate) fn count(&self, source: &str, reason: Reason) {
        let label = RefusalLabel { source: source.to_owned(), reason: reason.name() };
        self.0.get_or_create(&label).inc();
    }
}

#[derive(Clone, Debug)]
pub(crate) struct IngressMetrics {
    pub(crate) deliveries: Family<DeliveryLabel, Counter>,
    pub(crate) phases_entered: Family<PhaseLabel, Counter>,
    given_up: Family<WorkLabel, Counter>,
    dead_letters: Family<WorkLabel, Gauge>,
    pub(crate) queue_depth: Gauge,
    pub(crate) oldest_age: Gauge<f64, AtomicU64>,
    pub(crate) batch_deliveries: Histogram,
    pub(crate) batch_seconds: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) repeats: Counter,
    pub(crate) alerts: Family<AlertLabel, Counter>,
    shed: Family<ClassLabel, Counter>,
}

impl IngressMetrics {
    pub(crate) fn dead_letters_of(&self, work: Work) -> Gauge {
        self.dead_letters.get_or_create_owned(&WorkLabel { work: work.name() })
    }

    pub(crate) fn given_up_of(&self, work: Work) -> Counter {
        self.given_up.get_or_create_owned(&WorkLabel { work: work.name() })
    }

    pub(crate) fn shed_of(&self, class: &'static str) -> Counter {
        self.shed.get_or_create_owned(&ClassLabel { class })
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
            queue_depth: metrics.register(
                "intake_queue_depth",
                "Deliveries that wait to be taken in, or are being counted",
                Gauge::default(),
            ),
            oldest_age: metrics.register(
                "intake_oldest_age_seconds",
                "How long the oldest delivery that waits has waited",
                Gauge::default(),
            ),
            batch_deliveries: metrics.register(
                "intake_batch_deliveries",
                "Deliveries that a lane took together, to count or to decide",
                Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            ),
            batch_seconds: metrics.register(
                "intake_batch_seconds",
                "Time from taking a batch until it is stored or fails",
                Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            ),
            commit_seconds: metrics.register(
                "commit_seconds",
                "Time of a commit, from its request to its answer",
                Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            ),
            repeats: metrics.register(
                "alert_repeats",
                "Reports that said what was known",
                Counter::default(),
            ),
            alerts: metrics.register(
                "alert_reports",
                "Reports of alerts that were stored, by source and status",
                Family::default(),
            ),
            shed: metrics.register(
                "intake_shed",
                "Deliveries that were answered 503 as there was no room, by class",
                Family::default(),
            ),
        }
    }
}
