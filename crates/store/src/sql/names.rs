//! Names that a replica has for as long as it lives. A file has one process, which has them all.

use super::SqlStore;
use super::owner::{self, lives};
use crate::database::{Database, params};
use crate::{Claim, StoreError};

impl SqlStore {
    pub(super) async fn claim_name(&self, name: String) -> Result<Claim, StoreError> {
        if let Database::Sqlite { .. } = self.database {
            return Ok(Claim::Held);
        }
        let (mine, theirs) = (lives("$2"), lives("claim.replica"));
        let sql = format!(
            "INSERT INTO claim (name, replica) SELECT $1, $2 WHERE {mine} \
             ON CONFLICT (name) DO UPDATE SET replica = excluded.replica \
               WHERE claim.replica = excluded.replica OR NOT {theirs} RETURNING name"
        );
        let me = self.owner.key();
        if !self.database.fetch(sql, params![&*name, &*me]).await?.is_empty() {
            return Ok(Claim::Held);
        }
        let sql = format!("SELECT 1 WHERE {}", lives("$1"));
        match self.database.fetch(sql, params![&*me]).await?.is_empty() {
            true => Err(owner::lost()),
            false => Ok(Claim::Busy),
        }
    }

    pub(super) async fn unclaim_name(&self, name: String) -> Result<(), StoreError> {
        if let Database::Postgres { .. } = self.database {
            let sql = "DELETE FROM claim WHERE name = $1 AND replica = $2";
            self.database.fetch(sql, params![&*name, &*self.owner.key()]).await?;
        }
        Ok(())
    }
}
