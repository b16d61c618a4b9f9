//! The built-in tracker: one JSON file per ticket, which is the truth, and a Markdown rendering
//! beside it for people. A write is complete or absent (rename after fsync); one process per
//! directory; a damaged file is an error that names it, and the other tickets keep working.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use incident::{IncidentId, Severity, TicketStatus};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::Clock;

use crate::document::{Document, clean_line};
use crate::error::TrackerError;
use crate::tracker::{NewComment, NewTicket, Result, Ticket, board_status};

mod markdown;

/// The prefix of ticket keys: FB-1, FB-2 and so on.
const PREFIX: &str = "FB-";
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
    /// Held locked for as long as this process uses the directory.
    _lock: File,
}

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

    /// File work blocks, so it leaves the async threads; the lock makes writers take turns.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Directory) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let directory = Arc::clone(&self.directory);
        tokio::task::spawn_blocking(move || {
            work(&mut directory.lock().expect("no panic while the directory is held"))
        })
        .await
        .expect("file work does not panic and is not aborted")
    }
}

impl Directory {
    fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(|source| at(path, source))?;
        let path = path.canonicalize().map_err(|source| at(path, source))?;
        let lock_path = path.join(".lock");
        let lock = File::create(&lock_path).map_err(|source| at(&lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(TrackerError::DirectoryInUse { directory: path });
            }
            Err(fs::TryLockError::Error(source)) => return Err(at(&lock_path, source)),
        }
        let mut directory = Self { path, next: 1, key_of_incident: BTreeMap::new(), _lock: lock };
        directory.scan()?;
        Ok(directory)
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
