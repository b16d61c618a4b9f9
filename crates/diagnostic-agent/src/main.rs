//! The diagnostic agent as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run("diagnostic-agent", diagnostic_agent::start)
}
