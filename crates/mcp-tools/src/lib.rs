//! The three MCP servers: `log-analyzer` and `system-monitor` read, `deployment-system` changes.
//! Each is a program of its own with its own credentials; they share only how they listen.

pub mod access;
pub mod deployment_system;
pub mod log_analyzer;
pub mod system_monitor;
