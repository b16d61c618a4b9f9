//! The card: what this agent is, where it is, and its one skill.

use a2a_types::{AgentCard, AgentSkill};
use incident::schema;
use rpc::a2a::{Profile, SkillSchemas};
use url::Url;

/// The skill, as callers name it.
pub const SKILL: &str = "resolve";

pub(crate) fn card(address: &Url) -> AgentCard {
    let profile = Profile {
        name: "Firebreak resolution agent",
        description: "Plans the repair a diagnosis calls for, asks its gates, carries it out, proves \
                      it on fresh metrics, and undoes what it cannot prove.",
        version: env!("CARGO_PKG_VERSION"),
        address,
        data: "Data parts `Brief`, `Diagnosis`, `Approval` in; `Plan`, `Progress`, `Outcome` out",
        schemas: [(
            SKILL,
            SkillSchemas {
                input: vec![schema::brief(), schema::diagnosis(), schema::approval()],
                output: vec![schema::plan(), schema::progress(), schema::outcome()],
            },
        )]
        .into(),
        skills: vec![skill()],
    };
    profile.card()
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
