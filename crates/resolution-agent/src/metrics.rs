//! What the resolution agent counts: how attempts ended, and how often it had to find out.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use service::Metrics;

use crate::resolution::step::End;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct EndLabel {
    pub(crate) end: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct ResolutionMetrics {
    attempts: Family<EndLabel, Counter>,
    pub(crate) unknown_outcomes: Counter,
    pub(crate) probes: Counter,
    pub(crate) quarantines: Counter,
}

impl ResolutionMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            attempts: metrics.register(
                "step_attempts",
                "Attempts at steps and undos by their end",
                Family::default(),
            ),
            unknown_outcomes: metrics.register(
                "unknown_outcomes",
                "Calls that gave no answer, or whose run ended before it",
                Counter::default(),
            ),
            probes: metrics.register(
                "outcome_probes",
                "Questions asked to find out what became of a call",
                Counter::default(),
            ),
            quarantines: metrics.register(
                "quarantines",
                "Targets closed until a person has looked at them",
                Counter::default(),
            ),
        }
    }

    pub(crate) fn count(&self, end: &End) {
        self.attempts.get_or_create(&EndLabel { end: end.name() }).inc();
    }
}
