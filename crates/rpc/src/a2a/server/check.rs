//! The rules for parameters, and for what an agent's card says it takes and gives.

use a2a_types::{
    A2aError, AgentCard, Message, Part, PartContent, Role, SendMessageConfiguration,
    SendMessageRequest, Task,
};

use crate::a2a::media_type::essence;

/// Longest tenant, context id or task id.
pub(super) const LONGEST_NAME: usize = 512;
/// Longest message id: with the idempotency key it is one text that is searched for.
const LONGEST_MESSAGE_ID: usize = 255;
/// Longest idempotency key.
pub(super) const LONGEST_KEY: usize = 255;

/// Content types as the card names them.
#[derive(Debug)]
pub(super) struct Modes {
    input: Vec<String>,
    output: Vec<String>,
}

impl Modes {
    pub(super) fn new(card: &AgentCard) -> Self {
        let skills = || card.skills.iter();
        let input = card.default_input_modes.iter().chain(skills().flat_map(|s| &s.input_modes));
        let output = card.default_output_modes.iter().chain(skills().flat_map(|s| &s.output_modes));
        Self { input: input.cloned().collect(), output: output.cloned().collect() }
    }

    fn takes(&self, media_type: &str) -> bool {
        self.input.is_empty() || self.input.iter().any(|mode| is_within(media_type, mode))
    }

    fn gives(&self, accepted: &str) -> bool {
        self.output.is_empty()
            || self.output.iter().any(|m| is_within(m, accepted) || is_within(accepted, m))
    }
}

/// Checks a message, and that the agent can read it and be understood.
pub(super) fn send(
    request: &SendMessageRequest,
    modes: &Modes,
    most_parts: usize,
) -> Result<(), A2aError> {
    message(&request.message, modes, most_parts)?;
    let Some(configuration) = &request.configuration else { return Ok(()) };
    history_length(configuration.history_length, "configuration.historyLength")?;
    output_modes(configuration, modes)
}

fn message(message: &Message, modes: &Modes, most_parts: usize) -> Result<(), A2aError> {
    id(&message.message_id, "message.messageId")?;
    name(&message.message_id, "message.messageId", LONGEST_MESSAGE_ID)?;
    name(&message.context_id, "message.contextId", LONGEST_NAME)?;
    name(&message.task_id, "message.taskId", LONGEST_NAME)?;
    if !matches!(message.role, Role::User | Role::Agent) {
        return Err(A2aError::invalid_field("message.role", "must be ROLE_USER or ROLE_AGENT"));
    }
    if message.parts.is_empty() {
        return Err(A2aError::invalid_field("message.parts", "must hold at least one part"));
    }
    if message.parts.len() > most_parts {
        let why = format!("must hold at most {most_parts} parts");
        return Err(A2aError::invalid_field("message.parts", why));
    }
    message.parts.iter().enumerate().try_for_each(|(index, part)| check_part(index, part, modes))
}

fn check_part(index: usize, part: &Part, modes: &Modes) -> Result<(), A2aError> {
    if let PartContent::Url(url) = &part.content
        && url::Url::parse(url).is_err()
    {
        let field = format!("message.parts[{index}].url");
        return Err(A2aError::invalid_field(field, "must be an absolute URL"));
    }
    match part.media_type.is_empty() || modes.takes(&part.media_type) {
        true => Ok(()),
        false => Err(A2aError::ContentTypeNotSupported(part.media_type.clone())),
    }
}

fn output_modes(configuration: &SendMessageConfiguration, modes: &Modes) -> Result<(), A2aError> {
    let accepted = &configuration.accepted_output_modes;
    match accepted.is_empty() || accepted.iter().any(|mode| modes.gives(mode)) {
        true => Ok(()),
        false => Err(A2aError::ContentTypeNotSupported(format!(
            "{}; this agent gives {}",
            accepted.join(", "),
            modes.output.join(", ")
        ))),
    }
}

pub(super) fn history_length(length: Option<i32>, field: &str) -> Result<(), A2aError> {
    match length {
        Some(length) if length < 0 => Err(A2aError::invalid_field(field, "must not be negative")),
        _ => Ok(()),
    }
}

/// An id that a request cannot do without.
pub(super) fn id(value: &str, field: &str) -> Result<(), A2aError> {
    match value.is_empty() {
        true => Err(A2aError::invalid_field(field, "must not be empty")),
        false => name(value, field, LONGEST_NAME),
    }
}

/// A text that is searched for: databases take no NUL character in one, and index no long ones.
pub(super) fn name(value: &str, field: &str, longest: usize) -> Result<(), A2aError> {
    if value.contains('\0') {
        return Err(A2aError::invalid_field(field, "must not hold a NUL character"));
    }
    if value.len() > longest {
        let why = format!("must not be longer than {longest} bytes");
        return Err(A2aError::invalid_field(field, why));
    }
    Ok(())
}

/// The task with at most the newest `length` messages.
pub(super) fn with_history(mut task: Task, length: Option<i32>) -> Task {
    if let Some(length) = length.and_then(|length| usize::try_from(length).ok()) {
        task.history.drain(..task.history.len().saturating_sub(length));
    }
    task
}

/// Whether a media type is one that a range such as `text/*` names, parameters aside.
fn is_within(media_type: &str, range: &str) -> bool {
    let (media_type, range) = (essence(media_type), essence(range));
    match range.strip_suffix('*') {
        Some("*/") => true,
        Some(start) if start.ends_with('/') => media_type.starts_with(start),
        _ => media_type == range,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_media_types_are_understood() {
        for (media_type, range, is_inside) in [
            ("text/plain", "text/plain", true),
            ("Text/Plain; charset=utf-8", "text/plain", true),
            ("text/markdown", "text/*", true),
            ("image/png", "*/*", true),
            ("text/markdown", "text/plain", false),
            ("textual/x", "text/*", false),
            ("", "text/plain", false),
        ] {
            assert_eq!(is_within(media_type, range), is_inside, "{media_type} in {range}");
        }
    }
}
