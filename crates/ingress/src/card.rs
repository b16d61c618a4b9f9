//! The agent card of ingress.

use a2a_types::{
    AgentCapabilities, AgentCard, AgentExtension, AgentInterface, AgentSkill, PROTOCOL_VERSION,
};

pub(crate) fn card(url: &str) -> AgentCard {
    let modes = vec!["text/plain".to_owned(), "application/json".to_owned()];
    AgentCard {
        name: "ingress".into(),
        description: "Takes alerts and reports, opens incidents, and brings them to their end \
                      through the diagnostic, resolution and ticketing agents"
            .into(),
        supported_interfaces: vec![AgentInterface {
            url: format!("{url}{}", rpc::a2a::RPC_PATH),
            protocol_binding: "JSONRPC".into(),
            tenant: String::new(),
            protocol_version: PROTOCOL_VERSION.into(),
        }],
        provider: None,
        version: env!("CARGO_PKG_VERSION").into(),
        documentation_url: None,
        capabilities: AgentCapabilities {
            streaming: Some(false),
            push_notifications: Some(false),
            extended_agent_card: Some(false),
            extensions: vec![AgentExtension {
                uri: incident::EXTENSION_URI.into(),
                description: "Data parts of an incident: Brief, Diagnosis, Plan, Outcome, \
                              TicketUpdate"
                    .into(),
                ..AgentExtension::default()
            }],
        },
        security_schemes: [].into(),
        security_requirements: Vec::new(),
        default_input_modes: modes.clone(),
        default_output_modes: modes,
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
        icon_url: None,
    }
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
