//! JSON made from descriptors: what a message looks like with these fields or those, in the
//! canonical spelling or in the other ones that ProtoJSON allows.

use protox::prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::source::is_required;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Spelling {
    /// camelCase, names of enum values, numbers, padded base64, UTC.
    Canonical,
    /// snake_case, numbers of enum values, integers in quotes, URL-safe base64, an offset.
    Lenient,
}

/// A message with every field; of a oneof, the member of this name, or the first.
pub(crate) fn full(message: &MessageDescriptor, member: &str, spelling: Spelling) -> Value {
    object(message, spelling, |field| match members(message) {
        members if !members.contains(field) => true,
        members if members.iter().any(|other| other.name() == member) => field.name() == member,
        members => members[0] == *field,
    })
}

/// A message with its required fields and the first member of its oneof.
pub(crate) fn minimal(message: &MessageDescriptor) -> Value {
    let fields = message.fields().filter(|field| {
        is_required(field) || members(message).first().is_some_and(|member| member == field)
    });
    let fields = fields.map(|field| {
        let value = match inner(&field) {
            Some(message) if !is_special(&message) => plural(&field, minimal(&message)),
            _ => value(&field, Spelling::Canonical),
        };
        (field.json_name().to_owned(), value)
    });
    Value::Object(fields.collect())
}

/// The members of the message's oneof, where it has one.
pub(crate) fn members(message: &MessageDescriptor) -> Vec<FieldDescriptor> {
    let real = message.oneofs().find(|oneof| !oneof.is_synthetic());
    real.map(|oneof| oneof.fields().collect()).unwrap_or_default()
}

/// A value of a field with all that can be in it.
pub(crate) fn value(field: &FieldDescriptor, spelling: Spelling) -> Value {
    if field.is_map() {
        let entry = field.kind().as_message().unwrap().map_entry_value_field();
        let value = single(&entry, spelling);
        return json!({"snake_key": value, "camelKey": value});
    }
    plural(field, single(field, spelling))
}

/// The default of a scalar, list, map or free-form object; `None` where there is none in JSON.
pub(crate) fn default(field: &FieldDescriptor) -> Option<Value> {
    match field.kind() {
        _ if field.is_map() => Some(json!({})),
        _ if field.is_list() => Some(json!([])),
        Kind::String => Some(json!("")),
        Kind::Bool => Some(json!(false)),
        Kind::Int32 => Some(json!(0)),
        Kind::Message(message) if is_struct(&message) => Some(json!({})),
        _ => None,
    }
}

/// Values of other types or another cardinality.
pub(crate) fn wrong(field: &FieldDescriptor) -> Vec<Value> {
    let single = wrong_single(field);
    if field.is_map() {
        let entry = field.kind().as_message().unwrap().map_entry_value_field();
        let values = wrong_single(&entry).into_iter().chain([Value::Null]);
        return values.map(|value| json!({ "k": value })).chain([json!([]), json!("x")]).collect();
    }
    if field.is_list() {
        let items = single.into_iter().chain([Value::Null]).map(|item| json!([item]));
        let one = self::single(field, Spelling::Canonical);
        return items.chain([json!({}), one]).collect();
    }
    single
}

fn wrong_single(field: &FieldDescriptor) -> Vec<Value> {
    let wrong = match field.kind() {
        Kind::String => json!([7, true, [], {}]),
        Kind::Bool => json!(["true", 1, [], {}]),
        Kind::Int32 => json!(["x", "", "7 ", 1.5, 2_147_483_648_i64, "1e10", true, [], {}]),
        Kind::Bytes => json!(["!", "A", "AA=", "AAAA=", "A===", 7, [], {}]),
        Kind::Enum(_) => json!([true, 1.5, 2_147_483_648_i64, [], {}]),
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Value" => json!([]),
            "google.protobuf.Timestamp" => {
                json!(["yesterday", "2026-01-01T00:00:00", "-000001-01-01T00:00:00Z", 7, [], {}])
            }
            _ => json!(["x", 7, true, []]),
        },
        kind => panic!("{kind:?} is new in the proto: say what is wrong for it"),
    };
    serde_json::from_value(wrong).unwrap()
}

fn object(
    message: &MessageDescriptor,
    spelling: Spelling,
    is_there: impl Fn(&FieldDescriptor) -> bool,
) -> Value {
    let fields = message.fields().filter(is_there).map(|field| {
        let name = match spelling {
            Spelling::Canonical => field.json_name(),
            Spelling::Lenient => field.name(),
        };
        (name.to_owned(), value(&field, spelling))
    });
    Value::Object(fields.collect::<Map<_, _>>())
}

fn plural(field: &FieldDescriptor, value: Value) -> Value {
    if field.is_list() { json!([value, value]) } else { value }
}

fn single(field: &FieldDescriptor, spelling: Spelling) -> Value {
    use Spelling::{Canonical, Lenient};
    let free = json!({"snake_case": null, "camelCase": [1, -0.5, "x", {"inner_key": null}]});
    match (field.kind(), spelling) {
        (Kind::String, _) => json!(format!("a {}", field.name())),
        (Kind::Bool, _) => json!(true),
        (Kind::Int32, Canonical) => json!(7),
        (Kind::Int32, Lenient) => json!("7"),
        (Kind::Bytes, Canonical) => json!("+/8="),
        (Kind::Bytes, Lenient) => json!("-_8"),
        (Kind::Enum(values), Canonical) => json!(values.values().last().unwrap().name()),
        (Kind::Enum(values), Lenient) => json!(values.values().last().unwrap().number()),
        (Kind::Message(message), _) => match (message.full_name(), spelling) {
            ("google.protobuf.Struct" | "google.protobuf.Value", _) => free,
            ("google.protobuf.Timestamp", Canonical) => json!("2026-01-01T10:40:00.120Z"),
            ("google.protobuf.Timestamp", Lenient) => json!("2026-01-01T12:40:00.12+02:00"),
            _ => full(&message, "", spelling),
        },
        (kind, _) => panic!("{kind:?} is new in the proto: say how it looks"),
    }
}

fn inner(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    field.kind().as_message().cloned().filter(|_| !field.is_map())
}

fn is_special(message: &MessageDescriptor) -> bool {
    message.package_name() == "google.protobuf"
}

fn is_struct(message: &MessageDescriptor) -> bool {
    message.full_name() == "google.protobuf.Struct"
}
