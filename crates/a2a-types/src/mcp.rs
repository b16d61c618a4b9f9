//! The three logical MCP tools: what is asked, what is answered, and the JSON Schema of both.
//!
//! A server is one logical tool (`log-analyzer`, `system-monitor`, `deployment-system`); each of
//! its actions is one MCP tool. Types and schemas stand side by side; `rpc` validates against the
//! schemas on both ends, so a value that reached a handler or a caller fits its type.
//! See <https://modelcontextprotocol.io/specification/2026-07-28/server/tools>.

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub mod deployment;
pub mod logs;
pub mod metrics;
mod schema;

/// One MCP tool as its server announces it.
#[derive(Clone, Copy, Debug)]
pub struct ToolDefinition {
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub input_schema: fn() -> Value,
    pub output_schema: fn() -> Value,
    pub effect: Effect,
}

/// What a call does to the world, told to clients as MCP annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Changes nothing.
    ReadOnly,
    /// Changes a target; repeating the call with the same idempotency key changes nothing more.
    Changes,
    /// As `Changes`, and what it removes or interrupts does not come back by itself.
    Destroys,
}

/// A span of time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    pub start: jiff::Timestamp,
    pub end: jiff::Timestamp,
}

/// Why a call gave no answer. Travels in an error result's `_meta` under [`FAULT_META_KEY`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub kind: FaultKind,
    pub message: String,
    /// The input field at fault, as a dotted path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// The key of a [`Fault`] in the `_meta` of an error result.
pub const FAULT_META_KEY: &str = "firebreak/fault";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The input cannot be acted upon; the same call is refused again. Nothing was done.
    Refused,
    /// Something behind the tool does not answer now. Nothing was done; a later call may succeed.
    Unavailable,
    /// The tool tried and failed. What was done, if anything, is recorded.
    Failed,
    /// It is not known whether the effect took place. Never repeated blindly.
    #[serde(other)]
    Unknown,
}
