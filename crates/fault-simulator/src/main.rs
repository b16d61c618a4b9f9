//! The simulated fleet as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run("fault-simulator", fault_simulator::start)
}
