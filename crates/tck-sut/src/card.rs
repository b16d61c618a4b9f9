//! The card of the system under test.

use a2a_types::{AgentCard, AgentExtension, AgentSkill};
use rpc::a2a::Profile;
use url::Url;

use crate::{Capability, Offer};

const EXTENSION: &str = "urn:a2a:tck:required-extension";

pub(crate) fn card(address: &Url, offer: &Offer) -> AgentCard {
    let profile = Profile {
        name: "Firebreak system under test",
        description: "An A2A agent for conformance kits: the first letters of a message's id \
                      choose what it does.",
        version: env!("CARGO_PKG_VERSION"),
        address,
        data: "None; the message id chooses the behaviour",
        schemas: [].into(),
        skills: vec![skill()],
    };
    let mut card = profile.card();
    let has = |capability| Some(!offer.without.contains(&capability));
    card.capabilities.streaming = has(Capability::Streaming);
    card.capabilities.push_notifications = has(Capability::PushNotifications);
    card.capabilities.extensions.clear();
    if offer.require_extension {
        card.capabilities.extensions.push(AgentExtension {
            uri: EXTENSION.into(),
            required: true,
            ..AgentExtension::default()
        });
    }
    if offer.any_media_type {
        card.default_input_modes = vec!["*/*".into()];
    }
    card
}

fn skill() -> AgentSkill {
    AgentSkill {
        id: "conformance".into(),
        name: "Conformance".into(),
        description: "Does what a conformance kit asks for by the prefix of a message id, such as \
                      tck-complete-task or tck-artifact-text."
            .into(),
        tags: vec!["conformance".into(), "tck".into()],
        examples: vec!["Hello from TCK".into()],
        ..AgentSkill::default()
    }
}
