//! The ticketing agent as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run("ticketing-agent", ticketing_agent::start)
}
