//! mcp-tools.
