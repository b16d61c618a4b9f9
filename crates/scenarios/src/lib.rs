//! Whole-system tests: every program as a process of its own, with a real Prometheus, a real
//! Alertmanager and real playbooks. A scenario only watches and pulls plugs; what it claims is read
//! from what the programs recorded.
//!
//! `cargo test -p scenarios -- --nocapture` builds the programs, plays every scenario, one at a
//! time, and prints what was recorded. It skips, and says so, where Prometheus, Alertmanager or
//! Ansible is not installed. `FIREBREAK_BINARIES` names a directory of programs to test as they
//! are; `FIREBREAK_VENV` a Python environment with `python/requirements.txt` (default
//! `target/venv`, which `cargo xtask test` makes).

mod binaries;
pub mod chaos;
mod condition;
pub mod flood;
mod monitoring;
mod ports;
mod processes;
mod program;
mod record;
mod scenario;
pub mod simulation;
mod snapshot;
mod world;

pub use binaries::binary;
pub use condition::{
    Condition, alert, fault, incident, incidents_closed_with_proof, playbook, ticket, tickets_are,
};
pub use program::Program;
pub use record::Record;
pub use scenario::{Scenario, secs};
pub use snapshot::{Case, Snapshot, Ticket};
pub use world::{Setup, World};
