//! The canonical form of a card: values that say nothing are taken out as the protocol's presence
//! rules have it (specification sections 5.7 and 8.4.1), then RFC 8785 orders and writes the rest.

use serde_json::{Map, Value};

/// Integers beyond this have no one form in JSON (RFC 8785, section 3.2.2.3).
const LARGEST_INTEGER: u64 = (1 << 53) - 1;

/// What of a card is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// What the specification says, fields that we do not know included.
    Exact,
    /// The same of the fields of the specification: what a signer vouches for who has read the
    /// card into objects, and whose server has added fields of an older version.
    Known,
    /// That without any empty text, list or object: what the official SDKs sign. All that a forger
    /// could do to such a card is to add or remove values that are empty.
    Bare,
}

/// The bytes that are signed. None where a number in the card has no canonical form.
pub(super) fn bytes(card: &Value, form: Form) -> Option<Vec<u8>> {
    if !has_canonical_numbers(card) {
        return None;
    }
    let mut card = covered(card, form);
    if form == Form::Bare {
        card = without_empty(card).unwrap_or_default();
    }
    serde_json_canonicalizer::to_vec(&card).ok()
}

/// What of a card a signature of this form vouches for.
pub(super) fn covered(card: &Value, form: Form) -> Value {
    let mut card = card.clone();
    if let Value::Object(fields) = &mut card {
        fields.remove("signatures");
    }
    prune(&mut card, &CARD, form != Form::Exact);
    card
}

/// A message of the protocol, as far as presence goes.
struct Message {
    /// Fields that count whatever their value: required and `optional` ones.
    explicit: &'static [&'static str],
    /// Fields that, at their default value, are as good as absent.
    implicit: &'static [&'static str],
    /// Those of either kind, and messages, that have messages inside.
    nested: &'static [(&'static str, Nested)],
}

