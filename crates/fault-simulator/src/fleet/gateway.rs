//! The gateway: each replica one worker, in front of them a bounded queue. A full queue is a 503.

use std::collections::VecDeque;

use rand::Rng;
use rand::rngs::StdRng;

use super::stats::HttpStats;
use super::{Millis, Request};

/// Mean time a worker needs for a request (handshake, authentication, routing), spread ±40 %.
const WORK_MS: f64 = 36.0;

#[derive(Clone, Debug, Default)]
pub(crate) struct Gateway {
    pub(crate) http: HttpStats,
    busy: Vec<(Millis, Request)>,
    queue: VecDeque<Request>,
}

impl Gateway {
    pub(crate) fn busy(&self) -> usize {
        self.busy.len()
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Takes a request in, or rejects it when the queue is full.
    pub(crate) fn admit(&mut self, request: Request, queue_places: usize) -> bool {
        if self.queue.len() < queue_places {
            self.queue.push_back(request);
            return true;
        }
        self.http.record(503, 1);
        false
    }

    /// Lets `workers` work until `now`; returns the requests to forward.
    pub(crate) fn work(&mut self, now: Millis, workers: usize, rng: &mut StdRng) -> Vec<Request> {
        let done: Vec<Request> =
            self.busy.extract_if(.., |(at, _)| *at <= now).map(|(_, request)| request).collect();
        while self.busy.len() < workers {
            let Some(request) = self.queue.pop_front() else { break };
            let work = WORK_MS * rng.random_range(0.6..1.4);
            self.busy.push((now + work as u64, request));
        }
        done
    }

    /// Answers the client. An upstream slower than `upstream_timeout` has become a 504.
    pub(crate) fn finish(
        &mut self,
        request: Request,
        status: u16,
        now: Millis,
        upstream_timeout: u64,
    ) {
        let upstream = now.saturating_sub(request.forwarded);
        if upstream > upstream_timeout {
            let total = request.forwarded - request.arrived + upstream_timeout;
            self.http.record(504, total);
        } else {
            self.http.record(status, now - request.arrived);
        }
    }
}
