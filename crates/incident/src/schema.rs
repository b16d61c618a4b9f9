//! JSON Schemas (draft 2020-12) of the data parts of `incident/v1`, as agent cards publish them.
//! They say what must be there and leave room for fields of newer peers. Written beside the types;
//! a test holds them to what the types write and accept.

use serde_json::{Map, Value, json};

/// What an agent needs to know of an incident.
pub fn brief() -> Value {
    let summary = object(
        [
            ("id", id("inc_")),
            ("title", text()),
            ("description", text()),
            ("severity", severity()),
            ("affected_systems", list(text())),
            ("tags", list(text())),
            ("opened_at", time()),
        ],
        &["id", "title", "severity", "opened_at"],
    );
    let fields = [("incident", summary), ("alerts", list(alert())), ("timeline", list(entry()))];
    payload("Brief", fields, &["incident", "alerts"])
}

/// What the diagnostic agent concludes.
pub fn diagnosis() -> Value {
    let evidence = object(
        [
            ("name", text()),
            ("tool", text()),
            ("query", text()),
            ("start", time()),
            ("end", time()),
            ("value", json!({})),
            ("unit", nullable(text())),
            ("summary", text()),
        ],
        &["name", "tool", "query", "start", "end", "value", "summary"],
    );
    let missing = object(
        [("name", text()), ("tool", text()), ("query", text()), ("why", text())],
        &["name", "tool", "query", "why"],
    );
    let alternative = object(
        [("cause", text()), ("confidence", confidence()), ("why_not", text())],
        &["cause", "confidence", "why_not"],
    );
    payload(
        "Diagnosis",
        [
            ("incident_id", id("inc_")),
            ("cause", nullable(text())),
            ("summary", text()),
            ("target", nullable(text())),
            ("confidence", confidence()),
            ("cases", count()),
            ("rule", nullable(text())),
            ("evidence", list(evidence)),
            ("missing", list(missing)),
            ("alternatives", list(alternative)),
            ("runbooks", list(text())),
            ("facts", json!({"type": "object"})),
            ("started_at", time()),
            ("finished_at", time()),
        ],
        &["incident_id", "summary", "confidence", "evidence", "started_at", "finished_at"],
    )
}

/// What the resolution agent intends to do.
pub fn plan() -> Value {
    let step = object(
        [
            ("name", text()),
            ("action", text()),
            ("parameters", json!({"type": "object"})),
            ("effect", one_of(&["pure", "idempotent", "fenced", "probeable", "at_most_once"])),
            ("undo", one_of(&["recorded", "irreversible"])),
        ],
        &["name", "action", "parameters", "effect", "undo"],
    );
    let check = object(
        [
            ("name", text()),
            ("role", one_of(&["symptom", "neighbour"])),
            ("query", text()),
            ("comparison", one_of(&["<", "<=", ">", ">=", "=="])),
            ("threshold", number()),
            ("hold", count()),
            ("within", count()),
        ],
        &["name", "query", "comparison", "threshold", "hold", "within"],
    );
    let gate = object(
        [("gate", text()), ("passed", flag()), ("reason", text())],
        &["gate", "passed", "reason"],
    );
    let baseline = object(
        [("check", text()), ("value", nullable(number())), ("at", time())],
        &["check", "at"],
    );
    payload(
        "Plan",
        [
            ("id", id("pln_")),
            ("incident_id", id("inc_")),
            ("runbook", text()),
            ("cause", text()),
            ("target", text()),
            ("mode", one_of(&["off", "observe", "recommend", "approve", "auto"])),
            ("risk", text()),
            ("steps", list(step)),
            ("checks", list(check)),
            ("gates", list(gate)),
            ("baseline", list(baseline)),
            ("created_at", time()),
        ],
        &[
            "id",
            "incident_id",
            "runbook",
            "cause",
            "target",
            "mode",
            "risk",
            "steps",
            "checks",
            "gates",
            "created_at",
        ],
    )
}

/// What has happened so far in a running task.
pub fn progress() -> Value {
    payload("Progress", [("entries", list(entry()))], &["entries"])
}

/// How a remediation ended.
pub fn outcome() -> Value {
    let step = || {
        object(
            [
                ("name", text()),
                ("action", text()),
                ("change_id", nullable(text())),
                ("before", json!({})),
                ("after", json!({})),
                ("error", nullable(text())),
                ("started_at", time()),
                ("finished_at", time()),
            ],
            &["name", "action", "before", "after", "started_at", "finished_at"],
        )
    };
    let check = || {
        object(
            [
                ("name", text()),
                ("query", text()),
                ("passed", flag()),
                ("value", nullable(number())),
                ("sampled_at", nullable(time())),
                ("reason", text()),
            ],
            &["name", "query", "passed", "reason"],
        )
    };
    let results = [
        "proven",
        "undone",
        "undo_failed",
        "refused",
        "no_runbook",
        "recommended",
        "step_failed",
        "cancelled",
    ];
    payload(
        "Outcome",
        [
            ("incident_id", id("inc_")),
            ("plan_id", nullable(id("pln_"))),
            ("result", one_of(&results)),
            ("summary", text()),
            ("steps", list(step())),
            ("checks", list(check())),
            ("undo", list(step())),
            ("undo_checks", list(check())),
            ("finished_at", time()),
        ],
        &["incident_id", "result", "summary", "steps", "checks", "finished_at"],
    )
}

