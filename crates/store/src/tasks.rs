//! A2A tasks of one agent: the task store that an A2A server asks for, on SQLite and on PostgreSQL.

mod committer;
mod open;
mod postgres;
mod row;
mod sqlite;

pub(crate) use committer::Committer;
pub(crate) use open::{Kind, check_database};
pub use postgres::PostgresTasks;
pub(crate) use sqlite::{has_pushes, start_committer};
