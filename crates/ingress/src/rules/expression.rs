//! CEL expressions of correlation rules. What one may say is a small part of CEL whose types are
//! known when the settings are read (see `kinds`): no loop, no call that grows what it is given, so
//! that an evaluation costs no more than its source is long and its labels are large. All that can
//! fail later is a label that an alert lacks, or a text that is no number. Labels are never copied
//! for an evaluation.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::traits::{Container, Indexer};
use cel::common::types::{CelString, Type};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, Program, Value};
use incident::{Alert, Severity};

use super::kinds::{Kind, kind_of};

/// Longest source.
const SOURCE_CHARS: usize = 1_000;
/// Room for the deepest source the parser takes.
const PARSER_STACK_BYTES: usize = 64 << 20;

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

#[derive(Clone)]
pub(super) struct Expression {
    source: String,
    program: Arc<Program>,
}

impl Expression {
    /// # Errors
    /// What is wrong with the source, with its column.
    pub(super) fn compile(source: &str, wanted: Kind) -> Result<Self, String> {
        if source.chars().count() > SOURCE_CHARS {
            return Err(format!("longer than {SOURCE_CHARS} characters"));
        }
        let program = parse(source, wanted)?;
        Ok(Self { source: source.to_owned(), program: Arc::new(program) })
    }

    /// Whether it is true of the alert; a label that the alert lacks is a no.
    pub(super) fn holds(&self, scope: &Scope<'_>) -> bool {
        matches!(self.evaluate(scope), Some(Value::Bool(true)))
    }

    /// The text it makes of the alert, if it makes one.
    pub(super) fn text(&self, scope: &Scope<'_>) -> Option<Arc<String>> {
        match self.evaluate(scope) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn evaluate(&self, scope: &Scope<'_>) -> Option<Value> {
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
            context.set_variable_resolver(scope);
            self.program.execute(&context)
        }));
        evaluated.ok()?.ok()
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.source)
    }
}

/// Parses on a stack of its own: the parser takes far more of it than the evaluation.
fn parse(source: &str, wanted: Kind) -> Result<Program, String> {
    let parsed = std::thread::scope(|scope| {
        let parse = || {
            let program = ENVIRONMENT.compile(source).map_err(|errors| first_error(&errors))?;
            match kind_of(program.expression(), program.source_info())? {
                kind if kind == wanted => Ok(program),
                other => Err(format!("gives {other}, not {wanted}")),
            }
        };
        let thread = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES);
        thread.spawn_scoped(scope, parse).map(std::thread::ScopedJoinHandle::join)
    });
    match parsed {
        Ok(Ok(parsed)) => parsed,
        _ => Err("the CEL parser gave up on it".to_owned()),
    }
}

fn first_error(errors: &cel::ParseErrors) -> String {
    match errors.errors.first() {
        Some(error) => format!("column {}: {}", error.pos.1.max(1), error.msg),
        None => "cannot be parsed".to_owned(),
    }
}

/// An alert as expressions see it.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    alert: &'a Alert,
    labels: Labels<'a>,
}

impl<'a> Scope<'a> {
    pub(super) fn of(alert: &'a Alert) -> Self {
        Self { alert, labels: Labels(&alert.labels) }
    }
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let text = |text: &'b str| Some(CowVal::owned(CelString::from(text)));
        match variable {
            "labels" => Some(CowVal::Borrowed(&self.labels)),
            "name" => text(&self.alert.name),
            "source" => text(&self.alert.source),
            "severity" => text(match self.alert.severity {
                Severity::Info => "info",
                Severity::Warning => "warning",
                Severity::Critical => "critical",
            }),
            _ => None,
        }
    }
}

static LABELS: Type = Type::new_unspecified_type("labels");

/// The labels of an alert, looked up where they are. An empty one counts as absent.
#[derive(Clone, Copy, Debug)]
struct Labels<'a>(&'a BTreeMap<String, String>);

impl<'a> Labels<'a> {
    fn get(self, name: &dyn Val) -> Result<Option<&'a str>, ExecutionError> {
        let Some(name) = name.downcast_ref::<CelString>() else {
            let got = name.get_type().name().to_owned();
            return Err(ExecutionError::UnexpectedType { got, want: "string".to_owned() });
        };
        let value = self.0.get(name.inner()).map(String::as_str);
        Ok(value.filter(|value| !value.is_empty()))
    }
}