/// The ticket as it should be.
pub fn ticket_update() -> Value {
    let comment = object(
        [("sequence", count()), ("at", time()), ("text", text())],
        &["sequence", "at", "text"],
    );
    let states = ["investigating", "identified", "resolving", "needs_human", "resolved", "closed"];
    payload(
        "TicketUpdate",
        [
            ("incident_id", id("inc_")),
            ("title", text()),
            ("description", text()),
            ("severity", severity()),
            ("status", one_of(&states)),
            ("labels", list(text())),
            ("comments", list(comment)),
        ],
        &["incident_id", "title", "description", "severity", "status"],
    )
}

/// The ticket as it is.
pub fn ticket() -> Value {
    payload(
        "Ticket",
        [("key", text()), ("url", text()), ("status", text()), ("sequence", count())],
        &["key", "url", "status", "sequence"],
    )
}

/// A person's decision on a plan.
pub fn approval() -> Value {
    payload(
        "Approval",
        [("plan_hash", text()), ("approved", flag()), ("by", text())],
        &["plan_hash", "approved", "by"],
    )
}

fn alert() -> Value {
    let pairs = || json!({"type": "object", "additionalProperties": text()});
    object(
        [
            ("source", text()),
            ("fingerprint", text()),
            ("status", one_of(&["firing", "resolved"])),
            ("name", text()),
            ("severity", severity()),
            ("labels", pairs()),
            ("annotations", pairs()),
            ("starts_at", time()),
            ("is_start_known", flag()),
            ("ends_at", nullable(time())),
            ("generator_url", text()),
        ],
        &[
            "source",
            "fingerprint",
            "status",
            "name",
            "severity",
            "labels",
            "annotations",
            "starts_at",
        ],
    )
}

fn entry() -> Value {
    object(
        [
            ("at", time()),
            ("actor", text()),
            ("kind", text()),
            ("summary", text()),
            ("detail", json!({})),
        ],
        &["at", "actor", "kind", "summary"],
    )
}

/// One data part: an object whose `type` names it.
fn payload<const N: usize>(kind: &str, fields: [(&str, Value); N], required: &[&str]) -> Value {
    let mut schema = object(fields, required);
    schema["properties"]["type"] = json!({ "const": kind });
    if let Some(required) = schema["required"].as_array_mut() {
        required.insert(0, json!("type"));
    }
    schema
}

