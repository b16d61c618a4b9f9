//! The built-in tracker: one JSON file per ticket, which is the truth, and a Markdown rendering
//! beside it for people. A write is complete or absent (rename after fsync); processes of one machine
//! that share a directory take turns by a lock, which the kernel ends with its process; a damaged
//! file is an error that names it, and the other tickets keep working.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use incident::{IncidentId, Severity, TicketStatus};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::Clock;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::document::{Document, clean_line};
use crate::error::TrackerError;
use crate::tracker::{NewComment, NewTicket, Result, Ticket, board_status};

mod markdown;

/// The prefix of ticket keys: FB-1, FB-2 and so on.
const PREFIX: &str = "FB-";
/// Pause before the lock of another process is asked for again, and how often it is.
const TURN_PAUSE: Duration = Duration::from_millis(50);
const TURNS: u32 = 100;
/// The longest description or comment, in characters before escaping.
const TEXT_CHARS: usize = 60_000;

#[derive(Clone, Debug)]
pub struct FileTracker {
    clock: Clock,
    directory: Arc<Mutex<Directory>>,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    next: u64,
    key_of_incident: BTreeMap<IncidentId, String>,
    /// Locked while this process reads or writes.
    lock: File,
}

/// Ends a turn, also after a failure.
struct Turn<'a>(&'a File);

/// What a ticket file holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    key: String,
    incident: IncidentId,
    title: String,
    severity: Severity,
    labels: Vec<String>,
    status: TicketStatus,
    created_at: Timestamp,
    description: String,
    comments: Vec<Comment>,
    history: Vec<Change>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Comment {
    at: Timestamp,
    sequence: u64,
    body: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Change {
    at: Timestamp,
    status: TicketStatus,
}

impl FileTracker {
    /// Opens a directory of tickets, and makes it where there is none.
    ///
    /// # Errors
    /// The directory cannot be made, read or locked.
    pub fn open(path: &Path, clock: Clock) -> Result<Self> {
        Ok(Self { clock, directory: Arc::new(Mutex::new(Directory::open(path)?)) })
    }

    pub(crate) async fn create(&self, ticket: &NewTicket) -> Result<Ticket> {
        let (ticket, now) = (ticket.clone(), self.clock.now());
        self.run(move |directory| directory.create(&ticket, now)).await
    }

    pub(crate) async fn find(&self, incident: IncidentId) -> Result<Option<Ticket>> {
        self.run(move |directory| match directory.key_of_incident.get(&incident) {
            Some(key) => Ok(directory.read(key)?.map(|record| directory.ticket(&record))),
            None => Ok(None),
        })
        .await
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Ticket>> {
        let key = key.to_owned();
        self.run(move |directory| Ok(directory.read(&key)?.map(|record| directory.ticket(&record))))
            .await
    }

    pub(crate) async fn recorded_up_to(&self, key: &str) -> Result<u64> {
        let key = key.to_owned();
        self.run(move |directory| {
            let record = directory.existing("read comments", &key)?;
            Ok(record.comments.iter().map(|comment| comment.sequence).max().unwrap_or(0))
        })
        .await
    }

    pub(crate) async fn comment(&self, key: &str, comment: &NewComment) -> Result<()> {
        let (key, comment, at) = (key.to_owned(), comment.clone(), self.clock.now());
        self.run(move |directory| {
            let mut record = directory.existing("comment", &key)?;
            if record.comments.iter().any(|known| known.sequence >= comment.sequence) {
                return Ok(());
            }
            let body = text_of(&comment.body);
            record.comments.push(Comment { at, sequence: comment.sequence, body });
            directory.write(&record)
        })
        .await
    }

    pub(crate) async fn transition(&self, key: &str, status: TicketStatus) -> Result<Ticket> {
        let (key, at) = (key.to_owned(), self.clock.now());
        self.run(move |directory| {
            let mut record = directory.existing("transition", &key)?;
            if record.status != status {
                record.status = status;
                record.history.push(Change { at, status });
                directory.write(&record)?;
            }
            Ok(directory.ticket(&record))
        })
        .await
    }

    /// File work blocks, so it leaves the async threads; writers take turns, those of this process
    /// by a mutex, and processes by the lock file. One that froze in its turn is not waited for long.
    async fn run<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&mut Directory) -> Result<T> + Send + 'static,
    {
        let mut work = work;
        for _ in 0..TURNS {
            let directory = Arc::clone(&self.directory);
            let tried = beside(move || {
                directory.lock().expect("no panic while the directory is held").try_do(work)
            });
            match tried.await {
                Ok(done) => return done,
                Err(back) => work = back,
            }
            self.clock.sleep(TURN_PAUSE).await;
        }
        let directory = Arc::clone(&self.directory);
        let directory =
            directory.lock().expect("no panic while the directory is held").path.clone();
        Err(TrackerError::DirectoryInUse { directory })
    }
}

/// Does what blocks beside the threads of the runtime. One that has a single thread, as that of a
/// simulation, does it in place: what happens when must not hang on another thread.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => work(),
        _ => {
            let done = tokio::task::spawn_blocking(work).await;
            done.expect("file work does not panic and is not aborted")
        }
    }
}

