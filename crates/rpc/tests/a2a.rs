//! Both ends of A2A over real sockets, with an agent that does what its message says.
#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

mod a2a {
    mod auth;
    mod bindings;
    mod card;
    mod client;
    mod envelope;
    mod events;
    mod hostile;
    mod list;
    mod push;
    mod rest;
    mod restart;
    mod signature;
    mod stream;
    mod support;
    mod tasks;
    mod v0_3;
}
