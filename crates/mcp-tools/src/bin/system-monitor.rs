//! The `system-monitor` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run("system-monitor", mcp_tools::system_monitor::start)
}
