//! What the official SDKs leave out of a card: they write no field that is empty, required or not.
//! A card says where its agent is and what it can; nothing that is missing stands in the way of
//! calling it.

use serde_json::{Map, Value, json};

/// The card with its missing fields empty.
pub(super) fn completed(mut card: Value) -> Value {
    let Some(fields) = card.as_object_mut() else { return card };
    for name in ["name", "description", "version"] {
        fill(fields, name, name, json!(""));
    }
    fill(fields, "supportedInterfaces", "supported_interfaces", json!([]));
    fill(fields, "defaultInputModes", "default_input_modes", json!([]));
    fill(fields, "defaultOutputModes", "default_output_modes", json!([]));
    fill(fields, "capabilities", "capabilities", json!({}));
    fill(fields, "skills", "skills", json!([]));
    let skills = fields.get_mut("skills").and_then(Value::as_array_mut);
    for skill in skills.into_iter().flatten().filter_map(Value::as_object_mut) {
        for name in ["id", "name", "description"] {
            fill(skill, name, name, json!(""));
        }
        fill(skill, "tags", "tags", json!([]));
    }
    card
}

fn fill(fields: &mut Map<String, Value>, name: &str, snake_case: &str, empty: Value) {
    if !fields.contains_key(snake_case) {
        fields.entry(name).or_insert(empty);
    }
}

#[cfg(test)]
mod tests {
    use a2a_types::AgentCard;

    use super::*;

    #[test]
    fn a_card_of_the_python_sdk_is_read() {
        let card = json!({"name": "stranger", "version": "1", "capabilities": {"streaming": true},
            "supportedInterfaces": [{"url": "http://a/rpc", "protocolBinding": "JSONRPC",
                "protocolVersion": "1.0"}],
            "skills": [{"id": "s", "name": "s", "description": "no tags"}]});
        let card: AgentCard = serde_json::from_value(completed(card)).unwrap();
        assert_eq!((card.supported_interfaces.len(), card.skills[0].tags.len()), (1, 0));
        assert_eq!(card.capabilities.streaming, Some(true));
        assert_eq!(completed(json!("no card")), "no card");
        let snake = completed(json!({"supported_interfaces": []}));
        assert!(snake.get("supportedInterfaces").is_none());
    }
}
