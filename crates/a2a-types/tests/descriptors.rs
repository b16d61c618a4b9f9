//! Every message, field and enum held against the official proto: names, types, cardinality, what is
//! required, what excludes what, and the spellings that ProtoJSON allows on input. A field or message
//! that one side has and the other has not fails a test.
#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

#[path = "descriptors/sample.rs"]
mod sample;
#[path = "descriptors/source.rs"]
mod source;

use a2a_types as ours;
use protox::prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use sample::Spelling::{Canonical, Lenient};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use source::{descriptors, is_required};

/// Our type of a message.
struct Held {
    fields: &'static [&'static str],
    keeps_unknown: bool,
    /// Reads a value and writes it back; or says where it is wrong, and why.
    read: fn(&Value) -> Result<Value, String>,
}

/// Fields nobody knows are passed over in requests and in what only wraps other objects; they are
/// kept in what an agent stores, sends on or verifies.
fn our_type(message: &str) -> Option<Held> {
    macro_rules! find {
        (keeps: $($kept:literal $keeps:ident)*; passes: $($passed:literal $passes:ident)*;) => {
            match message {
                $( $kept => held::<ours::$keeps>(ours::$keeps::FIELDS, true), )*
                $( $passed => held::<ours::$passes>(ours::$passes::FIELDS, false), )*
                _ => return None,
            }
        };
    }
    Some(find! {
        keeps:
            "Task" Task
            "TaskStatus" TaskStatus
            "Message" Message
            "Part" Part
            "Artifact" Artifact
            "TaskStatusUpdateEvent" TaskStatusUpdateEvent
            "TaskArtifactUpdateEvent" TaskArtifactUpdateEvent
            "AgentCard" AgentCard
            "AgentInterface" AgentInterface
            "AgentProvider" AgentProvider
            "AgentCapabilities" AgentCapabilities
            "AgentExtension" AgentExtension
            "AgentSkill" AgentSkill
            "AgentCardSignature" AgentCardSignature
            "SecurityRequirement" SecurityRequirement
            "APIKeySecurityScheme" ApiKeySecurityScheme
            "HTTPAuthSecurityScheme" HttpAuthSecurityScheme
            "OAuth2SecurityScheme" OAuth2SecurityScheme
            "OpenIdConnectSecurityScheme" OpenIdConnectSecurityScheme
            "MutualTlsSecurityScheme" MutualTlsSecurityScheme
            "AuthorizationCodeOAuthFlow" AuthorizationCodeOAuthFlow
            "ClientCredentialsOAuthFlow" ClientCredentialsOAuthFlow
            "ImplicitOAuthFlow" ImplicitOAuthFlow
            "PasswordOAuthFlow" PasswordOAuthFlow
            "DeviceCodeOAuthFlow" DeviceCodeOAuthFlow;
        passes:
            "StringList" StringList
            "SecurityScheme" SecurityScheme
            "OAuthFlows" OAuthFlows
            "AuthenticationInfo" AuthenticationInfo
            "TaskPushNotificationConfig" TaskPushNotificationConfig
            "SendMessageConfiguration" SendMessageConfiguration
            "SendMessageRequest" SendMessageRequest
            "SendMessageResponse" SendMessageResponse
            "StreamResponse" StreamResponse
            "GetTaskRequest" GetTaskRequest
            "ListTasksRequest" ListTasksRequest
            "ListTasksResponse" ListTasksResponse
            "CancelTaskRequest" CancelTaskRequest
            "SubscribeToTaskRequest" SubscribeToTaskRequest
            "GetTaskPushNotificationConfigRequest" GetTaskPushNotificationConfigRequest
            "DeleteTaskPushNotificationConfigRequest" DeleteTaskPushNotificationConfigRequest
            "ListTaskPushNotificationConfigsRequest" ListTaskPushNotificationConfigsRequest
            "ListTaskPushNotificationConfigsResponse" ListTaskPushNotificationConfigsResponse
            "GetExtendedAgentCardRequest" GetExtendedAgentCardRequest;
    })
}

fn held<T: Serialize + DeserializeOwned>(fields: &'static [&'static str], keeps: bool) -> Held {
    let read = |value: &Value| {
        let text = value.to_string();
        let mut reader = serde_json::Deserializer::from_str(&text);
        let object: T = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| format!("{}: {}", error.path(), error.inner()))?;
        let written = serde_json::to_value(&object).unwrap();
        let owned: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
        assert_eq!(serde_json::to_value(&owned).unwrap(), written, "from text and from a value");
        Ok(written)
    };
    Held { fields, keeps_unknown: keeps, read }
}

/// Every message of the proto with its name and our type.
fn messages() -> Vec<(String, MessageDescriptor, Held)> {
    let pool = descriptors();
    let file = pool.get_file_by_name("a2a.proto").unwrap();
    let messages = file.messages().map(|message| {
        let name = message.name().to_owned();
        let held = our_type(&name).unwrap_or_else(|| panic!("{name} has no type here"));
        (name, message, held)
    });
    messages.collect()
}

fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut object = object.clone();
    object[name] = value;
    object
}

fn without(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove(name);
    object
}

/// Checks that a value is refused with an error that names the field.
fn assert_refused(held: &Held, value: &Value, field: &str) {
    match (held.read)(value) {
        Ok(read) => panic!("{field}: accepted {value} as {read}"),
        Err(why) => {
            let mut words = why.split(|letter: char| !letter.is_alphanumeric());
            assert!(words.any(|word| word == field), "{field} is not named: {why}");
        }
    }
}

