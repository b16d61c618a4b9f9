//! The database: state, queue, lock and outbox. A change, its audit rows and its outbox rows are
//! one transaction. Knows tables, not policy.

mod attempts;
mod changes;
mod error;
mod incidents;
mod outbox;
mod sqlite;
mod targets;
mod tasks;
mod tickets;

pub use attempts::{Attempt, AttemptRow};
pub use changes::{Change, ChangeRow};
pub use error::StoreError;
pub use incidents::{AuditRow, Stored};
pub use outbox::OutboxRow;
pub use sqlite::{Store, Transaction};
pub use targets::TargetLock;
pub use tasks::{PostgresTasks, open_tasks};
