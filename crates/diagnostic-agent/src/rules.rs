//! The rules: one YAML file each, compiled and tried when it is read. A file that is wrong in any
//! way, its own tests included, stops the start with its name, the line and the field.

mod check;
mod expression;
mod file;
mod judge;
mod trial;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use service::ConfigError;

pub(crate) use expression::Scope;
pub use file::Rule;
pub(crate) use file::{Ask, EvidenceSpec, LogAsk, MetricAsk, Over, Take};
pub(crate) use judge::Verdict;

/// Every rule of a directory.
#[derive(Clone, Debug)]
pub struct RuleBook {
    rules: Vec<Rule>,
}

impl RuleBook {
    /// Reads every `*.yaml` and `*.yml` file of `directory`, in the order of their names.
    ///
    /// # Errors
    /// The directory cannot be read or holds no rule, or a rule cannot be used: file, line, rule
    /// and field are named.
    pub fn load(directory: &Path) -> Result<Self, ConfigError> {
        let mut files = rule_files(directory)
            .map_err(|source| ConfigError::Read { path: directory.to_owned(), source })?;
        files.sort();
        if files.is_empty() {
            let message = format!("no rule files (*.yaml) in {}", directory.display());
            return Err(ConfigError::setting("rules", message));
        }
        let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
        let mut rules = Vec::new();
        for path in files {
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
            let rule = Rule::parse(&text, &path.display().to_string())?;
            if let Some(other) = seen.insert(rule.id.clone(), path.clone()) {
                return Err(ConfigError::Invalid {
                    origin: path.display().to_string(),
                    field: "id".into(),
                    message: format!("rule {}: is also in {}", rule.id, other.display()),
                });
            }
            rules.push(rule);
        }
        Ok(Self { rules })
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

fn rule_files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        if is_yaml && path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../tests/rule.yaml");

    fn error(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from:?} is not in the rule");
        Rule::parse(&GOOD.replacen(from, to, 1), "db.yaml").unwrap_err().to_string()
    }

    #[test]
    fn rules_of_the_deployment_load_and_pass_their_own_tests() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config/rules");
        let book = RuleBook::load(&directory).unwrap_or_else(|error| panic!("{error}"));
        let causes: Vec<&str> = book.rules().iter().map(|rule| rule.cause.as_str()).collect();
        for cause in [
            "app.memory_leak",
            "cpu.runaway_job",
            "db.connection_pool_exhausted",
            "disk.full",
            "gateway.capacity_exhausted",
        ] {
            assert!(causes.contains(&cause), "no rule for {cause}");
        }
        for rule in book.rules() {
            assert!(!rule.tests.is_empty(), "rule {} has no tests", rule.id);
        }
    }

    #[test]
    fn rules_with_broken_cel_are_refused_with_file_line_rule_and_field() {
        assert_eq!(
            error("timeouts_rate > 0.2", "timeouts_rate >> 0.2"),
            "db.yaml:23:5: field `conditions[0]`: rule pool: CEL: column 16: Syntax error: \
             extraneous input '>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', \
             'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
        );
        assert_eq!(
            error("timeouts_rate > 0.2", "timeouts_rate.all(r, r > 0.2)"),
            "db.yaml:23:5: field `conditions[0]`: rule pool: CEL: function `all` is not available; \
             there are contains, startsWith, endsWith, size, double, string"
        );
        assert_eq!(
            error("timeouts_rate > 0.2", "timeout_rate > 0.2"),
            "db.yaml:23: field `conditions[0]`: rule pool: `timeout_rate` is unknown; there are \
             timeouts_rate, pool_active, pool_size, log_timeouts, target"
        );
        assert_eq!(
            error("pool_size * 0.9", "pool_size * 2"),
            "db.yaml:24: field `conditions[1]`: rule pool: values are doubles: in \
             arithmetic write 2.0 instead of 2"
        );
        assert_eq!(
            error("log_timeouts > 3", "log_timeouts"),
            "db.yaml:25: field `conditions[2]`: rule pool: gives 1, which is not true or false"
        );
        assert_eq!(
            error("pool_size: pool_size", "pool_size: alert.name"),
            "db.yaml:29: field `facts.pool_size`: rule pool: `alert` is unknown; there are \
             timeouts_rate, pool_active, pool_size, log_timeouts, target"
        );
    }

    #[test]
    fn rules_with_wrong_fields_are_refused() {
        assert_eq!(
            error("cause:", "causes:"),
            "db.yaml:2:1: field `causes`: rule pool: unknown field `causes`, expected one of `id`, \
             `cause`, `summary`, `matches`, `target`, `evidence`, `conditions`, `confidence`, \
             `runbooks`, `facts`, `tests`"
        );
        assert_eq!(
            error("{pool_active} of", "{pool_actve} of"),
            "db.yaml:3: field `summary`: rule pool: `pool_actve` is unknown; there are \
             timeouts_rate, pool_active, pool_size, log_timeouts, target, alert"
        );
        assert_eq!(
            error("name: pool_active", "name: pool_size"),
            "db.yaml:14: field `evidence[2].name`: rule pool: `pool_size` is there twice"
        );
        assert_eq!(
            error("prior: 0.9", "prior: 1.9"),
            "db.yaml:26:13: field `confidence.prior`: rule pool: confidence 1.9 is not within 0..=1"
        );
        assert_eq!(
            error("connection acquire", "connection (acquire"),
            "db.yaml:20: field `evidence[3].log.pattern`: rule pool: unclosed group"
        );
        assert_eq!(
            error("raise-connection-pool", "raise; rm -rf /"),
            "db.yaml:27: field `runbooks[0]`: rule pool: \"raise; rm -rf /\" is not a plain name"
        );
    }

    #[test]
    fn rules_that_fail_their_own_tests_are_refused() {
        assert_eq!(
            error("log_timeouts: 40", "log_timeouts: 1"),
            "db.yaml:31: field `tests[0]`: rule pool: test \"pool of two\": expected satisfied, but \
             `log_timeouts > 3` is false (log_timeouts = 1)"
        );
        assert_eq!(
            error("expect: no_match", "expect: satisfied"),
            "db.yaml:37: field `tests[1]`: rule pool: test \"another alert\": expected satisfied, \
             but the rule does not match the alert"
        );
    }

    #[test]
    fn one_id_stands_for_one_rule() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.yaml"), GOOD).unwrap();
        std::fs::write(directory.path().join("b.yml"), GOOD).unwrap();
        let message = RuleBook::load(directory.path()).unwrap_err().to_string();
        assert!(message.contains("b.yml: field `id`: rule pool: is also in"), "{message}");
        let empty = tempfile::tempdir().unwrap();
        let message = RuleBook::load(empty.path()).unwrap_err().to_string();
        assert!(message.starts_with("setting `rules`: no rule files (*.yaml) in"), "{message}");
    }
}