/// Fields that stand by themselves, with a full message and without the field.
fn each_field(check: impl Fn(&str, &FieldDescriptor, &Held, &Value)) {
    for (name, message, held) in messages() {
        let members = sample::members(&message);
        for field in message.fields().filter(|field| !members.contains(field)) {
            let full = sample::full(&message, "", Canonical);
            check(&format!("{name}.{}", field.json_name()), &field, &held, &full);
        }
    }
}

#[test]
fn every_message_has_the_fields_of_the_proto_and_no_other() {
    let messages = messages();
    assert!(messages.len() > 40, "{} messages", messages.len());
    for (name, message, held) in messages {
        let mut theirs: Vec<String> =
            message.fields().map(|field| field.json_name().to_owned()).collect();
        let mut ours = held.fields.to_vec();
        theirs.sort();
        ours.sort_unstable();
        assert_eq!(ours, theirs, "{name}");
    }
}

#[test]
fn every_enum_has_the_values_of_the_proto_and_no_other() {
    let pool = descriptors();
    for theirs in pool.get_file_by_name("a2a.proto").unwrap().enums() {
        let ours = match theirs.name() {
            "TaskState" => ours::TaskState::VALUES,
            "Role" => ours::Role::VALUES,
            name => panic!("{name} has no type here"),
        };
        let values: Vec<_> = theirs.values().collect();
        let theirs: Vec<_> = values.iter().map(|value| (value.name(), value.number())).collect();
        assert_eq!(ours, theirs);
    }
}

#[test]
fn a_message_with_every_field_is_written_back_unchanged_from_any_spelling() {
    for (name, message, held) in messages() {
        let members = sample::members(&message);
        for member in members.iter().map(FieldDescriptor::name).chain([""]) {
            let full = sample::full(&message, member, Canonical);
            for spelling in [Canonical, Lenient] {
                let read = (held.read)(&sample::full(&message, member, spelling));
                assert_eq!(read.as_ref(), Ok(&full), "{name} {member} {spelling:?}");
            }
        }
    }
}

#[test]
fn required_fields_are_enough() {
    for (name, message, held) in messages() {
        let minimal = sample::minimal(&message);
        assert_eq!((held.read)(&minimal), Ok(minimal), "{name}");
    }
}

#[test]
fn required_fields_must_be_there_and_optional_ones_may_be_absent_or_null() {
    each_field(|name, field, held, full| {
        let absent = without(full, field.json_name());
        let null = with(full, field.json_name(), Value::Null);
        if is_required(field) {
            assert_refused(held, &absent, field.json_name());
            assert_refused(held, &null, field.json_name());
        } else {
            assert_eq!((held.read)(&absent), Ok(absent.clone()), "{name} absent");
            assert_eq!((held.read)(&null), Ok(absent), "{name} null");
        }
    });
}

/// What the signature of a card rests on (specification section 8.4.1).
#[test]
fn defaults_are_written_where_they_say_something() {
    each_field(|name, field, held, full| {
        let Some(default) = sample::default(field) else { return };
        let given = with(full, field.json_name(), default);
        let says_something = is_required(field) || (field.supports_presence() && is_scalar(field));
        let written = if says_something { given.clone() } else { without(full, field.json_name()) };
        assert_eq!((held.read)(&given), Ok(written), "{name}");
    });
}

fn is_scalar(field: &FieldDescriptor) -> bool {
    !matches!(field.kind(), Kind::Message(_))
}

#[test]
fn values_of_another_type_or_cardinality_are_refused_by_name() {
    for (_, message, held) in messages() {
        for field in message.fields() {
            let full = sample::full(&message, field.name(), Canonical);
            for wrong in sample::wrong(&field) {
                assert_refused(&held, &with(&full, field.json_name(), wrong), field.json_name());
            }
        }
    }
}

#[test]
fn a_field_in_two_spellings_is_refused() {
    each_field(|_, field, held, full| {
        if field.name() != field.json_name() {
            let twice = with(full, field.name(), full[field.json_name()].clone());
            assert_refused(held, &twice, field.json_name());
        }
    });
}

#[test]
fn of_a_oneof_exactly_one_member_is_there() {
    for (name, message, held) in messages() {
        let members = sample::members(&message);
        for member in &members {
            let full = sample::full(&message, member.name(), Canonical);
            assert_refused(&held, &without(&full, member.json_name()), member.json_name());
            for other in members.iter().filter(|other| *other != member) {
                let two = with(&full, other.json_name(), sample::value(other, Canonical));
                assert_refused(&held, &two, other.json_name());
                if other.name() != "data" {
                    let null = with(&full, other.json_name(), Value::Null);
                    assert_eq!((held.read)(&null), Ok(full.clone()), "{name}");
                }
            }
        }
    }
}

#[test]
fn fields_of_newer_peers_are_no_error_and_are_kept_where_the_object_is() {
    for (name, message, held) in messages() {
        let full = sample::full(&message, "", Canonical);
        let newer = with(&full, "field_of_the_future", json!({"a_b": [null, {"c_d": 1}]}));
        let kept = if held.keeps_unknown { &newer } else { &full };
        assert_eq!((held.read)(&newer).as_ref(), Ok(kept), "{name}");
    }
}

#[test]
fn security_schemes_of_newer_peers_are_kept() {
    let scheme = json!({"dpopSecurityScheme": {"algs": ["ES256"], "snake_case": null}});
    for name in ["SecurityScheme", "OAuthFlows"] {
        assert_eq!((our_type(name).unwrap().read)(&scheme), Ok(scheme.clone()));
    }
}
