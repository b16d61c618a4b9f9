//! Hints of other replicas that there may be something to do. They may be lost: whoever waits for
//! one looks for himself from time to time as well.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::owner::Owner;

/// How long to wait before listening again after the connection is lost.
const PAUSE: Duration = Duration::from_secs(1);
/// Tells the other replicas of this schema; `$1` is who says so.
pub(super) const TELL: &str = "SELECT pg_notify('firebreak_' || md5(current_schema()), $1)";

#[derive(Debug, Default)]
pub(super) struct Hints {
    given: Arc<Notify>,
    stopped: CancellationToken,
    tasks: TaskTracker,
}

impl Hints {
    pub(super) fn listen(&self, pool: PgPool, owner: Arc<Owner>) {
        let (given, stopped) = (self.given.clone(), self.stopped.clone());
        self.tasks.spawn(async move {
            let listening = async {
                loop {
                    // What was said meanwhile is unknown.
                    given.notify_one();
                    let _ = listen(&pool, &owner, &given).await;
                    tokio::time::sleep(PAUSE).await;
                }
            };
            stopped.run_until_cancelled(listening).await;
        });
    }

    pub(super) async fn next(&self) {
        self.given.notified().await;
    }

    pub(super) async fn close(&self) {
        self.stopped.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn listen(pool: &PgPool, owner: &Owner, given: &Notify) -> Result<(), sqlx::Error> {
    let channel: String =
        sqlx::query_scalar("SELECT 'firebreak_' || md5(current_schema())").fetch_one(pool).await?;
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(&channel).await?;
    loop {
        if listener.recv().await?.payload() != owner.key() {
            given.notify_one();
        }
    }
}
