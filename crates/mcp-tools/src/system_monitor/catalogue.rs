//! The signals that have names: PromQL with a unit, and what counts as a change. `$server` is
//! replaced by a target's name, which cannot hold anything that PromQL would read as syntax.

use std::collections::BTreeMap;
use std::path::Path;

use service::ConfigError;

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The targets that exist; a snapshot of any other is refused.
    pub targets: Vec<String>,
    pub signals: BTreeMap<String, SignalQuery>,
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalQuery {
    /// PromQL; `$server` stands for the target's name.
    pub query: String,
    /// Such as `s`, `By`, `1`, `{timeouts}/s`.
    pub unit: String,
    /// In words, for people.
    #[serde(default)]
    pub description: String,
    /// The direction in which a change is bad.
    pub worse: Worse,
    /// The smallest change that means anything, in `unit`; above 0.
    pub tolerance: f64,
    /// Targets that have this signal; empty: all.
    #[serde(default)]
    pub targets: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Worse {
    Up,
    Down,
    Either,
}

impl Catalogue {
    /// Reads and checks a catalogue file.
    ///
    /// # Errors
    /// The first thing that cannot be used, with file and field.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let catalogue: Self = service::read_yaml(path)?;
        catalogue.check().map_err(|(field, message)| ConfigError::Invalid {
            origin: path.display().to_string(),
            field,
            message,
        })?;
        Ok(catalogue)
    }

    fn check(&self) -> Result<(), (String, String)> {
        for (position, target) in self.targets.iter().enumerate() {
            if !is_name(target) {
                return Err((format!("targets[{position}]"), format!("{target:?} is not a name")));
            }
        }
        for (name, signal) in &self.signals {
            let field = |field: &str| format!("signals.{name}.{field}");
            if !is_name(name) {
                return Err((field(""), "not a name".to_owned()));
            }
            if !signal.tolerance.is_finite() || signal.tolerance <= 0.0 {
                return Err((field("tolerance"), "must be above 0".to_owned()));
            }
            if let Some(unknown) = signal.targets.iter().find(|name| !self.targets.contains(name)) {
                return Err((field("targets"), format!("{unknown:?} is not among the targets")));
            }
        }
        Ok(())
    }
}

impl SignalQuery {
    pub(super) fn exists_for(&self, target: &str) -> bool {
        self.targets.is_empty() || self.targets.iter().any(|name| name == target)
    }

    /// The query for one target, whose name was checked against the catalogue.
    pub(super) fn for_target(&self, target: &str) -> String {
        debug_assert!(is_name(target));
        self.query.replace("$server", target)
    }
}

/// Letters, digits and `_.:-`: no quote, brace or blank.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_catalogue_is_valid() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config/signals.yaml");
        let catalogue = Catalogue::read(&path).unwrap();
        assert!(catalogue.targets.contains(&"db-server-01".to_owned()));
        assert!(catalogue.signals.len() >= 10);
    }

    #[test]
    fn a_name_with_syntax_in_it_is_refused() {
        for name in ["", "a b", "a\"} or vector(1) #", "a$", "é"] {
            let text = format!("targets: [{name:?}]\nsignals: {{}}\n");
            let catalogue: Catalogue = service::parse_yaml(&text, "t").unwrap();
            assert_eq!(catalogue.check().unwrap_err().0, "targets[0]", "{name}");
        }
        assert!(is_name("db-server-01") && is_name("a.b:8000"));
    }

    #[test]
    fn a_signal_without_tolerance_or_of_an_unknown_target_is_refused() {
        let signal = |rest: &str| {
            let text = format!(
                "targets: [db]\nsignals:\n  up: {{query: up, unit: '1', worse: down, {rest}}}\n"
            );
            service::parse_yaml::<Catalogue>(&text, "t").unwrap().check()
        };
        assert_eq!(signal("tolerance: 0").unwrap_err().0, "signals.up.tolerance");
        assert_eq!(signal("tolerance: 1, targets: [web]").unwrap_err().0, "signals.up.targets");
        signal("tolerance: 1, targets: [db]").unwrap();
    }
}
