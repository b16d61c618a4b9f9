//! The card: what this agent is, where it is, and its one skill.

use a2a_types::{AgentCard, AgentSkill};
use incident::schema;
use rpc::a2a::{Profile, SkillSchemas};
use url::Url;

/// The skill, as callers name it.
pub const SKILL: &str = "diagnose";

pub(crate) fn card(address: &Url) -> AgentCard {
    let profile = Profile {
        name: "Firebreak diagnostic agent",
        description: "Finds the cause of an incident from logs and metrics by rules, with every \
                      query, value and time range it rests on. Changes nothing.",
        version: env!("CARGO_PKG_VERSION"),
        address,
        data: "Data parts `Brief` in, `Diagnosis` out",
        schemas: [(
            SKILL,
            SkillSchemas { input: vec![schema::brief()], output: vec![schema::diagnosis()] },
        )]
        .into(),
        skills: vec![skill()],
    };
    profile.card()
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
