//! Both ends of both protocols: A2A over JSON-RPC and HTTP+JSON, MCP over streamable HTTP. Hides
//! envelopes, sessions, deadlines and trace context; knows nothing of what agents decide.

pub mod a2a;
mod host;
mod http;
pub mod mcp;
mod payload;
mod trace;

pub use host::Host;
pub use http::{Exchange, Http, SendError};
pub use payload::{PartError, part, payloads};
