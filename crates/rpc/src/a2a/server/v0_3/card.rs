//! The members by which a reader of 0.3 cards finds its interface. They stand beside those of 1.0
//! in one document: readers of either version skip what they do not know.

use a2a_types::{AgentCard, AgentInterface, SecurityRequirement, SecurityScheme};
use serde_json::{Map, Value, json};

use super::super::{RPC_PATH, V0_3_PATH};

/// The version a card names, and an interface speaks.
const PROTOCOL_VERSION: &str = "0.3.0";

/// The card with the 0.3 interface, which stands beside that of 1.0.
pub(in super::super) fn offered_by(card: &AgentCard) -> AgentCard {
    let mut card = card.clone();
    let beside = |it: &&AgentInterface| it.protocol_binding == "JSONRPC";
    if let Some(current) = card.supported_interfaces.iter().find(beside).cloned() {
        let suffix = V0_3_PATH.trim_start_matches(RPC_PATH);
        let url = format!("{}{suffix}", current.url.trim_end_matches('/'));
        let protocol_version = "0.3".to_owned();
        card.supported_interfaces.push(AgentInterface { url, protocol_version, ..current });
    }
    card
}

/// The card as a document, with the members of 0.3 where it offers a 0.3 interface.
pub(in super::super) fn document(card: &AgentCard) -> Value {
    let mut document = serde_json::to_value(card).expect("a card has string keys only");
    if let Value::Object(members) = &mut document {
        add_legacy_members(card, members);
    }
    document
}

fn add_legacy_members(card: &AgentCard, document: &mut Map<String, Value>) {
    let interfaces = &card.supported_interfaces;
    let Some(ours) = interfaces.iter().find(|it| it.protocol_version.starts_with("0.3")) else {
        return;
    };
    document.insert("url".into(), ours.url.clone().into());
    document.insert("preferredTransport".into(), ours.protocol_binding.clone().into());
    document.insert("protocolVersion".into(), PROTOCOL_VERSION.into());
    if card.capabilities.extended_agent_card == Some(true) {
        document.insert("supportsAuthenticatedExtendedCard".into(), true.into());
    }
    if !card.security_requirements.is_empty() {
        let security = card.security_requirements.iter().map(requirement).collect();
        document.insert("security".into(), Value::Array(security));
    }
    let schemes = document.get_mut("securitySchemes").and_then(Value::as_object_mut);
    for (name, document) in schemes.into_iter().flatten() {
        let legacy = card.security_schemes.get(name).map(scheme);
        if let (Some(document), Some(Value::Object(legacy))) = (document.as_object_mut(), legacy) {
            document.extend(legacy);
        }
    }
}

fn requirement(requirement: &SecurityRequirement) -> Value {
    let scopes =
        requirement.schemes.iter().map(|(name, scopes)| (name.clone(), json!(scopes.list)));
    Value::Object(scopes.collect())
}

fn scheme(scheme: &SecurityScheme) -> Value {
    match scheme {
        SecurityScheme::HttpAuthSecurityScheme(http) => {
            let mut it = json!({"type": "http", "scheme": http.scheme});
            if !http.bearer_format.is_empty() {
                it["bearerFormat"] = http.bearer_format.clone().into();
            }
            it
        }
        SecurityScheme::ApiKeySecurityScheme(key) => {
            json!({"type": "apiKey", "in": key.location, "name": key.name})
        }
        SecurityScheme::OpenIdConnectSecurityScheme(it) => {
            json!({"type": "openIdConnect", "openIdConnectUrl": it.open_id_connect_url})
        }
        SecurityScheme::MtlsSecurityScheme(_) => json!({"type": "mutualTLS"}),
        SecurityScheme::Oauth2SecurityScheme(it) => json!({"type": "oauth2", "flows": it.flows}),
        SecurityScheme::Other(_) => Value::Null,
    }
}
