//! The hash chain of a timeline. The hash of a row covers the row before it, and the incident keeps
//! the end of the chain: so also a last row that is gone, or was added, is found.

use sha2::{Digest, Sha256};

use crate::{Base, StoreError};

pub(crate) fn link_hash(previous: &str, body: &str) -> String {
    hex::encode(Sha256::new().chain_update(previous).chain_update(body).finalize())
}

/// Follows a chain row by row, so that no more than a page of it is in memory.
#[derive(Debug, Default)]
pub(crate) struct ChainCheck {
    rows: i64,
    hash: String,
}

impl ChainCheck {
    /// Takes the next row, in order of sequence. Fails with the sequence of the first bad row.
    pub(crate) fn row(&mut self, sequence: i64, body: &str, hash: &str) -> Result<(), i64> {
        let expected = self.rows + 1;
        if sequence != expected || hash != link_hash(&self.hash, body) {
            return Err(expected.min(sequence));
        }
        self.rows = expected;
        hash.clone_into(&mut self.hash);
        Ok(())
    }

    /// Holds the end of the chain to what the incident says it is; returns how many rows there are.
    pub(crate) fn end(self, head: &Base) -> Result<i64, i64> {
        if self.rows != head.sequence {
            return Err(self.rows.min(head.sequence) + 1);
        }
        if self.hash != head.hash {
            return Err(self.rows);
        }
        Ok(self.rows)
    }
}

pub(crate) fn broken(incident: &impl ToString, sequence: i64) -> StoreError {
    StoreError::BrokenChain { incident: incident.to_string(), sequence }
}
