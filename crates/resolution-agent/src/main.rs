//! The resolution agent as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run("resolution-agent", resolution_agent::start)
}
