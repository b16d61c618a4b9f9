//! The answer to plain text: what this agent can do, and what it needs for it.

use incident::gates::Policy;

use crate::Runbooks;

pub(crate) fn answer(runbooks: &Runbooks, policy: &Policy) -> String {
    let mut text = String::from(
        "I repair what a diagnosis names, prove it on fresh metrics, and undo what I cannot prove. \
         My runbooks:\n",
    );
    for runbook in runbooks.iter() {
        let mode = serde_json::to_value(policy.mode_of(&runbook.id)).unwrap_or_default();
        let mode = mode.as_str().unwrap_or_default();
        text.push_str(&format!(
            "- {} (mode {mode}, causes {}): {}\n",
            runbook.id,
            runbook.causes.join(", "),
            runbook.description
        ));
    }
    text.push_str(
        "To have one run, send two data parts, each with a `type`: a Brief (incident and alerts) and a \
         Diagnosis that holds incident_id, cause (one of the above), target (a name of the inventory), \
         confidence (0 to 1), evidence (each with name, tool, query, start, end, value, summary), \
         started_at and finished_at; summary says it in words, facts may hold values a runbook uses.",
    );
    text
}
