//! The four programs, real code, on the memory store under a simulated network and clock: one seed
//! is one run, with every fault in it, and the same seed is the same run. First things go wrong for
//! a while; then all is mended, the system comes to rest, and every invariant is asserted.

mod chance;
mod faults;
mod fleet;
mod invariants;
mod journal;
mod network;
mod programs;
mod run;
mod source;
mod time;
mod tools;
mod world;

pub use run::{Report, run};
