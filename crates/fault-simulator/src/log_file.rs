//! One log file per server, bounded: at its limit it becomes `.log.1` and a new one begins. A disk
//! that cannot be written does not stop the fleet; the first failure is reported, and the recovery.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::fleet::{LogLine, Server};

#[derive(Debug)]
pub(crate) struct LogFiles {
    files: [LogFile; 3],
    is_failing: bool,
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    limit: u64,
}

impl LogFiles {
    /// Opens the three files for appending; creates the directory.
    pub(crate) fn open(directory: &Path, limit: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("create log_directory {}", directory.display()))?;
        let open = |server: Server| {
            let path = directory.join(format!("{server}.log"));
            LogFile::open(path.clone(), limit).with_context(|| format!("open {}", path.display()))
        };
        let [database, app, gateway] = Server::ALL;
        let files = [open(database)?, open(app)?, open(gateway)?];
        Ok(Self { files, is_failing: false })
    }

    pub(crate) fn write(&mut self, lines: &[LogLine]) {
        let mut outcome = Ok(());
        for server in Server::ALL {
            let text: String = lines
                .iter()
                .filter(|line| line.server == server)
                .map(|line| format!("{line}\n"))
                .collect();
            if !text.is_empty() {
                outcome = outcome.and(self.files[server as usize].append(&text));
            }
        }
        match outcome {
            Err(error) if !self.is_failing => {
                tracing::error!(%error, "log files cannot be written");
                self.is_failing = true;
            }
            Ok(()) if self.is_failing && !lines.is_empty() => {
                tracing::info!("log files are written again");
                self.is_failing = false;
            }
            _ => {}
        }
    }
}

impl LogFile {
    fn open(path: PathBuf, limit: u64) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes, limit })
    }

    fn append(&mut self, text: &str) -> std::io::Result<()> {
        if self.bytes > 0 && self.bytes + text.len() as u64 > self.limit {
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *self = Self::open(self.path.clone(), self.limit)?;
        }
        self.file.write_all(text.as_bytes())?;
        self.bytes += text.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Level;

    #[test]
    fn a_full_log_file_is_rotated_and_the_two_stay_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let mut logs = LogFiles::open(directory.path(), 1000).unwrap();
        let line = LogLine {
            at: "2026-01-01T00:00:00.120Z".parse().unwrap(),
            server: Server::App,
            level: Level::Warn,
            component: "gc",
            message: "heap pressure".into(),
        };
        for _ in 0..100 {
            logs.write(std::slice::from_ref(&line));
        }
        let read = |name| std::fs::read_to_string(directory.path().join(name)).unwrap();
        let (now, before) = (read("app-server-01.log"), read("app-server-01.log.1"));
        assert!(now.starts_with("2026-01-01T00:00:00.120Z WARN  gc heap pressure\n"), "{now}");
        assert!(now.len() <= 1000 && before.len() <= 1000 && before.len() > 900);
        assert_eq!(read("db-server-01.log"), "");
    }
}
