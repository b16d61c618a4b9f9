//! The agent card of ingress.

use a2a_types::{AgentCard, AgentSkill};
use incident::schema;
use rpc::a2a::{Profile, SkillSchemas};
use serde_json::{Value, json};
use url::Url;

pub(crate) fn card(address: &Url) -> AgentCard {
    let profile = Profile {
        name: "Firebreak ingress",
        description: "Takes alerts and reports, opens incidents, and brings them to their end \
                      through the diagnostic, resolution and ticketing agents",
        version: env!("CARGO_PKG_VERSION"),
        address,
        data: "Data parts `Brief` and `Approval` in",
        schemas: [
            (
                "report_incident",
                SkillSchemas {
                    input: vec![schema::brief()],
                    output: vec![incidents(json!({"type": "string"}))],
                },
            ),
            (
                "incident_status",
                SkillSchemas {
                    input: Vec::new(),
                    output: vec![incidents(json!({"type": "object"}))],
                },
            ),
            ("approve", SkillSchemas { input: vec![schema::approval()], output: Vec::new() }),
        ]
        .into(),
        skills: vec![
            skill(
                "report_incident",
                "Report an incident",
                "Opens an incident from a sentence, or from the alerts of a Brief",
                "db-server-01 refuses connections since 10:40",
            ),
            skill(
                "incident_status",
                "Status of an incident",
                "Says where an incident stands; name its id, or none for the newest ones",
                "status of inc_0192d3f0a1b2c3d4e5f60718293a4b5c",
            ),
            skill(
                "approve",
                "Approve a plan",
                "Records a decision on the plan an incident waits for",
                "{\"type\": \"Approval\", \"plan_hash\": \"…\", \"approved\": true, \"by\": \"ana\"}",
            ),
        ],
    };
    profile.card()
}

/// The answer of ingress: ids of incidents, or incidents.
fn incidents(items: Value) -> Value {
    json!({
        "type": "object",
        "properties": {"incidents": {"type": "array", "items": items}},
        "required": ["incidents"],
    })
}

fn skill(id: &str, name: &str, description: &str, example: &str) -> AgentSkill {
    AgentSkill {
        id: id.into(),
        name: name.into(),
        description: description.into(),
        tags: vec!["incident".into()],
        examples: vec![example.into()],
        ..AgentSkill::default()
    }
}