fn object<const N: usize>(fields: [(&str, Value); N], required: &[&str]) -> Value {
    let fields = fields.into_iter().map(|(name, schema)| (name.to_owned(), schema));
    let fields: Map<String, Value> = fields.collect();
    json!({"type": "object", "properties": fields, "required": required})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn nullable(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

fn one_of(values: &[&str]) -> Value {
    json!({ "enum": values })
}

fn severity() -> Value {
    one_of(&["info", "warning", "critical"])
}

fn confidence() -> Value {
    json!({"type": "number", "minimum": 0, "maximum": 1})
}

fn id(prefix: &str) -> Value {
    json!({"type": "string", "pattern": format!("^{prefix}[0-9a-f]{{32}}$")})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn number() -> Value {
    json!({"type": "number"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Payload;

    const INCIDENT: &str = "inc_00000000000000000000000000000007";
    const PLAN: &str = "pln_00000000000000000000000000000008";
    const AT: &str = "2026-01-01T00:00:00Z";

    fn steps() -> Value {
        json!([{"name": "s", "action": "restart_service", "change_id": null, "before": {}, "after": [1],
            "error": "e", "started_at": AT, "finished_at": AT}])
    }

    fn checks() -> Value {
        json!([{"name": "c", "query": "up", "passed": true, "value": 1.0, "sampled_at": AT, "reason": "held"}])
    }

    /// Every kind with every field.
    fn samples() -> Vec<(Value, Value)> {
        let entry =
            json!({"at": AT, "actor": "a", "kind": "note", "summary": "s", "detail": {"q": 1}});
        let alert = json!({"source": "prometheus", "fingerprint": "f", "status": "firing", "name": "n",
            "severity": "critical", "labels": {"a": "b"}, "annotations": {}, "starts_at": AT,
            "is_start_known": false, "ends_at": AT, "generator_url": "http://p"});
        vec![
            (
                brief(),
                json!({"type": "Brief", "alerts": [alert], "timeline": [entry.clone()],
                "incident": {"id": INCIDENT, "title": "t", "description": "d", "severity": "info",
                    "affected_systems": ["db"], "tags": ["x"], "opened_at": AT}}),
            ),
            (
                diagnosis(),
                json!({"type": "Diagnosis", "incident_id": INCIDENT, "cause": "c", "summary": "s",
                "target": "db", "confidence": 0.5, "cases": 1, "rule": "r",
                "evidence": [{"name": "n", "tool": "t", "query": "q", "start": AT, "end": AT, "value": 1,
                    "unit": "s", "summary": "s"}],
                "missing": [{"name": "n", "tool": "t", "query": "q", "why": "w"}],
                "alternatives": [{"cause": "c", "confidence": 0.1, "why_not": "w"}],
                "runbooks": ["r"], "facts": {"a": 1}, "started_at": AT, "finished_at": AT}),
            ),
            (
                plan(),
                json!({"type": "Plan", "id": PLAN, "incident_id": INCIDENT, "runbook": "r", "cause": "c",
                "target": "db", "mode": "auto", "risk": "low",
                "steps": [{"name": "s", "action": "a", "parameters": {"n": 1}, "effect": "fenced", "undo": "recorded"}],
                "checks": [{"name": "c", "role": "symptom", "query": "q", "comparison": "<=", "threshold": 1.5,
                    "hold": 10, "within": 20}],
                "gates": [{"gate": "mode", "passed": true, "reason": "r"}],
                "baseline": [{"check": "c", "value": 1.5, "at": AT}], "created_at": AT}),
            ),
            (progress(), json!({"type": "Progress", "entries": [entry]})),
            (
                outcome(),
                json!({"type": "Outcome", "incident_id": INCIDENT, "plan_id": PLAN, "result": "proven",
                "summary": "s", "steps": steps(), "checks": checks(), "undo": steps(), "undo_checks": checks(),
                "finished_at": AT}),
            ),
            (
                ticket_update(),
                json!({"type": "TicketUpdate", "incident_id": INCIDENT, "title": "t",
                "description": "d", "severity": "warning", "status": "resolving", "labels": ["l"],
                "comments": [{"sequence": 1, "at": AT, "text": "t"}]}),
            ),
            (
                ticket(),
                json!({"type": "Ticket", "key": "FB-1", "url": "u", "status": "Done", "sequence": 3}),
            ),
            (
                approval(),
                json!({"type": "Approval", "plan_hash": "h", "approved": true, "by": "ann"}),
            ),
        ]
    }

    /// Every place of a sample where a field can be taken out.
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| {
                found.push(format!("{at}/{name}"));
                places(value, &format!("{at}/{name}"), found);
            }),
            Value::Array(values) => values
                .iter()
                .enumerate()
                .for_each(|(index, value)| places(value, &format!("{at}/{index}"), found)),
            _ => {}
        }
    }

    #[test]
    fn what_the_types_write_is_what_the_schemas_say() {
        for (schema, sample) in samples() {
            let payload = Payload::from_value(&sample).unwrap();
            assert_eq!(payload.to_value(), sample, "the sample has every field");
            let validator = jsonschema::draft202012::new(&schema).unwrap();
            assert!(validator.is_valid(&sample), "{:?}", validator.validate(&sample));
            let mut known = Vec::new();
            places(&schema, "", &mut known);
            for field in sample.as_object().unwrap().keys() {
                assert!(known.contains(&format!("/properties/{field}")), "{field} in {sample}");
            }
        }
    }

    #[test]
    fn a_field_may_be_left_out_where_the_types_do_without_it() {
        for (schema, sample) in samples() {
            let validator = jsonschema::draft202012::new(&schema).unwrap();
            let mut all = Vec::new();
            places(&sample, "", &mut all);
            for place in all {
                let mut without = sample.clone();
                let (parent, name) = place.rsplit_once('/').unwrap();
                without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
                let is_readable = Payload::from_value(&without).is_ok();
                assert_eq!(validator.is_valid(&without), is_readable, "{place} of {sample}");
            }
        }
    }

    #[test]
    fn what_the_types_refuse_the_schemas_refuse() {
        let wrong = [
            (diagnosis(), "/confidence", json!(1.5)),
            (diagnosis(), "/incident_id", json!("inc_x")),
            (outcome(), "/result", json!("fine")),
            (ticket_update(), "/comments/0/sequence", json!(-1)),
            (approval(), "/approved", json!("yes")),
            (ticket(), "/type", json!("Tickets")),
        ];
        for (schema, place, value) in wrong {
            let (_, mut sample) = samples().into_iter().find(|(own, _)| *own == schema).unwrap();
            *sample.pointer_mut(place).unwrap() = value;
            assert!(Payload::from_value(&sample).is_err(), "{sample}");
            assert!(!jsonschema::draft202012::new(&schema).unwrap().is_valid(&sample), "{sample}");
        }
    }
}
