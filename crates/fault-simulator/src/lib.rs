//! A small simulated fleet whose faults only the right repair ends, so that the whole path from
//! alert to closed incident can be proven against something that behaves. The fleet itself is pure
//! (`fleet`); sockets, the clock and log files are around it.

mod admin_routes;
mod config;
mod error;
mod exposition;
mod fault_routes;
mod fleet;
mod listen;
mod log_file;
mod metrics;
mod start;

pub use config::Config;
pub use fleet::{
    ActiveFault, AdminError, Change, Cleaned, EndedFault, Fault, FaultError, Fleet, HttpStats,
    Level, LogLine, Server, Status,
};
pub use start::{Addresses, start, start_fleet};
