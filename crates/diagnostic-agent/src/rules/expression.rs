//! CEL expressions, compiled when a rule file is read. Without the macros that loop (`all`, `map`
//! and the like) and with a few functions only, an evaluation costs no more than its source is long
//! and its operands are large; both are bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{Expr, IdedExpr};
use cel::{Context, Env, ExecutionError, Program};
use serde::de::{self, Deserialize, Deserializer};
use serde_json::Value;

/// Longest source.
const SOURCE_CHARS: usize = 1000;
/// Room for the deepest source the parser takes.
const PARSER_STACK_BYTES: usize = 64 * 1024 * 1024;
/// Deepest nesting: each level of an evaluation takes much of the stack.
const DEPTH: usize = 20;
/// Everything an expression may call, besides operators.
const FUNCTIONS: [&str; 6] = ["contains", "startsWith", "endsWith", "size", "double", "string"];
const OPERATORS: [&str; 16] = [
    "_?_:_", "_&&_", "_||_", "!_", "_-_", "_+_", "_*_", "_/_", "_==_", "_!=_", "_>=_", "_<=_",
    "_>_", "_<_", "-_", "_[_]",
];
const IN: &str = "@in";

static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// What an expression can see, by name.
pub(crate) type Scope = BTreeMap<String, Value>;

#[derive(Clone)]
pub(crate) struct Expression {
    source: String,
    variables: BTreeSet<String>,
    program: Arc<Program>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum EvaluationError {
    /// A key is asked for that the map does not have, such as a label an alert lacks.
    #[error("there is no {0}")]
    NoSuchKey(String),
    #[error("{0}")]
    Failed(String),
}

impl Expression {
    pub(crate) fn compile(source: &str) -> Result<Self, String> {
        if source.chars().count() > SOURCE_CHARS {
            return Err(format!("longer than {SOURCE_CHARS} characters"));
        }
        let program = parse(source)?;
        let references = program.references();
        for function in references.functions() {
            let is_known =
                OPERATORS.contains(&function) || FUNCTIONS.contains(&function) || function == IN;
            if !is_known {
                let known = FUNCTIONS.join(", ");
                return Err(format!("function `{function}` is not available; there are {known}"));
            }
        }
        let variables = references.variables().into_iter().map(str::to_owned).collect();
        Ok(Self { source: source.trim().to_owned(), variables, program: Arc::new(program) })
    }

    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The names it needs from its scope.
    pub(crate) fn variables(&self) -> &BTreeSet<String> {
        &self.variables
    }

    pub(crate) fn evaluate(&self, scope: &Scope) -> Result<Value, EvaluationError> {
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
            for name in &self.variables {
                if let Some(value) = scope.get(name) {
                    context.add_variable_from_value(name.as_str(), to_cel(value));
                }
            }
            self.program.execute(&context)
        }));
        match evaluated {
            Ok(Ok(value)) => from_cel(&value),
            Ok(Err(ExecutionError::NoSuchKey(key))) => {
                Err(EvaluationError::NoSuchKey(key.to_string()))
            }
            Ok(Err(error)) => Err(EvaluationError::Failed(hinted(&error))),
            Err(_) => Err(EvaluationError::Failed("the evaluation broke off".to_owned())),
        }
    }

    /// Evaluates to a claim.
    pub(crate) fn holds(&self, scope: &Scope) -> Result<bool, EvaluationError> {
        match self.evaluate(scope)? {
            Value::Bool(holds) => Ok(holds),
            other => {
                Err(EvaluationError::Failed(format!("gives {other}, which is not true or false")))
            }
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.source)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Source;
        // Compiled inside the visitor, so that an error bears the line of the expression.
        impl de::Visitor<'_> for Source {
            type Value = Expression;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a CEL expression as text")
            }
            fn visit_str<E: de::Error>(self, source: &str) -> Result<Expression, E> {
                Expression::compile(source).map_err(|why| E::custom(format!("CEL: {why}")))
            }
        }
        deserializer.deserialize_str(Source)
    }
}

/// Parses on a stack of its own: the parser takes far more of it than the evaluation.
fn parse(source: &str) -> Result<Program, String> {
    let parsed = std::thread::scope(|scope| {
        let parse = || {
            let program = ENVIRONMENT.compile(source).map_err(|errors| first_error(&errors))?;
            match depth(program.expression())? {
                ..=DEPTH => Ok(program),
                deeper => Err(format!("nested {deeper} levels deep, {DEPTH} at most")),
            }
        };
        let thread = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES);
        thread.spawn_scoped(scope, parse).map(|parser| parser.join())
    });
    match parsed {
        Ok(Ok(parsed)) => parsed,
        _ => Err("the CEL parser gave up on it".to_owned()),
    }
}

/// How deep the evaluation will nest. `&&` and `||` are balanced by the parser and cost little.
///
/// # Errors
/// A kind of expression that rules do not need.
fn depth(expression: &IdedExpr) -> Result<usize, String> {
    let deepest = |parts: &mut dyn Iterator<Item = &IdedExpr>| {
        let mut deepest = 0;
        for part in parts {
            deepest = depth(part)?.max(deepest);
        }
        Ok::<_, String>(deepest)
    };
    let below = match &expression.expr {
        Expr::Ident(_) | Expr::Literal(_) => 0,
        Expr::Call(call) => deepest(&mut call.target.as_deref().into_iter().chain(&call.args))?,
        Expr::List(list) => deepest(&mut list.elements.iter())?,
        Expr::Select(select) => depth(&select.operand)?,
        Expr::Map(_) | Expr::Struct(_) | Expr::Comprehension(_) | Expr::Unspecified => {
            return Err("only comparisons, arithmetic, lists and `in` are available".into());
        }
    };
    Ok(below + 1)
}