enum Nested {
    One(&'static Message),
    Many(&'static Message),
    Named(&'static Message),
}

fn prune(value: &mut Value, message: &Message, known_only: bool) {
    let Value::Object(fields) = value else { return };
    for (name, nested) in message.nested {
        match (fields.get_mut(*name), nested) {
            (Some(value), Nested::One(message)) => prune(value, message, known_only),
            (Some(Value::Array(values)), Nested::Many(message)) => {
                values.iter_mut().for_each(|value| prune(value, message, known_only));
            }
            (Some(Value::Object(values)), Nested::Named(message)) => {
                values.values_mut().for_each(|value| prune(value, message, known_only));
            }
            _ => {}
        }
    }
    fields.retain(|name, value| message.keeps(name, value, known_only));
}

impl Message {
    fn keeps(&self, name: &str, value: &Value, known_only: bool) -> bool {
        if self.implicit.contains(&name) {
            return !is_default(value);
        }
        let is_known = self.explicit.contains(&name) || self.nested.iter().any(|(n, _)| *n == name);
        match is_known {
            // ProtoJSON reads null as absent.
            true => !value.is_null(),
            false => !known_only,
        }
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn without_empty(value: Value) -> Option<Value> {
    let kept = match value {
        Value::Object(fields) => {
            let kept = fields
                .into_iter()
                .filter_map(|(name, value)| without_empty(value).map(|value| (name, value)));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(values) => {
            Value::Array(values.into_iter().filter_map(without_empty).collect())
        }
        value => value,
    };
    match &kept {
        Value::Bool(_) | Value::Number(_) => Some(kept),
        kept if is_default(kept) => None,
        _ => Some(kept),
    }
}

fn has_canonical_numbers(value: &Value) -> bool {
    match value {
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number <= LARGEST_INTEGER,
            (None, Some(number)) => number.unsigned_abs() <= LARGEST_INTEGER,
            (None, None) => true,
        },
        Value::Array(values) => values.iter().all(has_canonical_numbers),
        Value::Object(fields) => fields.values().all(has_canonical_numbers),
        _ => true,
    }
}

static CARD: Message = Message {
    explicit: &[
        "name",
        "description",
        "version",
        "documentationUrl",
        "defaultInputModes",
        "defaultOutputModes",
        "iconUrl",
    ],
    implicit: &["securitySchemes", "securityRequirements"],
    nested: &[
        ("supportedInterfaces", Nested::Many(&INTERFACE)),
        ("provider", Nested::One(&PROVIDER)),
        ("capabilities", Nested::One(&CAPABILITIES)),
        ("securitySchemes", Nested::Named(&SCHEME)),
        ("securityRequirements", Nested::Many(&REQUIREMENT)),
        ("skills", Nested::Many(&SKILL)),
    ],
};

static INTERFACE: Message = Message {
    explicit: &["url", "protocolBinding", "protocolVersion"],
    implicit: &["tenant"],
    nested: &[],
};

static PROVIDER: Message =
    Message { explicit: &["url", "organization"], implicit: &[], nested: &[] };

static CAPABILITIES: Message = Message {
    explicit: &["streaming", "pushNotifications", "extendedAgentCard"],
    implicit: &["extensions"],
    nested: &[("extensions", Nested::Many(&EXTENSION))],
};

static EXTENSION: Message = Message {
    // `params` is free JSON, and a message: present or not, whatever is in it.
    explicit: &["params"],
    implicit: &["uri", "description", "required"],
    nested: &[],
};

static SKILL: Message = Message {
    explicit: &["id", "name", "description", "tags"],
    implicit: &["examples", "inputModes", "outputModes", "securityRequirements"],
    nested: &[("securityRequirements", Nested::Many(&REQUIREMENT))],
};

static REQUIREMENT: Message = Message {
    explicit: &[],
    implicit: &["schemes"],
    nested: &[("schemes", Nested::Named(&SCOPES))],
};

static SCOPES: Message = Message { explicit: &[], implicit: &["list"], nested: &[] };

static SCHEME: Message = Message {
    explicit: &[],
    implicit: &[],
    nested: &[
        ("apiKeySecurityScheme", Nested::One(&API_KEY)),
        ("httpAuthSecurityScheme", Nested::One(&HTTP_AUTH)),
        ("oauth2SecurityScheme", Nested::One(&OAUTH2)),
        ("openIdConnectSecurityScheme", Nested::One(&OPEN_ID)),
        ("mtlsSecurityScheme", Nested::One(&MUTUAL_TLS)),
    ],
};

static API_KEY: Message =
    Message { explicit: &["location", "name"], implicit: &["description"], nested: &[] };

static HTTP_AUTH: Message =
    Message { explicit: &["scheme"], implicit: &["description", "bearerFormat"], nested: &[] };

static OAUTH2: Message = Message {
    explicit: &[],
    implicit: &["description", "oauth2MetadataUrl"],
    nested: &[("flows", Nested::One(&FLOWS))],
};

static OPEN_ID: Message =
    Message { explicit: &["openIdConnectUrl"], implicit: &["description"], nested: &[] };

static MUTUAL_TLS: Message = Message { explicit: &[], implicit: &["description"], nested: &[] };

static FLOWS: Message = Message {
    explicit: &[],
    implicit: &[],
    nested: &[
        ("authorizationCode", Nested::One(&AUTHORIZATION_CODE)),
        ("clientCredentials", Nested::One(&CLIENT_CREDENTIALS)),
        ("implicit", Nested::One(&IMPLICIT)),
        ("password", Nested::One(&PASSWORD)),
        ("deviceCode", Nested::One(&DEVICE_CODE)),
    ],
};

static AUTHORIZATION_CODE: Message = Message {
    explicit: &["authorizationUrl", "tokenUrl", "scopes"],
    implicit: &["refreshUrl", "pkceRequired"],
    nested: &[],
};

static CLIENT_CREDENTIALS: Message =
    Message { explicit: &["tokenUrl", "scopes"], implicit: &["refreshUrl"], nested: &[] };

static IMPLICIT: Message =
    Message { explicit: &[], implicit: &["authorizationUrl", "refreshUrl", "scopes"], nested: &[] };

static PASSWORD: Message =
    Message { explicit: &[], implicit: &["tokenUrl", "refreshUrl", "scopes"], nested: &[] };

static DEVICE_CODE: Message = Message {
    explicit: &["deviceAuthorizationUrl", "tokenUrl", "scopes"],
    implicit: &["refreshUrl"],
    nested: &[],
};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(card: &Value, form: Form) -> String {
        String::from_utf8(bytes(card, form).unwrap()).unwrap()
    }

    /// The example of the specification, section 8.4.1.
    #[test]
    fn default_values_go_unless_they_are_required_or_optional() {
        let card = json!({
            "name": "Example Agent",
            "description": "",
            "capabilities": {"streaming": false, "pushNotifications": false, "extensions": []},
            "skills": [],
        });
        assert_eq!(
            text(&card, Form::Exact),
            r#"{"capabilities":{"pushNotifications":false,"streaming":false},"description":"","name":"Example Agent","skills":[]}"#,
        );
        assert_eq!(
            text(&card, Form::Bare),
            r#"{"capabilities":{"pushNotifications":false,"streaming":false},"name":"Example Agent"}"#,
        );
    }

    #[test]
    fn presence_is_judged_in_every_message_and_never_in_free_json() {
        let card = json!({
            "documentationUrl": "",
            "iconUrl": null,
            "provider": {"url": "", "organization": ""},
            "capabilities": {"extensions": [{"uri": "u", "required": false, "params": {"a": "", "b": [], "c": false}}]},
            "securitySchemes": {"jwt": {"httpAuthSecurityScheme": {"scheme": "", "bearerFormat": ""}}},
            "securityRequirements": [{"schemes": {"jwt": {"list": []}}}],
            "supportedInterfaces": [{"url": "u", "tenant": ""}],
            "signatures": [{"protected": "x"}],
            "novelty": [],
        });
        let exact = json!({
            "documentationUrl": "",
            "provider": {"url": "", "organization": ""},
            "capabilities": {"extensions": [{"uri": "u", "params": {"a": "", "b": [], "c": false}}]},
            "securitySchemes": {"jwt": {"httpAuthSecurityScheme": {"scheme": ""}}},
            "securityRequirements": [{"schemes": {"jwt": {}}}],
            "supportedInterfaces": [{"url": "u"}],
            "novelty": [],
        });
        assert_eq!(covered(&card, Form::Exact), exact);
        let mut known = exact;
        known.as_object_mut().unwrap().remove("novelty");
        assert_eq!(covered(&card, Form::Known), known);
        let bare = r#"{"capabilities":{"extensions":[{"params":{"c":false},"uri":"u"}]},"supportedInterfaces":[{"url":"u"}]}"#;
        assert_eq!(text(&card, Form::Bare), bare);
    }

    #[test]
    fn names_are_ordered_by_utf_16_and_numbers_written_one_way() {
        let card = json!({"\u{20ac}": 1, "\r": 2.0, "\u{fb33}": 1e3, "1": 0.5, "\u{1f600}": 1e21, "\u{f6}": -0.0});
        assert_eq!(
            text(&card, Form::Exact),
            "{\"\\r\":2,\"1\":0.5,\"\u{f6}\":0,\"\u{20ac}\":1,\"\u{1f600}\":1e+21,\"\u{fb33}\":1000}",
        );
        assert_eq!(bytes(&json!({"a": 9_007_199_254_740_993_u64}), Form::Exact), None);
    }

    /// The golden card of `a2a-types`, whose fields a test there holds to the official proto.
    #[test]
    fn every_field_of_the_specification_is_known() {
        let golden =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../a2a-types/tests/golden/agent_card.json");
        let mut card: Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
        assert!(card["securitySchemes"].as_object().is_some_and(|schemes| !schemes.is_empty()));
        card.as_object_mut().unwrap().remove("signatures");
        assert_eq!(covered(&card, Form::Known), covered(&card, Form::Exact));
    }
}
