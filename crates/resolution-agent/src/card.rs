//! The card: what this agent is, where it is, and its one skill.

use a2a_types::{AgentCapabilities, AgentCard, AgentExtension, AgentInterface, AgentSkill};
use url::Url;

/// The skill, as callers name it.
pub const SKILL: &str = "resolve";

pub(crate) fn card(address: &Url) -> AgentCard {
    let endpoint = format!("{}{}", address.as_str().trim_end_matches('/'), rpc::a2a::RPC_PATH);
    let modes = || vec!["application/json".to_owned(), "text/plain".to_owned()];
    AgentCard {
        name: "Firebreak resolution agent".into(),
        description: "Plans the repair a diagnosis calls for, asks its gates, carries it out, proves \
                      it on fresh metrics, and undoes what it cannot prove."
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
                description: "Data parts `Brief`, `Diagnosis`, `Approval` in; `Plan`, `Progress`, `Outcome` out".into(),
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
        name: "Resolve".into(),
        description:
            "Takes the data parts Brief and Diagnosis; gives the artifacts `plan`, `progress` \
                      and `outcome`. Where the policy wants an approval the task asks for one: \
                      answer with an Approval data part. Plain text is answered with the runbooks."
                .into(),
        tags: vec!["remediation".into(), "runbook".into(), "rollback".into()],
        examples: vec!["Which runbooks do you have?".into()],
        ..AgentSkill::default()
    }
}
