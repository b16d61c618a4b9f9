//! The card of the system under test.

use a2a_types::{AgentCard, AgentSkill};
use rpc::a2a::Profile;
use url::Url;

pub(crate) fn card(address: &Url) -> AgentCard {
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
    profile.card()
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
