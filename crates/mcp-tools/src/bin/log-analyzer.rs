//! The `log-analyzer` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run("log-analyzer", mcp_tools::log_analyzer::start)
}
