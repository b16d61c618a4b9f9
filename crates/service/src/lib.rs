//! The process a program lives in: configuration, clock, ids, listeners, telemetry, health and
//! shutdown. Knows nothing of incidents or protocols; a program is a library that `run` starts.

mod address;
mod clock;
mod config;
mod file_stamp;
mod health;
mod heap;
mod http;
mod identity;
mod ids;
mod json_only;
mod loopback;
mod metrics;
mod network;
mod process;
mod run;
mod secret;
mod telemetry;
mod watched_secret;

pub use address::advertised_url;
pub use clock::{Clock, ManualClock, WallClock};
pub use config::{ConfigError, Configuration, Env, load_config, parse_yaml, read_yaml};
pub use file_stamp::FileStamp;
pub use health::Health;
pub use http::{ConnectionLimits, Listen, PeerCertificate, ServeError, TlsConfig, serve, serve_at};
pub use identity::ProcessIdentity;
pub use ids::Ids;
pub use json_only::require_json;
pub use loopback::own_loopback_address;
pub use metrics::Metrics;
pub use network::{Body, Duplex, Exchange, Listening, Network};
pub use process::{Process, ShutdownError};
pub use run::{Running, run, run_with};
pub use secret::Secret;
pub use telemetry::{LogFormat, init_telemetry};
pub use watched_secret::{SecretCheck, WatchedSecret};
