//! What a rule's types cannot check: names that must exist, expressions that must give the right
//! kind of value, and the rule's own tests. Every error names file, line, rule and field.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Value, json};
use service::ConfigError;

use super::expression::{EvaluationError, Expression};
use super::file::{Ask, Rule, Take};
use super::trial;
use super::{EvidenceSpec, Scope};
use crate::text::{is_plain_name, placeholders};

/// Longest window of evidence: a day.
const WINDOW_SECONDS: u64 = 86_400;

/// A rule file while it is read.
struct Source<'a> {
    text: &'a str,
    origin: &'a str,
}

type Checked = Result<(), ConfigError>;

impl Rule {
    /// Reads one rule; `origin` is what an error calls the file.
    ///
    /// # Errors
    /// The rule cannot be used: file, line, rule and field are named.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let source = Source { text, origin };
        let rule: Self = service::parse_yaml(text, origin).map_err(|error| source.named(error))?;
        rule.check_evidence(&source)?;
        rule.check_names(&source)?;
        rule.check_expressions(&source)?;
        trial::run(&rule).map_err(|(index, name, why)| {
            let field = format!("tests[{index}]");
            source.error(&field, &format!("name: {name}"), format!("test {name:?}: {why}"))
        })?;
        Ok(rule)
    }

    fn check_names(&self, source: &Source<'_>) -> Checked {
        let mut names = vec![("id".to_owned(), &self.id), ("cause".to_owned(), &self.cause)];
        for (index, runbook) in self.runbooks.iter().enumerate() {
            names.push((format!("runbooks[{index}]"), runbook));
        }
        for (field, name) in names {
            if !is_plain_name(name) {
                return Err(source.error(&field, name, format!("{name:?} is not a plain name")));
            }
        }
        if !self.confidence.weight.is_finite() || self.confidence.weight <= 0.0 {
            let message = "must be above 0".to_owned();
            return Err(source.error("confidence.weight", "confidence:", message));
        }
        for (field, is_empty) in
            [("evidence", self.evidence.is_empty()), ("conditions", self.conditions.is_empty())]
        {
            if is_empty {
                let message = "must not be empty".to_owned();
                return Err(source.error(field, &format!("{field}:"), message));
            }
        }
        let known = self.known(&["target", "alert"]);
        for name in placeholders(&self.summary) {
            source.known("summary", &self.summary, name, &known)?;
        }
        Ok(())
    }

    fn check_evidence(&self, source: &Source<'_>) -> Checked {
        let mut seen = BTreeSet::new();
        for (index, spec) in self.evidence.iter().enumerate() {
            let field = |name: &str| format!("evidence[{index}].{name}");
            let line = format!("name: {}", spec.name);
            if !is_identifier(&spec.name) {
                let message = format!(
                    "{:?} is not a name: lower-case letters, digits and _, and not alert, \
                     incident or target",
                    spec.name
                );
                return Err(source.error(&field("name"), &line, message));
            }
            if !seen.insert(&spec.name) {
                let message = format!("`{}` is there twice", spec.name);
                return Err(source.error(&field("name"), &line, message));
            }
            if !spec.weight.is_finite() || spec.weight < 0.0 {
                let message = "must be 0 or above".to_owned();
                return Err(source.error(&field("weight"), &line, message));
            }
            let window = match &spec.ask {
                Ask::Metric(metric) => metric.window_seconds,
                Ask::Log(log) => log.window_seconds,
            };
            if !(1..=WINDOW_SECONDS).contains(&window) {
                let message = format!("window_seconds must be within 1..={WINDOW_SECONDS}");
                return Err(source.error(&field("window_seconds"), &line, message));
            }
            check_ask(index, spec, source)?;
        }
        Ok(())
    }

    fn check_expressions(&self, source: &Source<'_>) -> Checked {
        let about: Vec<String> = ["alert", "incident"].map(str::to_owned).to_vec();
        let scope = trial::sample_alert();
        source.expression("matches", &self.matches, &about, &scope, true)?;
        if let Some(target) = &self.target {
            source.expression("target", target, &about[..1], &scope, false)?;
        }
        let known = self.known(&["target"]);
        let scope = self.sample();
        for (index, condition) in self.conditions.iter().enumerate() {
            let field = format!("conditions[{index}]");
            source.expression(&field, condition, &known, &scope, true)?;
        }
        for (name, fact) in &self.facts {
            source.expression(&format!("facts.{name}"), fact, &known, &scope, false)?;
        }
        Ok(())
    }

    /// The names an expression may use.
    fn known(&self, others: &[&str]) -> Vec<String> {
        let own = self.evidence.iter().map(|spec| spec.name.clone());
        own.chain(others.iter().map(|name| (*name).to_owned())).collect()
    }

    /// One value of the right kind for each name.
    fn sample(&self) -> Scope {
        let kind = |spec: &EvidenceSpec| match &spec.ask {
            Ask::Metric(metric) if metric.label.is_some() => json!(["a"]),
            Ask::Log(log) if log.take == Take::Newest => json!("a"),
            _ => json!(1.0),
        };
        let values = self.evidence.iter().map(|spec| (spec.name.clone(), kind(spec)));
        values.chain([("target".to_owned(), json!("a"))]).collect()
    }
}

