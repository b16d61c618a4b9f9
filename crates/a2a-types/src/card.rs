//! The agent card (specification section 4.4): what an agent is, where it is, what it can do.

use std::collections::BTreeMap;

use crate::proto::message;
use crate::{Metadata, SecurityRequirement, SecurityScheme};

message! {
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct AgentCard {
        name: String => required("name"),
        description: String => required("description"),
        supported_interfaces: Vec<AgentInterface> => required("supportedInterfaces"),
        provider: Option<AgentProvider> => optional("provider"),
        version: String => required("version"),
        documentation_url: Option<String> => optional("documentationUrl"),
        capabilities: AgentCapabilities => required("capabilities"),
        /// Schemes by name.
        security_schemes: BTreeMap<String, SecurityScheme> => optional("securitySchemes"),
        security_requirements: Vec<SecurityRequirement> => optional("securityRequirements"),
        default_input_modes: Vec<String> => required("defaultInputModes"),
        default_output_modes: Vec<String> => required("defaultOutputModes"),
        skills: Vec<AgentSkill> => required("skills"),
        signatures: Vec<AgentCardSignature> => optional("signatures"),
        icon_url: Option<String> => optional("iconUrl"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct AgentInterface {
        url: String => required("url"),
        protocol_binding: String => required("protocolBinding"),
        tenant: String => optional("tenant"),
        protocol_version: String => required("protocolVersion"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct AgentProvider {
        url: String => required("url"),
        organization: String => required("organization"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct AgentCapabilities {
        streaming: Option<bool> => optional("streaming"),
        push_notifications: Option<bool> => optional("pushNotifications"),
        extensions: Vec<AgentExtension> => optional("extensions"),
        extended_agent_card: Option<bool> => optional("extendedAgentCard"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct AgentExtension {
        uri: String => optional("uri"),
        description: String => optional("description"),
        required: bool => optional("required"),
        params: Metadata => optional("params"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct AgentSkill {
        id: String => required("id"),
        name: String => required("name"),
        description: String => required("description"),
        tags: Vec<String> => required("tags"),
        examples: Vec<String> => optional("examples"),
        input_modes: Vec<String> => optional("inputModes"),
        output_modes: Vec<String> => optional("outputModes"),
        security_requirements: Vec<SecurityRequirement> => optional("securityRequirements"),
        ..extra
    }
}

message! {
    /// A JSON Web Signature over the canonical form of the card without its signatures.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct AgentCardSignature {
        /// The protected header, base64url.
        protected: String => required("protected"),
        /// The signature, base64url.
        signature: String => required("signature"),
        header: Metadata => optional("header"),
        ..extra
    }
}
