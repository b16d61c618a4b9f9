//! The card: what this agent is, where it is, and its one skill.

use a2a_types::{AgentCapabilities, AgentCard, AgentExtension, AgentInterface, AgentSkill};
use url::Url;

/// The skill, as callers name it.
pub const SKILL: &str = "sync_ticket";

pub(crate) fn card(address: &Url) -> AgentCard {
    let endpoint = format!("{}{}", address.as_str().trim_end_matches('/'), rpc::a2a::RPC_PATH);
    let modes = || vec!["application/json".to_owned(), "text/plain".to_owned()];
    AgentCard {
        name: "Firebreak ticketing agent".into(),
        description: "Keeps one ticket per incident true, in Jira or in files: creates it, \
                      comments what happened, moves it as the incident moves."
            .into(),
        supported_interfaces: vec![AgentInterface {
            url: endpoint,
            protocol_binding: "JSONRPC".into(),
            tenant: String::new(),
            protocol_version: "1.0".into(),
        }],
        provider: None,
        version: env!("CARGO_PKG_VERSION").into(),
        documentation_url: None,
        capabilities: AgentCapabilities {
            streaming: Some(false),
            push_notifications: Some(false),
            extensions: vec![AgentExtension {
                uri: incident::EXTENSION_URI.into(),
                description: "Data parts `TicketUpdate` in, `Ticket` out".into(),
                required: false,
                ..AgentExtension::default()
            }],
            extended_agent_card: Some(false),
        },
        security_schemes: Default::default(),
        security_requirements: Vec::new(),
        default_input_modes: modes(),
        default_output_modes: modes(),
        skills: vec![skill()],
        icon_url: None,
    }
}

fn skill() -> AgentSkill {
    AgentSkill {
        id: SKILL.into(),
        name: "Sync ticket".into(),
        description: "Takes a TicketUpdate data part and makes the incident's ticket say so; a \
                      repeated update changes nothing. Plain text that names an incident is \
                      answered with where its ticket stands."
            .into(),
        tags: vec!["ticket".into(), "jira".into(), "incident".into()],
        examples: vec!["Where is the ticket of inc_0199a7c2b8e07d43a0f1c2d3e4f5a6b7?".into()],
        ..AgentSkill::default()
    }
}
