//! Counters and histograms of the simulated programs.

use std::collections::BTreeMap;

/// Upper bounds in seconds, shared by all duration histograms.
pub(crate) const BUCKETS: [f64; 11] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    pub(crate) counts: [u64; BUCKETS.len()],
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

impl Histogram {
    pub(crate) fn observe_ms(&mut self, ms: u64) {
        let seconds = ms as f64 / 1000.0;
        self.count += 1;
        self.sum += seconds;
        if let Some(bucket) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.counts[bucket] += 1;
        }
    }
}

/// What a server that answers HTTP requests counts.
#[derive(Clone, Debug, Default)]
pub struct HttpStats {
    pub(crate) requests: BTreeMap<u16, u64>,
    pub(crate) duration: Histogram,
}

impl HttpStats {
    pub(crate) fn record(&mut self, status: u16, ms: u64) {
        *self.requests.entry(status).or_default() += 1;
        self.duration.observe_ms(ms);
    }

    /// Requests answered with `status` since the last restart.
    pub fn with_status(&self, status: u16) -> u64 {
        self.requests.get(&status).copied().unwrap_or_default()
    }

    /// Requests answered since the last restart.
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}
