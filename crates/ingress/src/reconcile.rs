//! The truth over the order of arrival: every Alertmanager of a source is asked now and then which
//! alerts there are. What webhooks failed to tell is taken in like a webhook: an alert that fires, the
//! end of one that is gone. Firing anywhere is firing; gone is only what every Alertmanager answered
//! for, none lists in any state, and nobody has reported since the question began.
//!
//! Source: <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>.

mod ask;
mod compare;
#[cfg(test)]
mod convergence;
mod counts;
mod listing;
mod report;
mod round;
mod settings;
mod silenced;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use service::Process;
use tokio::sync::Notify;

use crate::engine::Engine;
use crate::routes::Api;
use crate::sources::Sources;

use ask::Peer;
use counts::Counts;
use silenced::Silenced;
use status::{RoundView, Status};

pub(crate) use settings::check_url;
pub use settings::{AlertmanagerPeer, BasicCredential, Reconciliation};

/// The least time between two rounds of a source, however often one is asked for.
const PAUSE: Duration = Duration::from_secs(1);

/// What is reconciled, by the name of the source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reconcilers(BTreeMap<String, Arc<Source>>);

/// One source and the Alertmanagers that post to it.
#[derive(Debug)]
struct Source {
    name: String,
    /// What is found counts for what the source's webhooks count for.
    is_authenticated: bool,
    settings: Reconciliation,
    peers: Vec<Peer>,
    asked_for: Notify,
    silenced: Silenced,
    status: Status,
    counts: Counts,
}

/// What became of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Whatever differed is mended.
    Whole,
    /// What fires is taken in. Nothing was called gone, as not every Alertmanager could be relied on.
    Partial,
    /// Nothing, or not all of it, was taken in.
    Failed,
    /// Another replica is at it.
    Busy,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Busy => "busy",
        }
    }
}

impl Reconcilers {
    /// # Errors
    /// A credential cannot be read.
    pub(crate) fn open(
        process: &Process,
        reconciled: BTreeMap<String, Reconciliation>,
        sources: &Sources,
    ) -> anyhow::Result<Self> {
        let counts = Counts::new(process.metrics());
        let reconciled = reconciled.into_iter().map(|(name, settings)| {
            let open = |peer: &AlertmanagerPeer| {
                let at = || format!("source {name}, Alertmanager {}", peer.url);
                Peer::open(process, peer).with_context(at)
            };
            let peers = settings.alertmanagers.iter().map(open);
            let peers: Vec<Peer> = peers.collect::<anyhow::Result<_>>()?;
            let is_authenticated =
                sources.get(&name).is_none_or(|source| source.is_authenticated());
            let source = Source {
                name: name.clone(),
                is_authenticated,
                settings,
                peers,
                asked_for: Notify::new(),
                silenced: Silenced::default(),
                status: Status::default(),
                counts: counts.clone(),
            };
            Ok((name, Arc::new(source)))
        });
        reconciled.collect::<anyhow::Result<_>>().map(Self)
    }

    /// Has a round follow soon: something was said to be missing.
    pub(crate) fn ask(&self, source: &str) {
        if let Some(source) = self.0.get(source) {
            source.asked_for.notify_one();
        }
    }

    pub(crate) fn start(&self, engine: &Arc<Engine>) {
        for source in self.0.values() {
            let (source, of) = (source.clone(), engine.clone());
            engine.process.spawn_until_shutdown(async move { source.run(&of).await });
        }
    }

    fn view(&self) -> Vec<RoundView> {
        self.0.values().map(|source| source.view()).collect()
    }
}

impl Source {
    /// A round at once, then one each interval and whenever one is asked for.
    async fn run(&self, engine: &Engine) {
        let clock = engine.process.clock();
        let interval = Duration::from_secs(self.settings.reconcile_seconds);
        let mut is_asked_for = false;
        loop {
            if self.round(engine).await == Outcome::Busy && is_asked_for {
                // The round under way may have begun before that which was told of.
                self.asked_for.notify_one();
            }
            clock.sleep(PAUSE.min(interval)).await;
            is_asked_for = tokio::select! {
                () = clock.sleep(interval.saturating_sub(PAUSE)) => false,
                () = self.asked_for.notified() => true,
            };
        }
    }

    fn view(&self) -> RoundView {
        let urls = self.peers.iter().map(|peer| peer.url().to_string());
        self.status.view(&self.name, &self.settings.receiver, urls)
    }
}

/// What the console shows too.
pub(crate) fn read_routes() -> Router<Api> {
    Router::new().route("/api/v1/reconciliation", get(show))
}

async fn show(State(api): State<Api>) -> Json<Vec<RoundView>> {
    Json(api.reconcilers.view())
}
