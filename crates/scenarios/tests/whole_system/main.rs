//! The whole system, program by program: real faults, real alerts, real playbooks.

mod closed;
mod killed;
mod missing;
mod peer;
mod strangers;
mod streams;
mod sut;
mod undone;
