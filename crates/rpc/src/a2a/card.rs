//! The parts of an agent card that are the same for every agent of ours.

use a2a_types::{
    AgentCapabilities, AgentCard, AgentExtension, AgentInterface, AgentSkill, PROTOCOL_VERSION,
};
use url::Url;

use super::{REST_PATH, RPC_PATH};

/// What one agent says of itself.
#[derive(Clone, Debug)]
pub struct Profile<'a> {
    pub name: &'a str,
    pub description: &'a str,
    pub version: &'a str,
    /// The address callers use.
    pub address: &'a Url,
    /// The data parts it takes and gives.
    pub data: &'a str,
    pub skills: Vec<AgentSkill>,
}

impl Profile<'_> {
    /// The card: this server's binding, capabilities and content types, with the agent's own words.
    pub fn card(self) -> AgentCard {
        let modes = vec!["application/json".to_owned(), "text/plain".to_owned()];
        AgentCard {
            name: self.name.into(),
            description: self.description.into(),
            supported_interfaces: vec![
                interface(self.address, RPC_PATH, "JSONRPC"),
                interface(self.address, REST_PATH, "HTTP+JSON"),
            ],
            provider: None,
            version: self.version.into(),
            documentation_url: None,
            capabilities: AgentCapabilities {
                streaming: Some(true),
                push_notifications: Some(false),
                extended_agent_card: Some(false),
                extensions: vec![AgentExtension {
                    uri: incident::EXTENSION_URI.into(),
                    description: self.data.into(),
                    ..AgentExtension::default()
                }],
                ..Default::default()
            },
            security_schemes: [].into(),
            security_requirements: Vec::new(),
            default_input_modes: modes.clone(),
            default_output_modes: modes,
            skills: self.skills,
            signatures: Vec::new(),
            icon_url: None,
            ..Default::default()
        }
    }
}

fn interface(address: &Url, path: &str, binding: &str) -> AgentInterface {
    AgentInterface {
        url: format!("{}{path}", address.as_str().trim_end_matches('/')),
        protocol_binding: binding.into(),
        tenant: String::new(),
        protocol_version: PROTOCOL_VERSION.into(),
        ..AgentInterface::default()
    }
}
