//! Which rules are asked about which targets, and the queries that takes, each of them once.

use incident::{Alert, Brief};
use jiff::Timestamp;

use crate::evidence::Query;
use crate::rules::{Rule, RuleBook};
use crate::text::clean;

/// Cases of one diagnosis at most: an incident has a handful of targets.
const CASES: usize = 60;

/// One rule about one target.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) alert: &'a Alert,
    pub(crate) target: String,
    /// By evidence of the rule: the index of its query.
    pub(crate) asked: Vec<usize>,
}

/// Everything to look at.
#[derive(Debug, Default)]
pub(crate) struct Inquiry<'a> {
    pub(crate) cases: Vec<Case<'a>>,
    pub(crate) queries: Vec<Query>,
    /// Why something was not looked at, for people.
    pub(crate) notes: Vec<String>,
}

impl<'a> Inquiry<'a> {
    /// The rules that match a firing alert of the brief, each about the alert's target.
    pub(crate) fn of_brief(book: &'a RuleBook, brief: &'a Brief, now: Timestamp) -> Self {
        let mut inquiry = Self::default();
        let firing = || brief.alerts.iter().filter(|alert| alert.is_firing());
        for alert in firing() {
            for rule in book.rules().iter().filter(|rule| rule.matches(alert, &brief.incident)) {
                inquiry.add(rule, alert, now);
            }
        }
        if firing().next().is_none() {
            inquiry.notes.push("no alert is firing".into());
        } else if inquiry.cases.is_empty() && inquiry.notes.is_empty() {
            let names: Vec<String> =
                firing().take(5).map(|alert| format!("{:?}", clean(&alert.name))).collect();
            inquiry.notes.push(format!("no rule is for {}", names.join(", ")));
        }
        inquiry
    }

    /// Every rule about every target: a question in plain text names no alert.
    pub(crate) fn of_question(book: &'a RuleBook, brief: &'a Brief, now: Timestamp) -> Self {
        let mut inquiry = Self::default();
        for alert in &brief.alerts {
            for rule in book.rules() {
                inquiry.add(rule, alert, now);
            }
        }
        inquiry
    }

    fn add(&mut self, rule: &'a Rule, alert: &'a Alert, now: Timestamp) {
        let target = match rule.target_of(alert) {
            Ok(target) => target,
            Err(why) => {
                self.note(format!("rule {} has no target: {why}", rule.id));
                return;
            }
        };
        let is_known = |case: &Case<'_>| std::ptr::eq(case.rule, rule) && case.target == target;
        if self.cases.iter().any(is_known) {
            return;
        }
        if self.cases.len() == CASES {
            self.note(format!("only the first {CASES} pairs of rule and target were looked at"));
            return;
        }
        let asked = rule
            .evidence
            .iter()
            .map(|spec| self.index_of(Query::of(spec, &target, alert.starts_at, now)))
            .collect();
        self.cases.push(Case { rule, alert, target, asked });
    }

    fn index_of(&mut self, query: Query) -> usize {
        self.queries.iter().position(|known| *known == query).unwrap_or_else(|| {
            self.queries.push(query);
            self.queries.len() - 1
        })
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < 5 && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}
