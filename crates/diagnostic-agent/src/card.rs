//! The card: what this agent is, where it is, and its one skill.

use a2a_types::{AgentCapabilities, AgentCard, AgentExtension, AgentInterface, AgentSkill};
use url::Url;

/// The skill, as callers name it.
pub const SKILL: &str = "diagnose";

pub(crate) fn card(address: &Url) -> AgentCard {
    let endpoint = format!("{}{}", address.as_str().trim_end_matches('/'), rpc::a2a::RPC_PATH);
    let modes = || vec!["application/json".to_owned(), "text/plain".to_owned()];
    AgentCard {
        name: "Firebreak diagnostic agent".into(),
        description: "Finds the cause of an incident from logs and metrics by rules, with every \
                      query, value and time range it rests on. Changes nothing."
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
                description: "Data parts `Brief` in, `Diagnosis` out".into(),
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
        name: "Diagnose".into(),
        description: "Takes a Brief data part (an incident and its alerts) and answers with a \
                      Diagnosis: cause, target, confidence, evidence, alternatives, runbooks. Plain \
                      text that names a server or service is answered the same way."
            .into(),
        tags: vec!["diagnosis".into(), "root-cause".into(), "incident".into()],
        examples: vec!["Why is db-server-01 timing out?".into()],
        ..AgentSkill::default()
    }
}
