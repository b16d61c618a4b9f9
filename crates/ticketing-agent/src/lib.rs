//! The ticketing agent: one ticket per incident, kept true, in Jira or in files of our own.

mod document;
mod error;
mod file;
mod jira;
mod tracker;

pub use document::{Block, Document, Span, clean, clean_line};
pub use error::TrackerError;
pub use file::FileTracker;
pub use jira::{Auth, JiraSettings, JiraTracker};
pub use tracker::{NewComment, NewTicket, Ticket, Tracker};
