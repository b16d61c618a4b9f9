//! The database: state, queue, lock and outbox. A change, its audit rows and its outbox rows are
//! one transaction. Knows tables, not policy.

mod alive;
mod attempts;
mod audit;
mod changes;
mod database;
mod error;
mod memory;
mod open;
mod options;
mod outbox;
mod port;
mod postgres;
mod reader;
mod sql;
mod sqlite;
mod targets;
mod tasks;
mod trouble;

pub use alive::keep_alive;
pub use attempts::{Attempt, AttemptRow};
pub use changes::{Change, ChangeRow};
pub use error::StoreError;
pub use memory::{AuditText, Call, Fault, Faults, MemoryDatabase};
pub use open::{Opened, open};
pub use options::OpenOptions;
pub use outbox::OutboxRow;
pub use port::{
    AlertKey, AlertRow, AlertState, AlertWrite, AuditRow, Base, Batch, Claim, DeadLetter,
    Delivered, DeliveryRow, IncidentWrite, LockedTarget, NewEffect, OutboxEnd, PAGE_BYTES, Refusal,
    Related, Repeat, Replica, Retention, Store, StoreFuture, Stored,
};
pub use reader::AuditReader;
pub use targets::TargetLock;
pub use tasks::PostgresTasks;
