//! The card: what this agent is, where it is, and its one skill.

use a2a_types::{AgentCard, AgentSkill};
use incident::schema;
use rpc::a2a::{Profile, SkillSchemas};
use url::Url;

/// The skill, as callers name it.
pub const SKILL: &str = "sync_ticket";

pub(crate) fn card(address: &Url) -> AgentCard {
    let profile = Profile {
        name: "Firebreak ticketing agent",
        description: "Keeps one ticket per incident true, in Jira or in files: creates it, \
                      comments what happened, moves it as the incident moves.",
        version: env!("CARGO_PKG_VERSION"),
        address,
        data: "Data parts `TicketUpdate` in, `Ticket` out",
        schemas: [(
            SKILL,
            SkillSchemas { input: vec![schema::ticket_update()], output: vec![schema::ticket()] },
        )]
        .into(),
        skills: vec![skill()],
    };
    profile.card()
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