impl Val for Labels<'_> {
    fn get_type(&self) -> &Type {
        &LABELS
    }

    fn cel_type() -> &'static Type {
        &LABELS
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Container for Labels<'_> {
    fn contains(&self, name: &dyn Val) -> Result<bool, ExecutionError> {
        Ok((*self).get(name)?.is_some())
    }
}

impl Indexer for Labels<'_> {
    fn get<'b, 'v>(&'b self, name: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        match Labels::get(*self, name)? {
            Some(value) => Ok(CowVal::owned(CelString::from(value))),
            None => Err(ExecutionError::NoSuchKey(Arc::default())),
        }
    }

    fn steal<'v>(self: Box<Self>, name: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Indexer::get(&*self, name).map(CowVal::into_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::alert;

    fn holds(source: &str) -> bool {
        let alert = alert(&[("server", "db-1"), ("port", "5432"), ("empty", "")]);
        Expression::compile(source, Kind::Truth).unwrap().holds(&Scope::of(&alert))
    }

    fn refused(source: &str) -> String {
        Expression::compile(source, Kind::Truth).unwrap_err()
    }

    #[test]
    fn conditions_see_labels_name_severity_and_source() {
        for source in [
            r#"name == "Timeouts" && severity == "critical" && source == "alertmanager""#,
            r#"labels.server == "db-1" && labels["server"] != "db-2""#,
            r#"labels.server in ["db-1", "db-2"] && "server" in labels"#,
            r#"labels.server.startsWith("db-") && labels.server.endsWith("1")"#,
            r#"labels.server.contains("b") && size(labels.server) == 4 && !(name < "A")"#,
            r#"has(labels.server) && !has(labels.cluster) && !has(labels.empty)"#,
            r#"int(labels.port) >= 1024"#,
            r#"labels.cluster == "eu" || labels.server == "db-1""#,
        ] {
            assert!(holds(source), "{source}");
        }
    }

    #[test]
    fn a_label_that_is_absent_or_no_number_is_a_no() {
        for source in
            [r#"labels.cluster == "eu""#, r#"labels.empty == """#, "int(labels.server) > 0"]
        {
            assert!(!holds(source), "{source}");
        }
    }

    #[test]
    fn wrong_types_are_found_before_any_alert_comes() {
        for (source, why) in [
            ("labels.server", "gives a text, not true or false"),
            (
                r#"name == "a" && labels.server"#,
                "column 13: `_&&_` does not take true or false and a text",
            ),
            ("labels.port > 1024", "`_>_` does not take a text and a number"),
            ("label.server == \"a\"", "column 1: `label` is unknown"),
            (r#"labels.a.b == "c""#, "has no fields"),
            ("name == 1", "`_==_` does not take a text and a number"),
            ("labels == labels", "`_==_` does not take the labels and the labels"),
            ("[1] == [1]", "a list holds texts only"),
            (r#"name ? true : false"#, "`_?_:_` does not take a text"),
            ("", "column 1"),
        ] {
            let said = refused(source);
            assert!(said.contains(why), "{source}: {said}");
        }
        let said = Expression::compile("name == \"a\"", Kind::Text).unwrap_err();
        assert_eq!(said, "gives true or false, not a text");
    }

    #[test]
    fn what_could_cost_much_is_refused() {
        for (source, why) in [
            ("labels.all(l, l == \"a\")", "loops are not available"),
            ("[name].map(n, n) == [name]", "loops are not available"),
            ("name.matches(\"a\")", "`matches` is not available"),
            ("dyn(name) == name", "`dyn` is not available"),
        ] {
            let said = refused(source);
            assert!(said.contains(why), "{source}: {said}");
        }
        assert_eq!(
            refused(&format!("name == \"{}\"", "x".repeat(1_000))),
            "longer than 1000 characters"
        );
    }

    #[test]
    fn nesting_that_would_overflow_the_stack_is_refused() {
        for deep in [
            format!("{}true", "true ? true : ".repeat(60)),
            format!("{}name == name", "name + ".repeat(120)),
            "[".repeat(900),
            format!("labels{} == name", ".a".repeat(400)),
            format!("{}name{}", "(".repeat(480), ")".repeat(480)),
        ] {
            assert!(Expression::compile(&deep, Kind::Truth).is_err(), "{deep}");
        }
        assert!(holds(&format!("{}true", "name == \"a\" || ".repeat(60))));
        assert!(holds(&format!("size({}name) > 0", "name + ".repeat(16))));
    }
}
