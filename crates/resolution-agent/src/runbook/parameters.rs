//! A step's parameters: constants, or a fact of the diagnosis within stated bounds. A fact comes
//! from logs and metrics, so a number has a range and a text an allow-list, or it does not load.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Number, Value};

/// One parameter as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) enum Parameter {
    Constant(Value),
    Nested(BTreeMap<String, Parameter>),
    Number(NumberFact),
    Text(TextFact),
}

/// `fact * multiply + add`, moved into `min..=max`, as a whole number.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NumberFact {
    from_fact: String,
    #[serde(default = "one")]
    multiply: f64,
    #[serde(default)]
    add: f64,
    min: f64,
    max: f64,
    /// Used when the diagnosis does not know the fact.
    default: Option<f64>,
}

/// A fact that must be one of the allowed texts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TextFact {
    from_fact: String,
    allow: Vec<String>,
    /// Used when the diagnosis does not know the fact.
    default: Option<String>,
}

fn one() -> f64 {
    1.0
}

/// Why a plan cannot be made of the facts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter {name}: {why}")]
pub(crate) struct ParameterError {
    name: String,
    why: String,
}

impl TryFrom<Value> for Parameter {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let fields = match value {
            Value::Object(fields) => fields,
            Value::Bool(_) | Value::Number(_) => return Ok(Self::Constant(value)),
            Value::String(text) if text.contains('$') => {
                return Err("a text must not hold a placeholder".into());
            }
            Value::String(_) => return Ok(Self::Constant(value)),
            Value::Null | Value::Array(_) => return Err("must be a text, number or flag".into()),
        };
        if !fields.contains_key("from_fact") {
            let nested = fields.into_iter().map(|(name, value)| {
                Self::try_from(value).map_err(|why| format!("{name}: {why}")).map(|p| (name, p))
            });
            return Ok(Self::Nested(nested.collect::<Result<_, _>>()?));
        }
        let is_text = fields.contains_key("allow");
        let fields = Value::Object(fields);
        let parameter = match is_text {
            true => Self::Text(serde_json::from_value(fields).map_err(|error| error.to_string())?),
            false => {
                Self::Number(serde_json::from_value(fields).map_err(|error| error.to_string())?)
            }
        };
        parameter.check().map(|()| parameter)
    }
}

impl Parameter {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Number(fact) => {
                let bounds = fact.min..=fact.max;
                if bounds.is_empty() {
                    return Err("min is above max".into());
                }
                if fact.default.is_some_and(|default| !bounds.contains(&default)) {
                    return Err("default is outside min and max".into());
                }
            }
            Self::Text(fact) => {
                if fact.allow.is_empty() {
                    return Err("allow is empty".into());
                }
                if fact.default.as_ref().is_some_and(|default| !fact.allow.contains(default)) {
                    return Err("default is not in allow".into());
                }
            }
            Self::Constant(_) | Self::Nested(_) => {}
        }
        Ok(())
    }

    fn resolve(&self, facts: &BTreeMap<String, Value>) -> Result<Value, String> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Nested(fields) => {
                resolve(fields, facts).map(Value::Object).map_err(|error| error.to_string())
            }
            Self::Number(fact) => fact.resolve(facts.get(&fact.from_fact)),
            Self::Text(fact) => fact.resolve(facts.get(&fact.from_fact)),
        }
    }
}

impl NumberFact {
    fn resolve(&self, fact: Option<&Value>) -> Result<Value, String> {
        let number = match fact {
            Some(fact) => {
                let number = fact
                    .as_f64()
                    .ok_or_else(|| format!("fact {} is no number: {fact}", self.from_fact))?;
                (number * self.multiply + self.add).clamp(self.min, self.max)
            }
            None => self
                .default
                .ok_or_else(|| format!("the diagnosis has no fact {}", self.from_fact))?,
        };
        Ok(Value::Number(Number::from(number.round() as i64)))
    }
}

impl TextFact {
    fn resolve(&self, fact: Option<&Value>) -> Result<Value, String> {
        let text = match fact {
            Some(fact) => {
                fact.as_str().ok_or_else(|| format!("fact {} is no text", self.from_fact))?
            }
            None => {
                let default = self.default.as_deref();
                default.ok_or_else(|| format!("the diagnosis has no fact {}", self.from_fact))?
            }
        };
        if !self.allow.iter().any(|allowed| allowed == text) {
            return Err(format!("fact {} is none of {}", self.from_fact, self.allow.join(", ")));
        }
        Ok(Value::String(text.to_owned()))
    }
}

pub(super) fn resolve(
    parameters: &BTreeMap<String, Parameter>,
    facts: &BTreeMap<String, Value>,
) -> Result<Map<String, Value>, ParameterError> {
    let resolved = parameters.iter().map(|(name, parameter)| match parameter.resolve(facts) {
        Ok(value) => Ok((name.clone(), value)),
        Err(why) => Err(ParameterError { name: name.clone(), why }),
    });
    resolved.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(written: Value, fact: Option<Value>) -> Result<Value, String> {
        let parameter = Parameter::try_from(written)?;
        let facts = fact.map(|fact| ("f".to_owned(), fact)).into_iter().collect();
        parameter.resolve(&facts)
    }

    #[test]
    fn a_number_is_computed_and_kept_within_its_range() {
        let written =
            json!({"from_fact": "f", "multiply": 4, "min": 20, "max": 100, "default": 25});
        for (fact, expected) in [(json!(2), 20), (json!(10), 40), (json!(90.0), 100)] {
            assert_eq!(resolved(written.clone(), Some(fact)), Ok(json!(expected)));
        }
        assert_eq!(resolved(written.clone(), None), Ok(json!(25)));
        assert!(resolved(written, Some(json!("2; rm -rf /"))).is_err());
        let strict = json!({"from_fact": "f", "min": 1, "max": 2});
        assert_eq!(resolved(strict, None), Err("the diagnosis has no fact f".into()));
    }

    #[test]
    fn a_text_is_one_of_its_list() {
        let written = json!({"from_fact": "f", "allow": ["report-generator"]});
        let taken = resolved(written.clone(), Some(json!("report-generator")));
        assert_eq!(taken, Ok(json!("report-generator")));
        assert!(resolved(written.clone(), Some(json!("backup"))).is_err());
        assert!(resolved(written, None).is_err());
    }

    #[test]
    fn a_fact_without_bounds_does_not_load() {
        for written in [
            json!({"from_fact": "f"}),
            json!({"from_fact": "f", "min": 5, "max": 1}),
            json!({"from_fact": "f", "min": 1, "max": 5, "default": 9}),
            json!({"from_fact": "f", "allow": []}),
            json!({"from_fact": "f", "min": 1, "max": 2, "step": 1}),
            json!("$target"),
            json!(null),
            json!({"variables": {"size": [1]}}),
        ] {
            assert!(Parameter::try_from(written.clone()).is_err(), "{written}");
        }
    }
}
