//! Both ends of the Model Context Protocol, revision 2026-07-28, with 2025-11-25 beside it.
//!
//! `rmcp` frames the messages and enforces no schema; here input and output are validated on both
//! ends, every call has a deadline, and an error says which field it is about.

pub mod client;
mod schema;
pub mod server;
mod trace;

/// Where a server answers, below its base URL.
pub const PATH: &str = "/mcp";

/// The key in a request's `_meta` under which a caller says how many milliseconds it will wait.
const TIMEOUT_META_KEY: &str = "firebreak/timeout-ms";
