//! A credential whose file counts as it is now: somebody puts another into it, and a second later
//! the old one is worth nothing. Whoever asks never waits for the file, which is looked at beside.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;

use crate::{FileStamp, Process, Secret};

/// How often a file is looked at. It is read only when its size, time or identity changed.
const LOOK: Duration = Duration::from_secs(1);

/// Says what is wrong with a credential that a file holds.
pub type SecretCheck = fn(&str) -> Result<(), String>;

/// What a file says, last time it made sense.
#[derive(Debug)]
pub struct WatchedSecret {
    path: PathBuf,
    check: SecretCheck,
    state: RwLock<State>,
}

#[derive(Clone, Debug)]
struct State {
    secret: Option<Arc<Secret>>,
    stamp: Option<FileStamp>,
}

impl WatchedSecret {
    /// Reads a file that is there and makes sense, or, where `may_be_absent`, is not there yet, and
    /// looks at it until shutdown.
    ///
    /// # Errors
    /// The file is missing, cannot be read, or does not pass the check.
    pub fn open(
        process: &Process,
        path: &Path,
        may_be_absent: bool,
        check: SecretCheck,
    ) -> anyhow::Result<Arc<Self>> {
        let state = match load(path, check) {
            Err(error) if may_be_absent && is_absent(&error) => State { secret: None, stamp: None },
            loaded => loaded?,
        };
        let state = RwLock::new(state);
        let opened = Arc::new(Self { path: path.to_owned(), check, state });
        let watched = opened.clone();
        process.look_again(LOOK, move || watched.look());
        Ok(opened)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says, as far as that makes sense. Nothing where it is gone.
    pub fn get(&self) -> Option<Arc<Secret>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).secret.clone()
    }

    fn look(&self) {
        let before = self.state.read().unwrap_or_else(PoisonError::into_inner).stamp.clone();
        let stamp = FileStamp::of(&self.path).ok();
        if stamp == before {
            return;
        }
        let file = self.path.display();
        let next = match load(&self.path, self.check) {
            Ok(state) => {
                tracing::info!(%file, "secret file read again");
                state
            }
            Err(error) if is_absent(&error) => {
                tracing::warn!(%file, "secret file is gone: what it said no longer counts");
                State { secret: None, stamp: None }
            }
            Err(error) => {
                tracing::error!(error = %format!("{error:#}"), "secret file is unusable: its last content counts");
                // With its stamp, so that one unusable content is logged once.
                State { secret: self.get(), stamp }
            }
        };
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

fn is_absent(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn load(path: &Path, check: SecretCheck) -> anyhow::Result<State> {
    let what = || format!("read secret file {}", path.display());
    // Reading a pipe would wait for whoever writes into it.
    let is_file = std::fs::metadata(path).with_context(what)?.is_file();
    anyhow::ensure!(is_file, "secret file {} is no regular file", path.display());
    let stamp = FileStamp::of(path).with_context(what)?;
    let secret = Secret::from_file(path)?;
    let checked = check(secret.reveal());
    checked.map_err(|why| anyhow::anyhow!("secret file {} {why}", path.display()))?;
    Ok(State { secret: Some(Arc::new(secret)), stamp: Some(stamp) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_enough(text: &str) -> Result<(), String> {
        if text.len() < 3 { Err("is too short".into()) } else { Ok(()) }
    }

    fn says(watched: &WatchedSecret) -> Option<String> {
        watched.look();
        watched.get().map(|secret| secret.reveal().to_owned())
    }

    #[tokio::test]
    async fn another_content_counts_and_nonsense_never() {
        let process = Process::new("program");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let open = |may_be_absent| WatchedSecret::open(&process, &path, may_be_absent, long_enough);
        let error = format!("{:#}", open(false).unwrap_err());
        assert!(error.contains("read secret file") && error.contains("token"), "{error}");
        let watched = open(true).unwrap();
        assert_eq!(says(&watched), None);
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(says(&watched).as_deref(), Some("one"));
        std::fs::write(&path, "another\n").unwrap();
        assert_eq!(says(&watched).as_deref(), Some("another"));
        std::fs::write(&path, "x").unwrap();
        assert_eq!(says(&watched).as_deref(), Some("another"));
        assert!(format!("{:#}", open(true).unwrap_err()).ends_with("token is too short"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(says(&watched), None);
        assert!(!format!("{watched:?}").contains("another"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_looked_at_beside_whoever_asks() {
        let process = Process::new("program");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let watched = WatchedSecret::open(&process, &path, true, long_enough).unwrap();
        std::fs::write(&path, "one\n").unwrap();
        let change = async {
            while watched.get().is_none() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), change).await.unwrap();
        process.shut_down(Duration::from_secs(10)).await.unwrap();
    }
}
