//! Ingress as a whole over real sockets, with small agents in place of the three it works with.
#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

mod ingress {
    mod agents;
    mod alertmanager;
    mod api;
    mod bad_input;
    mod check_config;
    mod dead_letters;
    mod kinds;
    mod overload;
    mod payloads;
    mod peers;
    mod poison;
    mod policy;
    mod postgres;
    mod reconcile;
    mod replicas;
    mod restart;
    mod rules;
    mod sample;
    mod senders;
    mod sources;
    mod storm;
    mod strangers;
    mod workflow;
    mod world;
}
