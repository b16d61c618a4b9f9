//! Keeps this replica's lease alive. When it was lost, everything claimed under it is another's to
//! do: what is performed stops, and begins anew with what is claimed from then on.

use std::sync::Arc;

use store::StoreError;
use tokio_util::sync::CancellationToken;

use super::Performer;

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
                    self.begin_anew();
                }
                Err(error) => {
                    tracing::error!(?error, "the lease was not renewed");
                    self.engine.process.health().fail("lease", error.to_string());
                    if clock.instant().duration_since(renewed) > lease {
                        self.begin_anew();
                    }
                }
            }
        }
    }

    fn begin_anew(&self) {
        let mut lease = self.lease.lock().expect("no panic while the lease is held");
        lease.cancel();
        *lease = CancellationToken::new();
        drop(lease);
        self.places.clear();
        self.engine.wake.ring_all();
    }
}