fn first_error(errors: &cel::ParseErrors) -> String {
    match errors.errors.first() {
        Some(error) => format!("column {}: {}", error.pos.1.max(1), error.msg),
        None => "cannot be parsed".to_owned(),
    }
}

/// Evidence is double, and CEL does arithmetic between equal types only.
fn hinted(error: &ExecutionError) -> String {
    use cel::Value::{Float, Int};
    match error {
        ExecutionError::UnsupportedBinaryOperator(_, Float(_), Int(_))
        | ExecutionError::UnsupportedBinaryOperator(_, Int(_), Float(_)) => {
            "values are doubles: in arithmetic write 2.0 instead of 2".to_owned()
        }
        _ => error.to_string(),
    }
}

fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::Number(number) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), to_cel(value)))
            .collect::<std::collections::HashMap<String, cel::Value>>()
            .into(),
    }
}

fn from_cel(value: &cel::Value) -> Result<Value, EvaluationError> {
    Ok(match value {
        cel::Value::Bool(flag) => Value::Bool(*flag),
        cel::Value::Int(number) => Value::from(*number),
        cel::Value::UInt(number) => Value::from(*number),
        cel::Value::Float(number) => crate::text::number(*number)
            .ok_or_else(|| EvaluationError::Failed(format!("{number} is no usable number")))?,
        cel::Value::String(text) => Value::String(text.to_string()),
        other => {
            let kind = other.type_of();
            return Err(EvaluationError::Failed(format!("a {kind} is no usable result")));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope() -> Scope {
        let value = json!({
            "rate": 4.5, "size": 2.0, "job": "report",
            "jobs": ["report", "cleaner"],
            "alert": {"name": "DiskSpaceCritical", "labels": {"server": "db-server-01"}},
        });
        value.as_object().unwrap().clone().into_iter().collect()
    }

    fn holds(source: &str) -> Result<bool, EvaluationError> {
        Expression::compile(source).unwrap().holds(&scope())
    }

    #[test]
    fn conditions_compare_numbers_text_and_lists() {
        assert_eq!(holds("rate > 4 && size >= 2.0 * 0.9"), Ok(true));
        assert_eq!(holds("job in jobs"), Ok(true));
        assert_eq!(holds(r#"alert.name in ["DiskSpaceCritical"]"#), Ok(true));
        assert_eq!(holds(r#"alert.labels.server.startsWith("app")"#), Ok(false));
        assert_eq!(holds(r#"alert.labels["server"] == "db-server-01""#), Ok(true));
        assert_eq!(holds(r#""server" in alert.labels"#), Ok(true));
    }

    #[test]
    fn absent_label_is_told_apart() {
        let missing = EvaluationError::NoSuchKey("cluster".into());
        assert_eq!(holds(r#"alert.labels.cluster == "a""#), Err(missing));
    }

    #[test]
    fn loops_and_unknown_functions_are_refused() {
        for source in ["jobs.all(j, j == job)", "jobs.map(j, j)", "[1].exists(x, x > 0)"] {
            let why = Expression::compile(source).unwrap_err();
            assert!(why.contains("is not available"), "{source}: {why}");
        }
        let long = format!("rate > {}", "1".repeat(SOURCE_CHARS));
        assert_eq!(Expression::compile(&long).unwrap_err(), "longer than 1000 characters");
    }

    #[test]
    fn nesting_that_would_overflow_the_stack_is_refused() {
        for deep in [
            format!("{}rate{}", "(".repeat(400), ")".repeat(400)),
            format!("{}rate", "true ? rate : ".repeat(60)),
            "[".repeat(900),
            format!("{}rate > 0", "rate + ".repeat(140)),
            format!("alert{}", ".a".repeat(400)),
        ] {
            assert!(Expression::compile(&deep).is_err(), "{deep}");
        }
        assert_eq!(
            Expression::compile(&format!("{}rate > 0", "rate + ".repeat(20))).unwrap_err(),
            "nested 22 levels deep, 20 at most"
        );
        assert_eq!(holds(&format!("{}rate > 0", "rate > 9 || ".repeat(80))), Ok(true));
        assert_eq!(holds(&format!("{}rate > 0", "rate + ".repeat(16))), Ok(true));
        assert_eq!(holds(&format!("{}(rate > 0)", "!".repeat(900))), Ok(true));
    }

    #[test]
    fn syntax_error_names_its_column() {
        let why = Expression::compile("rate > > 3").unwrap_err();
        assert!(why.starts_with("column 8: "), "{why}");
    }

    #[test]
    fn whole_numbers_in_arithmetic_get_a_hint() {
        let error = holds("size * 2 > 3.0").unwrap_err().to_string();
        assert_eq!(error, "values are doubles: in arithmetic write 2.0 instead of 2");
        assert_eq!(holds("size").unwrap_err().to_string(), "gives 2, which is not true or false");
    }
}
