//! A2A tasks of the agent that owns a database: the task store that an A2A server asks for.

mod row;
mod sqlite;
