//! The `deployment-system` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run("deployment-system", mcp_tools::deployment_system::start)
}
