//! The types of an expression, worked out from its source alone: what cannot fit is refused when
//! the settings are read, not found out by an alert. It is also the list of what an expression may
//! use: everything that is not named here is refused.

use std::fmt;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SourceInfo, operators};

const FUNCTIONS: [&str; 5] = ["contains", "startsWith", "endsWith", "size", "int"];
const OPERATORS: [&str; 13] = [
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::CONDITIONAL,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::IN,
    operators::INDEX,
    operators::ADD,
];
/// Deepest nesting: each level of an evaluation takes much of the stack.
const DEPTH: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Truth,
    Text,
    Number,
    Texts,
    Labels,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truth => "true or false",
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Texts => "a list of texts",
            Self::Labels => "the labels",
        })
    }
}

/// What the expression gives.
///
/// # Errors
/// It uses something that is unknown or does not fit, which is named with its column.
pub(super) fn kind_of(expression: &IdedExpr, source: &SourceInfo) -> Result<Kind, String> {
    Checker { source }.kind(expression, DEPTH)
}

struct Checker<'a> {
    source: &'a SourceInfo,
}

impl Checker<'_> {
    fn kind(&self, expression: &IdedExpr, depth: usize) -> Result<Kind, String> {
        let fail = |why: String| Err(self.at(expression.id, &why));
        let Some(depth) = depth.checked_sub(1) else {
            return fail(format!("nested more than {DEPTH} levels deep"));
        };
        match &expression.expr {
            Expr::Ident(name) => match name.as_str() {
                "labels" => Ok(Kind::Labels),
                "name" | "severity" | "source" => Ok(Kind::Text),
                other => {
                    fail(format!("`{other}` is unknown; there are labels, name, severity, source"))
                }
            },
            Expr::Literal(LiteralValue::Boolean(_)) => Ok(Kind::Truth),
            Expr::Literal(LiteralValue::String(_)) => Ok(Kind::Text),
            Expr::Literal(LiteralValue::Int(_)) => Ok(Kind::Number),
            Expr::Select(select) => match self.kind(&select.operand, depth)? {
                Kind::Labels if select.test => Ok(Kind::Truth),
                Kind::Labels => Ok(Kind::Text),
                other => fail(format!("{other} has no fields")),
            },
            Expr::List(list) => {
                for element in &list.elements {
                    if self.kind(element, depth)? != Kind::Text {
                        return fail("a list holds texts only".to_owned());
                    }
                }
                Ok(Kind::Texts)
            }
            Expr::Call(call) => self.call(expression.id, call, depth),
            Expr::Comprehension(_) => fail("loops are not available".to_owned()),
            _ => fail("only texts, whole numbers, truths and lists are available".to_owned()),
        }
    }

    fn call(&self, id: u64, call: &CallExpr, depth: usize) -> Result<Kind, String> {
        let operands = call.target.as_deref().into_iter().chain(&call.args);
        let kinds: Vec<Kind> =
            operands.map(|operand| self.kind(operand, depth)).collect::<Result<_, _>>()?;
        let name = call.func_name.as_str();
        if let Some(kind) = result(name, call.target.is_some(), &kinds) {
            return Ok(kind);
        }
        if !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) {
            let known = FUNCTIONS.join(", ");
            return Err(self.at(id, &format!("`{name}` is not available; there are {known}, has")));
        }
        let kinds: Vec<String> = kinds.iter().map(Kind::to_string).collect();
        Err(self.at(id, &format!("`{name}` does not take {}", kinds.join(" and "))))
    }

    fn at(&self, id: u64, why: &str) -> String {
        match self.source.offset_for(id) {
            Some((start, _)) => format!("column {}: {why}", start + 1),
            None => why.to_owned(),
        }
    }
}

/// What an operator or function makes of its operands, a method's target first.
fn result(name: &str, is_method: bool, operands: &[Kind]) -> Option<Kind> {
    use Kind::{Labels, Number, Text, Texts, Truth};
    use operators as op;
    Some(match (name, is_method, operands) {
        (op::LOGICAL_AND | op::LOGICAL_OR, false, [Truth, Truth]) => Truth,
        (op::LOGICAL_NOT, false, [Truth]) => Truth,
        (op::CONDITIONAL, false, [Truth, yes, no]) if yes == no => *yes,
        (op::EQUALS | op::NOT_EQUALS, false, [left, right]) if left == right && *left != Labels => {
            Truth
        }
        (
            op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS,
            false,
            [Text, Text] | [Number, Number],
        ) => Truth,
        (op::IN, false, [Text, Labels | Texts]) => Truth,
        (op::INDEX, false, [Labels, Text]) => Text,
        (op::ADD, false, [Text, Text]) => Text,
        ("contains" | "startsWith" | "endsWith", true, [Text, Text]) => Truth,
        ("size", _, [Text]) | ("int", false, [Text]) => Number,
        _ => return None,
    })
}
