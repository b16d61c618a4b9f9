//! resolution-agent.
