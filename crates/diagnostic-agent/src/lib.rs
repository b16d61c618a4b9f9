//! diagnostic-agent.
