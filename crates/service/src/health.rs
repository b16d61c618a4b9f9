//! Liveness and readiness. A process is ready when every check a program registered passes and it
//! is not draining; a failing check is named in the answer.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Default)]
pub struct Health {
    draining: AtomicBool,
    failing: Mutex<BTreeMap<&'static str, String>>,
}

impl Health {
    /// Marks a named check as failing, with the reason shown to operators.
    pub fn fail(&self, check: &'static str, reason: impl Into<String>) {
        self.lock().insert(check, reason.into());
    }

    pub fn pass(&self, check: &'static str) {
        self.lock().remove(check);
    }

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// `Ok` when ready, else the checks that fail.
    ///
    /// # Errors
    /// The failing checks by name.
    pub fn ready(&self) -> Result<(), BTreeMap<&'static str, String>> {
        let mut failing = self.lock().clone();
        if self.draining.load(Ordering::Acquire) {
            failing.insert("draining", "shutdown has begun".into());
        }
        if failing.is_empty() { Ok(()) } else { Err(failing) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.failing.lock().expect("no panic while checks are held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_the_failing_check() {
        let health = Health::default();
        assert!(health.ready().is_ok());
        health.fail("store", "disk full");
        assert_eq!(health.ready().unwrap_err()["store"], "disk full");
        health.pass("store");
        assert!(health.ready().is_ok());
        health.set_draining();
        assert!(health.ready().is_err());
    }
}
