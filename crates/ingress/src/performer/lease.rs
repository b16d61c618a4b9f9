//! Keeps this replica's lease alive. When it was lost, everything claimed under it is another's to
//! do: what is performed stops, and begins anew with what is claimed from then on.

use std::sync::Arc;

use store::StoreError;
use tokio_util::sync::CancellationToken;

use super::Performer;
use crate::engine::Work;

impl Performer {
    pub(super) async fn keep_lease(self: Arc<Self>) {
        let config = &self.engine.config;
        let (lease, beat) = (config.lease(), config.beat());
        let clock = self.engine.process.clock();
        let mut renewed = clock.instant();
        loop {
            clock.sleep(beat).await;
            let asked = clock.instant();
            match self.engine.store.heartbeat(lease).await {
                Ok(()) => {
                    renewed = asked;
                    self.engine.process.health().pass("lease");
                }
                Err(StoreError::Lost { .. }) => {
                    tracing::warn!("the lease was lost: what was claimed under it begins anew");
                    renewed = asked;
                    self.begin_anew().await;
                }
                Err(error) => {
                    tracing::error!(?error, "the lease was not renewed");
                    self.engine.process.health().fail("lease", error.to_string());
                    if clock.instant().duration_since(renewed) > lease {
                        self.begin_anew().await;
                    }
                }
            }
        }
    }

    async fn begin_anew(&self) {
        self.renew_token().cancel();
        // What was claimed since, already under the next lease, is free again: nobody performs it.
        let held = self.places.take_all();
        if let Err(error) = self.engine.store.release_outbox(held).await {
            Work::ALL.into_iter().for_each(|work| self.places.doubt(work));
            tracing::warn!(?error, "rows were not given back");
        }
        self.engine.wake.ring_all();
    }

    /// What is performed from now on hears of the end of another lease; returns the token of this one.
    fn renew_token(&self) -> CancellationToken {
        let mut lease = self.lease.lock().expect("no panic while the lease is held");
        std::mem::replace(&mut *lease, CancellationToken::new())
    }
}
