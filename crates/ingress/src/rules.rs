//! What becomes of an alert before it is taken: tables add the labels it lacks, and rules give it
//! its incident key. Both depend on the alert and on files alone, never on what came before, so
//! that alerts go into the same incidents in whatever order they arrive. Nothing here waits: files
//! are looked at from outside (`watch`).

mod correlation;
mod dependencies;
mod expression;
mod kinds;
mod pairs;
mod table;
mod watch;
mod watched;

use std::collections::HashSet;

use incident::{Alert, IncidentKey};
use service::ConfigError;
use sha2::{Digest, Sha256};

use crate::Config;

use dependencies::Dependencies;
use table::Table;
use watched::Watched;

pub use correlation::CorrelationRule;
pub use table::Enrichment;

/// Longest key before it is hashed; PostgreSQL indexes no text of more than 2,704 bytes.
const KEY_BYTES: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Rules {
    tables: Vec<Table>,
    correlation: Vec<CorrelationRule>,
    dependencies: Option<Watched<Dependencies>>,
    /// The rule before which the dependencies are asked: the first that is of labels alone.
    dependencies_at: usize,
}

impl Rules {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// The first that cannot be used: file, line and field are named.
    pub(crate) fn open(config: &Config) -> Result<Self, ConfigError> {
        let tables = config.enrichment.iter().map(Table::open).collect::<Result<_, _>>()?;
        let dependencies = config.dependencies.as_deref();
        let dependencies = dependencies
            .map(|path| Watched::open(path, Box::new(Dependencies::parse)))
            .transpose()?;
        let correlation = config.correlation.clone();
        let of_labels = correlation.iter().position(|rule| rule.name().is_none());
        let dependencies_at = of_labels.unwrap_or(correlation.len());
        Ok(Self { tables, correlation, dependencies, dependencies_at })
    }

    /// Adds what the tables know. A later table may match what an earlier one added.
    pub(crate) fn enrich(&self, alert: &mut Alert) {
        for table in &self.tables {
            table.enrich(alert);
        }
    }

    /// The incident that the alert belongs to, by the first rule that is for it; without one the alert
    /// stands alone. Alerts whose source proves nothing share no incident with others.
    pub(crate) fn key(&self, alert: &Alert, is_authenticated: bool) -> IncidentKey {
        let (before, after) = self.correlation.split_at(self.dependencies_at);
        let by_rule = |rules: &[CorrelationRule]| rules.iter().find_map(|rule| rule.key(alert));
        let key = by_rule(before)
            .or_else(|| self.dependencies.as_ref().and_then(|file| file.now().key(alert)))
            .or_else(|| by_rule(after))
            .unwrap_or_else(|| format!("{}:{}", alert.source, alert.fingerprint));
        let key = bounded(key);
        if is_authenticated {
            return IncidentKey::from(key);
        }
        IncidentKey::from(format!("unauthenticated {}: {key}", alert.source))
    }
}

/// Checks what no rule shows by itself: that no two have one name.
///
/// # Errors
/// The second of them.
pub(crate) fn check(correlation: &[CorrelationRule]) -> Result<(), ConfigError> {
    let mut names = HashSet::new();
    for (index, rule) in correlation.iter().enumerate() {
        if let Some(name) = rule.name().filter(|name| !names.insert(*name)) {
            let why = format!("another rule is called `{name}`");
            return Err(ConfigError::setting(format!("correlation[{index}].name"), why));
        }
    }
    Ok(())
}

fn bounded(key: String) -> String {
    match key.len() {
        ..=KEY_BYTES => key,
        _ => format!("sha256 {}", hex::encode(Sha256::digest(key))),
    }
}

#[cfg(test)]
mod tests;
