//! Closed-loop load: each connection sends its next request when it has its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::http::Connection;
use crate::stats::Latencies;

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Elapsed(Duration),
    Requests(u64),
}

/// What to send, where, and what must be in each answer.
#[derive(Clone, Debug)]
pub struct Load {
    pub address: SocketAddr,
    pub connections: usize,
    pub request: Vec<u8>,
    pub expected: &'static str,
}

#[derive(Debug)]
pub struct Report {
    pub latencies: Latencies,
    pub elapsed: Duration,
}

impl Report {
    /// Requests a second.
    #[expect(clippy::cast_precision_loss, reason = "far fewer requests than 2^52")]
    pub fn rate(&self) -> f64 {
        self.latencies.count() as f64 / self.elapsed.as_secs_f64()
    }
}

impl Load {
    /// # Errors
    /// A connection fails, or an answer is not what is expected.
    pub async fn run(&self, until: Until) -> anyhow::Result<Report> {
        let started = Instant::now();
        let sent = Arc::new(AtomicU64::new(0));
        let mut connections = tokio::task::JoinSet::new();
        for _ in 0..self.connections {
            let (load, sent) = (self.clone(), sent.clone());
            connections.spawn(async move { load.one(until, started, &sent).await });
        }
        let mut all = Vec::new();
        while let Some(done) = connections.join_next().await {
            all.extend(done??);
        }
        Ok(Report { latencies: Latencies::new(all), elapsed: started.elapsed() })
    }

    async fn one(
        &self,
        until: Until,
        started: Instant,
        sent: &AtomicU64,
    ) -> anyhow::Result<Vec<Duration>> {
        let mut connection = Connection::open(self.address).await?;
        let mut latencies = Vec::new();
        loop {
            let number = sent.fetch_add(1, Ordering::Relaxed);
            let is_over = match until {
                Until::Elapsed(limit) => started.elapsed() >= limit,
                Until::Requests(limit) => number >= limit,
            };
            if is_over {
                return Ok(latencies);
            }
            latencies.push(connection.call(&self.request, self.expected).await?);
        }
    }
}
