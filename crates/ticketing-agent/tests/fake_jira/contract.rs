//! Jira's own OpenAPI document as a judge: does this request, or this answer, exist in the API?
//! Requests are held to more than the document's letter: a property that it calls read-only, or
//! does not name on an object whose properties it names, is refused.

use std::path::{Path, PathBuf};

use axum::http::{HeaderMap, Method, header};
use serde_json::{Value, json};

pub(crate) struct Contract {
    paths: Value,
    for_requests: Value,
    for_answers: Value,
}

/// The operation a request belongs to, and what its path holds.
pub(crate) struct Operation<'a> {
    pub(crate) template: &'a str,
    pub(crate) arguments: Vec<String>,
    spec: &'a Value,
}

impl Contract {
    /// `None` where the shared document is not there; the caller says that it skips.
    pub(crate) fn read() -> Option<Self> {
        let directory = std::env::var_os("FIREBREAK_SHARED").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
            PathBuf::from,
        );
        let text = std::fs::read(directory.join("jira/jira-cloud-v3-extract.openapi.json")).ok()?;
        let document: Value = serde_json::from_slice(&text).expect("the document is JSON");
        let components = &document["components"];
        let mut for_requests = components.clone();
        tighten(&mut for_requests);
        Some(Self {
            paths: document["paths"].clone(),
            for_requests,
            for_answers: components.clone(),
        })
    }

    /// The operation of a method and path, literal segments before parameters.
    pub(crate) fn operation(&self, method: &Method, path: &str) -> Result<Operation<'_>, String> {
        let paths = self.paths.as_object().expect("paths are an object");
        let mut matching: Vec<_> = paths
            .iter()
            .filter_map(|(template, item)| Some((template, item, arguments(template, path)?)))
            .collect();
        matching.sort_by_key(|(_, _, arguments)| arguments.len());
        let (template, item, arguments) =
            matching.into_iter().next().ok_or_else(|| format!("no path {path}"))?;
        let spec = item
            .get(method.as_str().to_lowercase())
            .ok_or_else(|| format!("no operation {method} {template}"))?;
        Ok(Operation { template, arguments, spec })
    }

    pub(crate) fn check_request(
        &self,
        operation: &Operation<'_>,
        query: &[(String, String)],
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), String> {
        check_query(operation.spec, query)?;
        check_security(operation.spec, headers)?;
        let Some(content) = operation.spec.pointer("/requestBody/content") else {
            return if body.is_empty() { Ok(()) } else { Err("a body where none belongs".into()) };
        };
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if kind != Some("application/json") {
            return Err(format!("content type {kind:?}"));
        }
        let body: Value = serde_json::from_slice(body).map_err(|error| format!("body: {error}"))?;
        check(&content["application/json"]["schema"], &self.for_requests, &body)
    }

    pub(crate) fn check_answer(
        &self,
        operation: &Operation<'_>,
        status: u16,
        body: Option<&Value>,
    ) -> Result<(), String> {
        let documented = &operation.spec["responses"][status.to_string()];
        if documented.is_null() {
            // The document leaves out the answers that every operation may give.
            let is_general = status == 429 || status >= 500;
            return if is_general { Ok(()) } else { Err(format!("no answer {status}")) };
        }
        let schema = documented.pointer("/content/application~1json/schema");
        match (schema, body) {
            (Some(schema), Some(body)) => check(schema, &self.for_answers, body),
            // The document gives 204 an empty schema, and HTTP gives it no body.
            (_, None) if status == 204 => Ok(()),
            (Some(_), None) => Err(format!("answer {status} without its body")),
            // Errors come with an ErrorCollection even where the document gives no schema.
            (None, Some(body)) if status >= 400 => {
                let schema = json!({ "$ref": "#/components/schemas/ErrorCollection" });
                check(&schema, &self.for_answers, body)
            }
            (None, Some(_)) => Err(format!("answer {status} with a body")),
            (None, None) => Ok(()),
        }
    }
}

fn arguments(template: &str, path: &str) -> Option<Vec<String>> {
    let (template, path): (Vec<&str>, Vec<&str>) =
        (template.split('/').collect(), path.split('/').collect());
    if template.len() != path.len() {
        return None;
    }
    let mut arguments = Vec::new();
    for (expected, given) in template.iter().zip(path) {
        if expected.starts_with('{') && !given.is_empty() {
            arguments.push(given.to_owned());
        } else if *expected != given {
            return None;
        }
    }
    Some(arguments)
}

fn check_query(spec: &Value, query: &[(String, String)]) -> Result<(), String> {
    let declared: Vec<&Value> = spec["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|parameter| parameter["in"] == "query")
        .collect();
    for (name, value) in query {
        let parameter = declared
            .iter()
            .find(|parameter| parameter["name"] == name.as_str())
            .ok_or_else(|| format!("no query parameter {name}"))?;
        let schema = &parameter["schema"];
        let is_well_typed = match schema["type"].as_str() {
            Some("integer") => value.parse::<i64>().is_ok(),
            Some("boolean") => value.parse::<bool>().is_ok(),
            _ => schema["enum"].as_array().is_none_or(|values| values.contains(&json!(value))),
        };
        if !is_well_typed {
            return Err(format!("query parameter {name}: {value:?}"));
        }
    }
    let missing = declared.iter().find(|parameter| {
        parameter["required"] == true && !query.iter().any(|(name, _)| parameter["name"] == *name)
    });
    missing
        .map_or(Ok(()), |parameter| Err(format!("query parameter {} missing", parameter["name"])))
}

/// The document lets most operations be called without a credential; this client never does.
fn check_security(spec: &Value, headers: &HeaderMap) -> Result<(), String> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.ok_or("no credential")?;
    let mut schemes = spec["security"].as_array().into_iter().flatten();
    let is_documented = schemes.any(|scheme| {
        (scheme.get("basicAuth").is_some() && given.starts_with("Basic "))
            || (scheme.get("OAuth2").is_some() && given.starts_with("Bearer "))
    });
    if is_documented { Ok(()) } else { Err("credential of an undocumented scheme".into()) }
}

fn check(schema: &Value, components: &Value, instance: &Value) -> Result<(), String> {
    let schema = json!({ "allOf": [schema], "components": components });
    let validator = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft4)
        .build(&schema)
        .expect("the document's schemas are valid");
    let errors: Vec<String> = validator
        .iter_errors(instance)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
}

fn tighten(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut() {
        if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
            for property in properties.values_mut().filter(|property| property["readOnly"] == true)
            {
                *property = json!({ "not": {} });
            }
            if object.get("additionalProperties") == Some(&json!(true)) {
                object.insert("additionalProperties".into(), json!(false));
            }
        }
        object.values_mut().for_each(tighten);
    } else if let Some(items) = schema.as_array_mut() {
        items.iter_mut().for_each(tighten);
    }
}
