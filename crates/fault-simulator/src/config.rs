//! Settings of the simulator.

use std::path::PathBuf;

use serde::Deserialize;
use service::{ConfigError, Configuration, Env, Process, Secret};

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where db-server-01 answers: metrics, admin API, faults.
    pub database_address: String,
    /// Where app-server-01 answers.
    pub app_address: String,
    /// Where api-gateway-01 answers.
    pub gateway_address: String,
    /// Holds one log file per server; created when absent.
    pub log_directory: PathBuf,
    /// A log file of this size is renamed to `.log.1` (replacing the one before) and begun anew.
    pub log_file_bytes: u64,
    /// How often the simulation catches up with the clock, 10 to 1000 ms.
    pub tick_ms: u64,
    /// The same seed repeats the same load and service times.
    pub seed: u64,
    /// Mean load on the gateway, 1 to 60 requests per second. The fleet is sized for 40.
    pub requests_per_second: f64,
    /// Where set, admin calls that change something need this file's token as bearer.
    pub admin_token_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database_address: "127.0.0.1:8000".into(),
            app_address: "127.0.0.1:8001".into(),
            gateway_address: "127.0.0.1:8002".into(),
            log_directory: "logs".into(),
            log_file_bytes: 1 << 20,
            tick_ms: 100,
            seed: 1,
            requests_per_second: 40.0,
            admin_token_file: None,
        }
    }
}

impl Config {
    pub(crate) fn admin_token(&self) -> anyhow::Result<Option<Secret>> {
        Secret::of_setting("admin_token_file", self.admin_token_file.as_deref())
    }
}

impl Configuration for Config {
    fn check_files(&self, _process: &Process) -> anyhow::Result<()> {
        self.admin_token().map(drop)
    }

    fn apply_env(&mut self, env: &Env) -> Result<(), ConfigError> {
        if let Some(host) = env.get("FIREBREAK_SIMULATOR_HOST") {
            for address in
                [&mut self.database_address, &mut self.app_address, &mut self.gateway_address]
            {
                let port = address.rsplit(':').next().unwrap_or_default();
                *address = format!("{host}:{port}");
            }
        }
        if let Some(directory) = env.get("FIREBREAK_LOG_DIR") {
            self.log_directory = directory.into();
        }
        Ok(())
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if !(10..=1000).contains(&self.tick_ms) {
            return Err(ConfigError::setting("tick_ms", "must be 10 to 1000"));
        }
        if self.log_file_bytes < 4096 {
            return Err(ConfigError::setting("log_file_bytes", "must be at least 4096"));
        }
        if !(1.0..=60.0).contains(&self.requests_per_second) {
            return Err(ConfigError::setting("requests_per_second", "must be 1 to 60"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_configuration_is_the_default() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/config/fault-simulator.yaml");
        let sample: Config = service::load_config(Some(path.as_ref()), &Env::fixed([])).unwrap();
        assert_eq!(format!("{sample:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn the_environment_moves_all_three_listeners_and_the_logs() {
        let env = Env::fixed([
            ("FIREBREAK_SIMULATOR_HOST", "0.0.0.0"),
            ("FIREBREAK_LOG_DIR", "/var/log/fleet"),
        ]);
        let config: Config = service::load_config(None, &env).unwrap();
        assert_eq!(config.database_address, "0.0.0.0:8000");
        assert_eq!(config.gateway_address, "0.0.0.0:8002");
        assert_eq!(config.log_directory, PathBuf::from("/var/log/fleet"));
    }

    #[test]
    fn a_setting_out_of_range_is_named() {
        let config = Config { tick_ms: 0, ..Config::default() };
        assert!(config.validate().unwrap_err().to_string().contains("`tick_ms`"));
    }
}