fn check_ask(index: usize, spec: &EvidenceSpec, source: &Source<'_>) -> Checked {
    match &spec.ask {
        Ask::Metric(metric) => {
            let field = format!("evidence[{index}].metric");
            if metric.query.trim().is_empty() {
                let message = "must not be empty".to_owned();
                return Err(source.error(&format!("{field}.query"), "query:", message));
            }
            if metric.label.is_some() && metric.over.is_some() {
                let message = "`label` and `over` exclude one another".to_owned();
                return Err(source.error(&field, &metric.query, message));
            }
            Ok(())
        }
        Ask::Log(log) => {
            let field = format!("evidence[{index}].log.pattern");
            let with_target = log.pattern.replace("$target", "a");
            let pattern = Regex::new(&with_target).map_err(|error| {
                source.error(&field, &log.pattern, last_line(&error.to_string()))
            })?;
            if log.take == Take::Newest && pattern.captures_len() < 2 {
                let message = "needs a group `(…)` around what is taken".to_owned();
                return Err(source.error(&field, &log.pattern, message));
            }
            Ok(())
        }
    }
}

impl Source<'_> {
    fn error(&self, field: &str, needle: &str, message: String) -> ConfigError {
        let origin = match self.line_of(field, needle) {
            Some(line) => format!("{}:{line}", self.origin),
            None => self.origin.to_owned(),
        };
        self.named(ConfigError::Invalid { origin, field: field.to_owned(), message })
    }

    /// Adds the rule's id, where the file has one.
    fn named(&self, error: ConfigError) -> ConfigError {
        let id = self.text.lines().find_map(|line| line.strip_prefix("id:"));
        match (error, id) {
            (ConfigError::Invalid { origin, field, message }, Some(id)) => {
                let id = id.trim().trim_matches(['"', '\'']);
                // The parser names the mapping around the field once more.
                let message = match message.split_once(": ") {
                    Some((around, rest)) if field.starts_with(&format!("{around}.")) => rest,
                    _ => &message,
                };
                ConfigError::Invalid { origin, field, message: format!("rule {id}: {message}") }
            }
            (error, _) => error,
        }
    }

    /// The last line of the field's section with the beginning of `needle` (of what stands twice,
    /// the second is wrong), or else the section's first.
    fn line_of(&self, field: &str, needle: &str) -> Option<usize> {
        let section = field.split(['.', '[']).next()?;
        let lines: Vec<&str> = self.text.lines().collect();
        let begins = |line: &&str| line.strip_prefix(section).is_some_and(|l| l.starts_with(':'));
        let first = lines.iter().position(begins)?;
        let is_other = |line: &&str| line.starts_with(|c: char| c.is_ascii_alphabetic());
        let length = lines[first + 1..].iter().position(is_other).unwrap_or(lines.len());
        let start: String = needle.lines().next()?.trim().chars().take(30).collect();
        let mut section = lines.iter().enumerate().skip(first).take(length + 1);
        let found = section.rfind(|(_, line)| line.contains(&start));
        Some(found.map_or(first, |(index, _)| index) + 1)
    }

    fn known(&self, field: &str, needle: &str, name: &str, known: &[String]) -> Checked {
        if known.iter().any(|one| one == name) {
            return Ok(());
        }
        let message = format!("`{name}` is unknown; there are {}", known.join(", "));
        Err(self.error(field, needle, message))
    }

    /// Tries an expression on sample values: a type that cannot fit shows here, not at three in
    /// the morning.
    fn expression(
        &self,
        field: &str,
        expression: &Expression,
        known: &[String],
        scope: &Scope,
        is_claim: bool,
    ) -> Checked {
        for name in expression.variables() {
            self.known(field, expression.source(), name, known)?;
        }
        let tried = match is_claim {
            true => expression.holds(scope).map(Value::Bool),
            false => expression.evaluate(scope),
        };
        match tried {
            Ok(_) | Err(EvaluationError::NoSuchKey(_)) => Ok(()),
            Err(EvaluationError::Failed(why)) => Err(self.error(field, expression.source(), why)),
        }
    }
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !matches!(name, "alert" | "incident" | "target" | "in" | "true" | "false" | "null")
}

/// The reason at the end of a regular expression's error, without the picture above it.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or(message);
    line.trim().trim_start_matches("error: ").to_owned()
}