impl Directory {
    fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(|source| at(path, source))?;
        let path = path.canonicalize().map_err(|source| at(path, source))?;
        let lock_path = path.join(".lock");
        let lock = File::create(&lock_path).map_err(|source| at(&lock_path, source))?;
        let mut directory = Self { path, next: 1, key_of_incident: BTreeMap::new(), lock };
        directory.scan()?;
        Ok(directory)
    }

    /// Does the work in a turn of this process, or gives it back where another has its own.
    fn try_do<T, W>(&mut self, work: W) -> std::result::Result<Result<T>, W>
    where
        W: FnOnce(&mut Directory) -> Result<T>,
    {
        let lock = match self.lock.try_clone() {
            Ok(lock) => lock,
            Err(source) => return Ok(Err(at(&self.path, source))),
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(work),
            Err(fs::TryLockError::Error(source)) => return Ok(Err(at(&self.path, source))),
        }
        let _turn = Turn(&lock);
        Ok(self.learn().and_then(|()| work(self)))
    }

    /// Takes note of the tickets that other processes have made since.
    fn learn(&mut self) -> Result<()> {
        loop {
            let key = format!("{PREFIX}{}", self.next);
            match self.read(&key) {
                Ok(None) => return Ok(()),
                Ok(Some(record)) => {
                    self.key_of_incident.entry(record.incident).or_insert(key);
                }
                Err(TrackerError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
            self.next += 1;
        }
    }

    /// Learns which tickets exist. A damaged file keeps its number and is reported, not removed.
    fn scan(&mut self) -> Result<()> {
        for number in self.numbers()? {
            self.next = self.next.max(number + 1);
            let key = format!("{PREFIX}{number}");
            match self.read(&key) {
                Ok(Some(record)) => {
                    self.key_of_incident.entry(record.incident).or_insert(key);
                }
                Ok(None) => {}
                Err(error) => tracing::error!(
                    ticket.key = key,
                    error = &error as &dyn std::error::Error,
                    "ticket left out"
                ),
            }
        }
        Ok(())
    }

    fn numbers(&self) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|source| at(&self.path, source))? {
            let name = entry.map_err(|source| at(&self.path, source))?.file_name();
            let number: Option<u64> = name
                .to_str()
                .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(".json")?.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn create(&mut self, ticket: &NewTicket, now: Timestamp) -> Result<Ticket> {
        if let Some(key) = self.key_of_incident.get(&ticket.incident).cloned() {
            return self.existing("create", &key).map(|record| self.ticket(&record));
        }
        let status = TicketStatus::Investigating;
        let record = Record {
            key: format!("{PREFIX}{}", self.next),
            incident: ticket.incident,
            title: clean_line(&ticket.title, 200),
            severity: ticket.severity,
            labels: ticket.labels.iter().map(|label| clean_line(label, 100)).collect(),
            status,
            created_at: now,
            description: text_of(&ticket.description),
            comments: Vec::new(),
            history: vec![Change { at: now, status }],
        };
        self.write(&record)?;
        self.next += 1;
        self.key_of_incident.insert(record.incident, record.key.clone());
        Ok(self.ticket(&record))
    }

    fn existing(&self, operation: &'static str, key: &str) -> Result<Record> {
        let missing = || TrackerError::NotFound { operation, key: key.to_owned() };
        self.read(key)?.ok_or_else(missing)
    }

    fn read(&self, key: &str) -> Result<Option<Record>> {
        // A key from outside must not name a path.
        if key.strip_prefix(PREFIX).is_none_or(|number| number.parse::<u64>().is_err()) {
            return Ok(None);
        }
        let path = self.path.join(format!("{key}.json"));
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|source| TrackerError::Damaged { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(at(&path, source)),
        }
    }

    fn write(&self, record: &Record) -> Result<()> {
        let json = serde_json::to_vec_pretty(record).expect("a record has only string keys");
        self.replace(&format!("{}.json", record.key), &json)?;
        self.replace(&format!("{}.md", record.key), record.to_markdown().as_bytes())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let (path, new) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let written = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.path)?.sync_all()
        };
        written().map_err(|source| at(&path, source))
    }

    fn ticket(&self, record: &Record) -> Ticket {
        let page = self.path.join(format!("{}.md", record.key));
        Ticket {
            key: record.key.clone(),
            url: url::Url::from_file_path(page).map(String::from).unwrap_or_default(),
            title: record.title.clone(),
            status: board_status(record.status).to_owned(),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Fails never for a lock that is held; it ends with its process at the latest.
        let _ = self.0.unlock();
    }
}

impl Record {
    fn to_markdown(&self) -> String {
        let title = markdown::escape(&self.title);
        let mut text = format!(
            "# {} {title}\n\n| | |\n| --- | --- |\n| status | **{}** ({}) |\n| severity | {} |\n\
             | incident | {} |\n| labels | {} |\n| created | {} |\n\n## Description\n\n{}\n\n",
            self.key,
            board_status(self.status),
            word(self.status),
            word(self.severity),
            markdown::escape(&self.incident.to_string()),
            markdown::escape(&self.labels.join(", ")),
            to_the_second(self.created_at),
            self.description.trim_end(),
        );
        text.push_str("## Status\n\n");
        for change in &self.history {
            text.push_str(&format!("- {} {}\n", to_the_second(change.at), word(change.status)));
        }
        text.push_str("\n## Comments\n\n");
        for comment in &self.comments {
            text.push_str(&format!(
                "### {}\n\n{}\n\n",
                to_the_second(comment.at),
                comment.body.trim_end()
            ));
        }
        text
    }
}

/// A status or severity in words: its name in JSON, with spaces.
fn word(name: impl Serialize) -> String {
    let value = serde_json::to_value(name).expect("these enums are plain strings");
    value.as_str().unwrap_or_default().replace('_', " ")
}

fn to_the_second(at: Timestamp) -> impl std::fmt::Display {
    at.strftime("%Y-%m-%dT%H:%M:%SZ")
}

fn text_of(document: &Document) -> String {
    let mut left = TEXT_CHARS;
    markdown::render(&document.bounded(|block| match left.checked_sub(block.chars()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    }))
}

fn at(path: &Path, source: io::Error) -> TrackerError {
    TrackerError::File { path: path.to_owned(), source }
}
