//! Ingress: alerts in, incidents, the workflow through the agents, the console. It holds no
//! credential that changes a target, and acknowledges nothing it has not committed.

mod agent;
mod alerts;
mod answer;
mod backoff;
mod card;
mod circuit;
mod config;
mod console;
mod dead_letters;
mod engine;
mod error;
mod incidents;
mod journal;
mod mapping;
mod metrics;
mod performer;
mod policy;
mod reconcile;
mod refusals;
mod routes;
mod rules;
mod sources;
mod start;
mod ticket;
mod webhook;

pub use config::{Agents, Config};
pub use journal::JournalConfig;
pub use mapping::Mapping;
pub use policy::{Matcher, Once, StormConfig, Weekly, WindowConfig};
pub use reconcile::{AlertmanagerPeer, BasicCredential, Reconciliation};
pub use rules::{CorrelationRule, Enrichment};
pub use sources::{
    Authentication, Basic, Encoding, Hmac, Mtls, SecretFiles, SourceConfig, SourceConfigs,
};
pub use start::{start, start_with};
pub use webhooks::Format;
