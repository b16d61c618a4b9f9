//! The connection that writes into a file, while it is in a transaction that sqlx does not know of:
//! whoever is not waited for, or leaves it in trouble, takes it with him.

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};

pub(super) struct Held(Option<PoolConnection<Sqlite>>);

impl Held {
    pub(super) async fn acquire(writer: &SqlitePool) -> Result<Self, sqlx::Error> {
        Ok(Self(Some(writer.acquire().await?)))
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        self.0.as_mut().expect("it is given back at the end only")
    }

    /// Gives the connection back, which is in no transaction any more.
    pub(super) fn give_back(mut self) {
        self.0.take();
    }

    /// Undoes what was written.
    pub(super) async fn undo(mut self) {
        if sqlx::query("ROLLBACK").execute(self.connection()).await.is_ok() {
            self.give_back();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}
