//! A2A 1.0 over JSON-RPC and HTTP+JSON: one server for every agent and one client for every caller.

mod auth;
mod backoff;
mod caller;
mod card;
mod client;
mod config;
mod limits;
mod media_type;
mod memory;
mod published;
mod push;
mod server;
mod signature;
mod tasks;

pub use auth::{
    AuthError, Authentication, AuthenticationConfig, BearerConfig, JwtAlgorithm, JwtConfig,
    SettingError,
};
pub use caller::Caller;
pub use card::{LIMITS_EXTENSION_URI, Profile, SkillSchemas};
pub use client::{Client, ClientError, ClientOptions, EventStream, PeerConfig, Send};
pub use config::{ProviderConfig, ServerConfig};
pub use limits::LimitsConfig;
pub use memory::{MemoryTaskDatabase, MemoryTaskStore};
pub use push::{
    Answer, CallError, Connector, HostPattern, PushConfig, Refused, Resolve, SystemResolver,
};
pub use server::{REST_PATH, RPC_PATH, Server, ServerOptions, V0_3_PATH};
pub use signature::{
    CardSigner, PinnedKeys, SignatureError, SigningConfig, Verified, verify as verify_card,
};
pub use tasks::{Agent, AgentError, Job, TRANSIENT_KEY, TaskOptions, Updates};
