//! ticketing-agent.
