//! The parts of an agent card that are the same for every agent of ours: what the server offers, and
//! what its settings make of it. Whatever is enforced is declared, by the code that enforces it.

use std::collections::BTreeMap;

use a2a_types::{
    AgentCapabilities, AgentCard, AgentExtension, AgentInterface, AgentSkill, Metadata,
    PROTOCOL_VERSION,
};
use serde_json::{Value, json};
use url::Url;

use super::{REST_PATH, RPC_PATH, ServerOptions};

/// The extension of extended cards that says what a caller may ask of the agent.
pub const LIMITS_EXTENSION_URI: &str = "https://firebreak.dev/a2a/extensions/limits/v1";

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
    /// JSON Schemas of those data parts, by skill.
    pub schemas: BTreeMap<&'a str, SkillSchemas>,
    pub skills: Vec<AgentSkill>,
}

/// JSON Schemas of the data parts that a skill takes and gives. Text parts have none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SkillSchemas {
    pub input: Vec<Value>,
    pub output: Vec<Value>,
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
                push_notifications: Some(true),
                extended_agent_card: Some(false),
                extensions: vec![AgentExtension {
                    uri: incident::EXTENSION_URI.into(),
                    description: self.data.into(),
                    params: schemas(self.schemas),
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

/// A skill itself has no place for schemas, so they stand in the extension that defines the parts.
fn schemas(by_skill: BTreeMap<&str, SkillSchemas>) -> Metadata {
    let by_skill = by_skill.into_iter().map(|(skill, SkillSchemas { input, output })| {
        let directions = [("input", input), ("output", output)];
        let given = directions.into_iter().filter(|(_, schemas)| !schemas.is_empty());
        let given = given.map(|(name, schemas)| (name.to_owned(), json!({ "anyOf": schemas })));
        (skill.to_owned(), Value::Object(given.collect()))
    });
    let by_skill: Metadata = by_skill.collect();
    match by_skill.is_empty() {
        true => Metadata::new(),
        false => [("schemas".to_owned(), Value::Object(by_skill))].into_iter().collect(),
    }
}

/// The cards that a server with these options shows: the public one, and the one for known callers.
pub(crate) fn complete(
    card: &AgentCard,
    options: &ServerOptions,
) -> (AgentCard, Option<AgentCard>) {
    let public = with_settings(card.clone(), options);
    let mut extended = options.extended_card.clone().map(|card| with_settings(card, options));
    // A card that promises an extended one by itself has to bring it.
    let is_promised = card.capabilities.extended_agent_card == Some(true);
    if options.authentication.is_required() && (extended.is_some() || !is_promised) {
        let card = extended.get_or_insert_with(|| public.clone());
        card.capabilities.extensions.push(limits(options));
    }
    let signed = |mut card| {
        if let Some(signer) = &options.signer {
            signer.sign(&mut card);
        }
        card
    };
    (signed(public), extended.map(signed))
}

fn with_settings(mut card: AgentCard, options: &ServerOptions) -> AgentCard {
    card.provider = card.provider.or_else(|| options.provider.clone());
    let documentation = options.documentation_url.as_ref().map(Url::to_string);
    card.documentation_url = card.documentation_url.or(documentation);
    if !options.push.enabled {
        card.capabilities.push_notifications = Some(false);
    }
    options.authentication.declare(&mut card);
    if options.authentication.is_required() {
        card.capabilities.extended_agent_card = Some(true);
    }
    card
}

/// What the server holds its callers to.
fn limits(options: &ServerOptions) -> AgentExtension {
    let params = json!({
        "requestsPerSecond": options.limits.requests_per_second,
        "requestBurst": options.limits.burst,
        "requestsInFlight": options.limits.in_flight,
        "streams": options.limits.streams.min(u32::try_from(options.streams).unwrap_or(u32::MAX)),
        "streamsPerTask": options.tasks.subscribers,
        "requestBytes": options.body_bytes,
        "messageParts": options.parts,
        "taskRetentionSeconds": options.tasks.retention.as_secs(),
    });
    let Value::Object(params) = params else { unreachable!("an object was written") };
    AgentExtension {
        uri: LIMITS_EXTENSION_URI.into(),
        description: "What one caller may ask of this agent, and how long its tasks are kept"
            .into(),
        params,
        ..AgentExtension::default()
    }
}
