//! Measures servers from outside: closed-loop load over kept-alive connections, the time to the
//! first event of a stream, memory. Ratios to something run in the same minute, never bare numbers.

pub mod alertmanager;
pub mod alone;
pub mod hanging;
pub mod http;
pub mod load;
pub mod server;
pub mod stats;
