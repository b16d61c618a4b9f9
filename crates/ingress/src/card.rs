//! The agent card of ingress.

use a2a_types::{AgentCard, AgentSkill};
use rpc::a2a::Profile;
use url::Url;

pub(crate) fn card(address: &Url) -> AgentCard {
    let profile = Profile {
        name: "Firebreak ingress",
        description: "Takes alerts and reports, opens incidents, and brings them to their end \
                      through the diagnostic, resolution and ticketing agents",
        version: env!("CARGO_PKG_VERSION"),
        address,
        data: "Data parts `Brief` and `Approval` in",
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
