//! What is counted of reconciliation.

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use service::Metrics;

use super::Outcome;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SourceLabel {
    source: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RoundLabel {
    source: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FoundLabel {
    source: String,
    found: &'static str,
}

#[derive(Clone, Debug)]
pub(super) struct Counts {
    rounds: Family<RoundLabel, Counter>,
    last_whole: Family<SourceLabel, Gauge>,
    found: Family<FoundLabel, Counter>,
}

impl Counts {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            rounds: metrics.register(
                "reconciliation_rounds",
                "Rounds of questions to the Alertmanagers of a source, by what became of them",
                Family::default(),
            ),
            last_whole: metrics.register(
                "reconciliation_last_whole_timestamp_seconds",
                "When the last round of this process began after which nothing differed",
                Family::default(),
            ),
            found: metrics.register(
                "reconciliation_alerts",
                "Alerts that webhooks had not told the truth about, by what was found",
                Family::default(),
            ),
        }
    }

    pub(super) fn round(&self, source: &str, outcome: Outcome, asked_at: Timestamp) {
        let label = RoundLabel { source: source.to_owned(), outcome: outcome.name() };
        self.rounds.get_or_create(&label).inc();
        if outcome == Outcome::Whole {
            let label = SourceLabel { source: source.to_owned() };
            self.last_whole.get_or_create(&label).set(asked_at.as_second());
        }
    }

    pub(super) fn found(&self, source: &str, found: &'static str, count: usize) {
        if count > 0 {
            let label = FoundLabel { source: source.to_owned(), found };
            self.found.get_or_create(&label).inc_by(count as u64);
        }
    }
}
