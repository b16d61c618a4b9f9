//! The configuration of one server: what is saved, what is in effect, and the bounds of each key.

use std::collections::BTreeMap;

use super::{AdminError, Server};

/// Values by key.
pub(crate) type Values = BTreeMap<&'static str, u64>;

pub(crate) const POOL_SIZE: &str = "connection_pool_size";
pub(crate) const ACQUIRE_TIMEOUT: &str = "connection_timeout_ms";
pub(crate) const STATEMENT_TIMEOUT: &str = "statement_timeout_ms";
pub(crate) const CACHE_SIZE: &str = "cache_size_mb";
pub(crate) const QUEUE_LIMIT: &str = "queue_limit";
pub(crate) const UPSTREAM_TIMEOUT: &str = "upstream_timeout_ms";

struct Setting {
    key: &'static str,
    default: u64,
    min: u64,
    max: u64,
    needs_restart: bool,
}

const fn setting(
    key: &'static str,
    default: u64,
    (min, max): (u64, u64),
    needs_restart: bool,
) -> Setting {
    Setting { key, default, min, max, needs_restart }
}

static DATABASE: [Setting; 3] = [
    setting(POOL_SIZE, 10, (1, 200), true),
    setting(ACQUIRE_TIMEOUT, 250, (50, 2000), true),
    setting(STATEMENT_TIMEOUT, 5000, (100, 60_000), false),
];
static APP: [Setting; 1] = [setting(CACHE_SIZE, 64, (16, 256), true)];
static GATEWAY: [Setting; 2] = [
    setting(QUEUE_LIMIT, 8, (1, 64), false),
    setting(UPSTREAM_TIMEOUT, 2000, (100, 60_000), false),
];

fn known(server: Server) -> &'static [Setting] {
    match server {
        Server::Database => &DATABASE,
        Server::App => &APP,
        Server::Gateway => &GATEWAY,
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    server: Server,
    saved: Values,
    effective: Values,
}

impl Settings {
    pub(crate) fn new(server: Server) -> Self {
        let values: Values = known(server).iter().map(|s| (s.key, s.default)).collect();
        Self { server, saved: values.clone(), effective: values }
    }

    pub(crate) fn default_of(server: Server, key: &str) -> u64 {
        known(server).iter().find(|s| s.key == key).map_or(0, |s| s.default)
    }

    /// The value in effect.
    pub(crate) fn get(&self, key: &'static str) -> u64 {
        self.effective[key]
    }

    pub(crate) fn saved(&self) -> &Values {
        &self.saved
    }

    pub(crate) fn effective(&self) -> &Values {
        &self.effective
    }

    /// What is saved and waits for a restart.
    pub(crate) fn pending(&self) -> Values {
        let differs = |(key, value): (&&'static str, &u64)| {
            (self.effective[key] != *value).then_some((*key, *value))
        };
        self.saved.iter().filter_map(differs).collect()
    }

    /// Checks all of `wanted`, then saves it; all or nothing. Returns before and after.
    pub(crate) fn change(
        &mut self,
        wanted: &BTreeMap<String, u64>,
    ) -> Result<(Values, Values), AdminError> {
        let mut accepted = Vec::new();
        for (key, &value) in wanted {
            accepted.push((self.check(key, value)?, value));
        }
        let (mut before, mut after) = (Values::new(), Values::new());
        for (setting, value) in accepted {
            before.insert(setting.key, self.saved[setting.key]);
            after.insert(setting.key, value);
            self.saved.insert(setting.key, value);
            if !setting.needs_restart {
                self.effective.insert(setting.key, value);
            }
        }
        Ok((before, after))
    }

    fn check(&self, key: &str, value: u64) -> Result<&'static Setting, AdminError> {
        let all = known(self.server);
        let setting =
            all.iter().find(|s| s.key == key).ok_or_else(|| AdminError::UnknownSetting {
                server: self.server,
                key: key.to_owned(),
                known: all.iter().map(|s| s.key).collect::<Vec<_>>().join(", "),
            })?;
        if !(setting.min..=setting.max).contains(&value) {
            let (min, max) = (setting.min, setting.max);
            return Err(AdminError::OutOfBounds { field: setting.key, value, min, max });
        }
        Ok(setting)
    }

    pub(crate) fn reload(&mut self) {
        self.effective = self.saved.clone();
    }

    /// Sets a value in both places at once, as a rollout does.
    pub(crate) fn force(&mut self, key: &'static str, value: u64) {
        self.saved.insert(key, value);
        self.effective.insert(key, value);
    }
}
