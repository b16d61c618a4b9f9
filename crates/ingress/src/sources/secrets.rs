//! The live secrets of one way to authenticate. What is shown is compared with all of them, by
//! digests and in constant time, so that no answer tells how near a guess was.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use service::{Process, Secret, WatchedSecret};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// A secret that can be guessed protects nothing.
pub(super) const SECRET_CHARACTERS: usize = 16;

#[derive(Debug)]
pub(super) struct Secrets(Vec<Arc<WatchedSecret>>);

impl Secrets {
    /// Opens the files; all but the first may be absent.
    pub(super) fn open(process: &Process, way: &str, files: &[PathBuf]) -> anyhow::Result<Self> {
        let open = |(index, file): (usize, &PathBuf)| {
            WatchedSecret::open(process, file, index > 0, is_long_enough)
                .with_context(|| format!("`{way}.files[{index}]`"))
        };
        files.iter().enumerate().map(open).collect::<anyhow::Result<_>>().map(Self)
    }

    /// Whether this is one of them.
    pub(super) fn hold(&self, shown: &[u8]) -> Choice {
        self.any(|secret| same(secret.reveal().as_bytes(), shown))
    }

    /// Whether something is true of one of them; all are asked.
    pub(super) fn any(&self, is_it: impl Fn(&Secret) -> Choice) -> Choice {
        let live = self.0.iter().filter_map(|file| file.get());
        live.fold(Choice::from(0), |found, secret| found | is_it(&secret))
    }
}

/// Whether two texts are the same, of whatever length they are.
pub(super) fn same(one: &[u8], other: &[u8]) -> Choice {
    Sha256::digest(one).ct_eq(&Sha256::digest(other))
}

fn is_long_enough(secret: &str) -> Result<(), String> {
    if secret.len() < SECRET_CHARACTERS {
        return Err(format!("holds a secret of fewer than {SECRET_CHARACTERS} characters"));
    }
    Ok(())
}
