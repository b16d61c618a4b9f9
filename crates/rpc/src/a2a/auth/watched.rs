//! A file whose content counts as it is now. It is looked at no more than once a second, read only
//! when its size, time or identity changed, and an unusable content changes nothing but the log.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};

/// How long what was read counts without another look.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// What a file says, last time it made sense.
pub(crate) struct Watched<T> {
    path: PathBuf,
    read: fn(&[u8]) -> Result<T, String>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Option<T>,
    stamp: Option<Stamp>,
    looked_at: Option<Timestamp>,
}

/// What tells one content of a file from another without reading it.
#[derive(Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl<T: Clone> Watched<T> {
    /// A file that is there and makes sense, or, where `may_be_absent`, is not there yet.
    pub(crate) fn open(
        path: &Path,
        may_be_absent: bool,
        read: fn(&[u8]) -> Result<T, String>,
    ) -> Result<Self, String> {
        let (value, stamp) = match load(path, read) {
            Ok((value, stamp)) => (Some(value), Some(stamp)),
            Err(Failure::Absent) if may_be_absent => (None, None),
            Err(failure) => return Err(format!("{}: {}", path.display(), failure.text())),
        };
        let state = Mutex::new(State { value, stamp, looked_at: None });
        Ok(Self { path: path.to_owned(), read, state })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says now, as far as that makes sense. Nothing where it is gone.
    pub(crate) fn get(&self, now: Timestamp) -> Option<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |at: Timestamp| now.duration_since(at).abs() < LOOK_AGAIN;
        if !state.looked_at.is_some_and(is_fresh) {
            state.looked_at = Some(now);
            self.look(&mut state);
        }
        state.value.clone()
    }

    fn look(&self, state: &mut State<T>) {
        let stamp = std::fs::metadata(&self.path).ok().map(|found| Stamp::of(&found));
        if stamp == state.stamp {
            return;
        }
        let file = self.path.display();
        match load(&self.path, self.read) {
            Ok((value, stamp)) => {
                (state.value, state.stamp) = (Some(value), Some(stamp));
                tracing::info!(%file, "credentials read again");
            }
            Err(Failure::Absent) => {
                (state.value, state.stamp) = (None, None);
                tracing::warn!(%file, "credentials file is gone; what it said no longer counts");
            }
            Err(failure) => {
                // The stamp is kept, so that one unusable content is logged once.
                state.stamp = stamp;
                let error = failure.text();
                tracing::error!(%file, %error, "credentials file is unusable; its last content counts");
            }
        }
    }
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(found);
        #[cfg(not(unix))]
        let inode = 0;
        Self { modified: found.modified().ok(), length: found.len(), inode }
    }
}

enum Failure {
    Absent,
    Unusable(String),
}

impl Failure {
    fn text(&self) -> &str {
        match self {
            Self::Absent => "there is no such file",
            Self::Unusable(why) => why,
        }
    }
}

fn load<T>(path: &Path, read: fn(&[u8]) -> Result<T, String>) -> Result<(T, Stamp), Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Absent,
        _ => Failure::Unusable(error.to_string()),
    };
    // The stamp is older than what is read: a change in between is seen the next time.
    let stamp = Stamp::of(&std::fs::metadata(path).map_err(failed)?);
    let bytes = std::fs::read(path).map_err(failed)?;
    Ok((read(&bytes).map_err(Failure::Unusable)?, stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Result<String, String> {
        let text = String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())?;
        if text.is_empty() { Err("empty".into()) } else { Ok(text) }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_change_counts_after_a_second_and_nonsense_never() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let watched = Watched::open(&path, false, text).unwrap();
        assert_eq!(watched.get(at(10)).unwrap(), "one");
        std::fs::write(&path, "another").unwrap();
        assert_eq!(watched.get(at(10)).unwrap(), "one", "not looked at again yet");
        assert_eq!(watched.get(at(11)).unwrap(), "another");
        std::fs::write(&path, "").unwrap();
        assert_eq!(watched.get(at(12)).unwrap(), "another");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(watched.get(at(13)), None);
        std::fs::write(&path, "back").unwrap();
        assert_eq!(watched.get(at(14)).unwrap(), "back");
    }

    #[test]
    fn only_a_file_that_may_be_absent_is_missed_silently() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert!(Watched::open(&path, false, text).is_err());
        let watched = Watched::open(&path, true, text).unwrap();
        assert_eq!(watched.get(at(0)), None);
        std::fs::write(&path, "there").unwrap();
        assert_eq!(watched.get(at(1)).unwrap(), "there");
    }
}
