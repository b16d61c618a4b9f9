//! A file that counts as it was when it last made sense. Whoever asks what it says never waits for a
//! disk: it is looked at from outside now and then, and read again only when its time, size or
//! identity changed.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use service::{ConfigError, FileStamp};

/// Largest file.
const FILE_BYTES: u64 = 16 << 20;

/// Makes sense of a text; the second is what an error calls the file.
type Reading<T> = Box<dyn Fn(&str, &str) -> Result<T, ConfigError> + Send + Sync>;

pub(super) struct Watched<T> {
    path: PathBuf,
    reading: Reading<T>,
    current: RwLock<Arc<T>>,
    stamp: Mutex<Option<FileStamp>>,
}

/// What another look at a file has shown.
#[derive(Debug)]
pub(super) enum Look {
    Same,
    /// It says something new.
    Taken,
    /// It makes no sense; what it said before counts.
    Refused(ConfigError),
}

impl<T> Watched<T> {
    /// # Errors
    /// The file cannot be read or makes no sense.
    pub(super) fn open(path: &Path, reading: Reading<T>) -> Result<Self, ConfigError> {
        let stamp = FileStamp::of(path).ok();
        let current = reading(&read(path)?, &path.display().to_string())?;
        Ok(Self {
            path: path.to_owned(),
            reading,
            current: RwLock::new(Arc::new(current)),
            stamp: Mutex::new(stamp),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn now(&self) -> Arc<T> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file if it changed since it was read last. Blocks.
    pub(super) fn look(&self) -> Look {
        let mut stamp = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = FileStamp::of(&self.path).ok();
        if *stamp == newest {
            return Look::Same;
        }
        let read = read(&self.path);
        match read.and_then(|text| (self.reading)(&text, &self.path.display().to_string())) {
            Ok(content) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(content);
                *stamp = newest;
                Look::Taken
            }
            Err(error) => {
                *stamp = newest;
                Look::Refused(error)
            }
        }
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("path", &self.path).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let mut text = String::new();
    let read = open(path)
        .and_then(|file| file.take(FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    if read as u64 > FILE_BYTES {
        let source = std::io::Error::other(format!("larger than {FILE_BYTES} bytes"));
        return Err(ConfigError::Read { path: path.to_owned(), source });
    }
    Ok(text)
}

/// Opens a file, and nothing that keeps its reader waiting for a writer.
fn open(path: &Path) -> std::io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("is no regular file"));
    }
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(path: &Path) -> Result<Watched<u32>, ConfigError> {
        let reading = |text: &str, origin: &str| service::parse_yaml(text, origin);
        Watched::open(path, Box::new(reading))
    }

    #[test]
    fn a_changed_file_counts_and_a_bad_one_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number.yaml");
        assert!(matches!(number(&path), Err(ConfigError::Read { .. })));
        std::fs::write(&path, "1\n").unwrap();
        let watched = number(&path).unwrap();
        assert!(matches!(watched.look(), Look::Same));
        std::fs::write(&path, "22\n").unwrap();
        assert!(matches!(watched.look(), Look::Taken));
        assert_eq!(*watched.now(), 22);
        std::fs::write(&path, "many\n").unwrap();
        assert!(matches!(watched.look(), Look::Refused(ConfigError::Invalid { .. })));
        assert!(matches!(watched.look(), Look::Same), "told once");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(watched.look(), Look::Refused(ConfigError::Read { .. })));
        assert!(matches!(watched.look(), Look::Same));
        assert_eq!(*watched.now(), 22);
        std::fs::write(&path, "333\n").unwrap();
        assert!(matches!(watched.look(), Look::Taken));
        assert_eq!(*watched.now(), 333);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_in_the_place_of_a_file_keeps_nobody_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number.yaml");
        std::fs::write(&path, "1\n").unwrap();
        let watched = number(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(matches!(watched.look(), Look::Refused(ConfigError::Read { .. })));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "22\n").unwrap();
        assert!(matches!(watched.look(), Look::Taken));
        assert_eq!(*watched.now(), 22);
    }
}
