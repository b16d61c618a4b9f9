//! How a program keeps its lease, on which everything that it claimed stays its own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{Store, StoreError};

/// Says three times in each lease that this replica lives, until `stop`. `sleep` is by a clock that
/// does not jump. A failure goes to `failed`, and the next sign of life is given as usual.
pub async fn keep_alive<S, F>(
    store: Arc<dyn Store>,
    lease: Duration,
    sleep: S,
    failed: impl Fn(StoreError),
    stop: CancellationToken,
) where
    S: Fn(Duration) -> F,
    F: Future<Output = ()>,
{
    while stop.run_until_cancelled(sleep(lease / 3)).await.is_some() {
        if let Err(error) = store.heartbeat(lease).await {
            failed(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::{Call, Fault, Faults, MemoryDatabase, OpenOptions};

    #[tokio::test]
    async fn signs_of_life_go_on_after_a_failure_and_end_with_their_program() {
        let database = MemoryDatabase::new();
        let time = Arc::new(|| "2026-01-01T00:00:00Z".parse().unwrap());
        let this = (String::new(), 0, 0);
        let lease = Duration::from_secs(9);
        let options = OpenOptions::of_process("one".into(), this, |_, _, _| false, lease, time);
        let store = database.open("agent", options);
        let calls = Arc::new(AtomicU32::new(0));
        let counted = calls.clone();
        database.set_faults(Faults::new(move |call: Call<'_>| {
            let is_first = call.name == "heartbeat" && counted.fetch_add(1, Ordering::SeqCst) == 0;
            is_first.then_some(Fault::Away)
        }));
        let (failures, pauses) = (Mutex::new(0), Mutex::new(Vec::new()));
        let stop = CancellationToken::new();
        let sleep = |pause| {
            pauses.lock().unwrap().push(pause);
            if pauses.lock().unwrap().len() > 3 {
                stop.cancel();
            }
            tokio::task::yield_now()
        };
        let failed = |_| *failures.lock().unwrap() += 1;
        keep_alive(store, lease, sleep, failed, stop.clone()).await;
        assert_eq!((calls.load(Ordering::SeqCst), *failures.lock().unwrap()), (3, 1));
        assert_eq!(pauses.into_inner().unwrap()[0], Duration::from_secs(3));
    }
}
