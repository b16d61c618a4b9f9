//! What happened, in order: one hash over all of it, by which two runs are compared, and the lines
//! themselves for who wants to read them.

use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::time::Time;

#[derive(Clone, Debug)]
pub(super) struct Journal {
    time: Time,
    is_printed: bool,
    hash: Arc<Mutex<Sha256>>,
}

impl Journal {
    pub(super) fn new(time: Time, is_printed: bool) -> Self {
        Self { time, is_printed, hash: Arc::default() }
    }

    pub(super) fn write(&self, line: &str) {
        let line = format!("{:>10.3} {line}", self.time.passed().as_secs_f64());
        if self.is_printed {
            println!("{line}");
        }
        let mut hash = self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        hash.update(&line);
        hash.update("\n");
    }

    pub(super) fn hash(&self) -> String {
        let hash = self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        hex::encode(hash.clone().finalize())
    }
}
