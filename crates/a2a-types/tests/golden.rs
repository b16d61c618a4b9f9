//! Every object of the protocol, read from a golden file and written back unchanged; and what newer
//! peers may add to each.
#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use a2a_types::{
    A2aError, AgentCard, AgentCardSignature, CancelTaskRequest, GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, Id,
    ListTaskPushNotificationConfigsRequest, ListTaskPushNotificationConfigsResponse,
    ListTasksRequest, ListTasksResponse, Message, OAuthFlows, Part, PartContent, Request, Response,
    Role, SecurityScheme, SendMessageRequest, SendMessageResponse, StreamResponse,
    SubscribeToTaskRequest, Task, TaskPushNotificationConfig, TaskState, TaskStatus,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Checks one golden file, and what becomes of a field nobody knows.
fn golden<T: Serialize + DeserializeOwned>(name: &str, keeps_unknown: bool) {
    let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read_to_string(path).unwrap();
    let expected: Value = serde_json::from_str(&file).unwrap();
    let read: T = serde_json::from_str(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(serde_json::to_value(&read).unwrap(), expected, "{name} is written back unchanged");
    let mut newer = expected.clone();
    newer["fieldOfTheFuture"] = json!({"any_thing": ["thing", null]});
    let read: T =
        serde_json::from_value(newer.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let kept = if keeps_unknown { newer } else { expected };
    assert_eq!(serde_json::to_value(&read).unwrap(), kept, "{name} and what is new");
}

#[test]
fn every_object_is_written_back_unchanged() {
    golden::<Message>("message", true);
    golden::<Task>("task", true);
    golden::<AgentCard>("agent_card", true);
    golden::<AgentCardSignature>("agent_card_signature", true);
    golden::<TaskPushNotificationConfig>("task_push_notification_config", false);
    for kind in ["api_key", "http_auth", "oauth2", "open_id_connect", "mtls"] {
        golden::<SecurityScheme>(&format!("security_scheme_{kind}"), false);
    }
    for flow in ["authorization_code", "client_credentials", "implicit", "password", "device_code"]
    {
        golden::<OAuthFlows>(&format!("oauth_flows_{flow}"), false);
    }
    for event in ["task", "message", "status_update", "artifact_update"] {
        golden::<StreamResponse>(&format!("stream_response_{event}"), false);
    }
}

#[test]
fn the_parameters_and_results_of_every_method_are_written_back_unchanged() {
    golden::<SendMessageRequest>("send_message_request", false);
    golden::<SendMessageRequest>("send_message_request_push", false);
    golden::<SendMessageResponse>("send_message_response_task", false);
    golden::<SendMessageResponse>("send_message_response_message", false);
    golden::<GetTaskRequest>("get_task_request", false);
    golden::<CancelTaskRequest>("cancel_task_request", false);
    golden::<ListTasksRequest>("list_tasks_request", false);
    golden::<ListTasksResponse>("list_tasks_response", false);
    golden::<SubscribeToTaskRequest>("subscribe_to_task_request", false);
    golden::<GetTaskPushNotificationConfigRequest>(
        "get_task_push_notification_config_request",
        false,
    );
    golden::<ListTaskPushNotificationConfigsRequest>(
        "list_task_push_notification_configs_request",
        false,
    );
    golden::<ListTaskPushNotificationConfigsResponse>(
        "list_task_push_notification_configs_response",
        false,
    );
    golden::<GetExtendedAgentCardRequest>("get_extended_agent_card_request", false);
    golden::<Request>("request", false);
    golden::<Response>("response_result", false);
    golden::<Response>("response_error", false);
}

#[test]
fn every_golden_file_is_read_by_a_test() {
    let tests = include_str!("golden.rs");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let kinds = ["security_scheme_", "oauth_flows_", "stream_response_"];
        let kind = kinds.iter().find_map(|kind| name.strip_prefix(kind)).unwrap_or(name);
        assert!(tests.contains(&format!("\"{kind}\"")), "{name}");
    }
}

#[test]
fn the_smallest_objects_are_enough() {
    let task = json!({"id": "t", "status": {"state": "TASK_STATE_WORKING"}});
    let task: Task = serde_json::from_value(task).unwrap();
    assert!(task.artifacts.is_empty() && task.history.is_empty() && task.context_id.is_empty());
    let message = json!({"messageId": "m", "role": "ROLE_USER", "parts": []});
    assert!(serde_json::from_value::<Message>(message).unwrap().parts.is_empty());
    assert!(
        serde_json::from_value::<Message>(json!({"messageId": "m", "role": "ROLE_USER"})).is_err()
    );
}

#[test]
fn enum_values_of_newer_peers_survive() {
    for (text, state) in [
        ("TASK_STATE_UNSPECIFIED", TaskState::Unspecified),
        ("TASK_STATE_SUBMITTED", TaskState::Submitted),
        ("TASK_STATE_WORKING", TaskState::Working),
        ("TASK_STATE_COMPLETED", TaskState::Completed),
        ("TASK_STATE_FAILED", TaskState::Failed),
        ("TASK_STATE_CANCELED", TaskState::Canceled),
        ("TASK_STATE_INPUT_REQUIRED", TaskState::InputRequired),
        ("TASK_STATE_REJECTED", TaskState::Rejected),
        ("TASK_STATE_AUTH_REQUIRED", TaskState::AuthRequired),
        ("TASK_STATE_PAUSED", TaskState::Other("TASK_STATE_PAUSED".into())),
    ] {
        assert_eq!(serde_json::from_value::<TaskState>(json!(text)).unwrap(), state);
        assert_eq!(serde_json::to_value(&state).unwrap(), json!(text));
    }
    let unknown = TaskState::Other("TASK_STATE_PAUSED".into());
    assert!(!unknown.is_terminal() && !unknown.is_interrupted());
    let role: Role = serde_json::from_value(json!("ROLE_JUDGE")).unwrap();
    assert_eq!(serde_json::to_value(role).unwrap(), json!("ROLE_JUDGE"));
}

#[test]
fn ids_are_numbers_texts_or_null() {
    for id in [json!(0), json!(-1), json!(1.5), json!(""), json!("x"), json!(null)] {
        let read: Id = serde_json::from_value(id.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), id);
    }
    assert!(serde_json::from_value::<Id>(json!({})).is_err());
    assert!(serde_json::from_value::<Id>(json!(true)).is_err());
}

#[test]
fn errors_have_the_codes_and_reasons_of_the_specification() {
    let text = String::new;
    for (error, code, status, name, reason) in [
        (A2aError::Parse(text()), -32700, 400, "INVALID_ARGUMENT", "PARSE_ERROR"),
        (A2aError::InvalidRequest(text()), -32600, 400, "INVALID_ARGUMENT", "INVALID_REQUEST"),
        (A2aError::MethodNotFound(text()), -32601, 404, "NOT_FOUND", "METHOD_NOT_FOUND"),
        (A2aError::invalid_field("id", ""), -32602, 400, "INVALID_ARGUMENT", "INVALID_PARAMS"),
        (A2aError::Internal(text()), -32603, 500, "INTERNAL", "INTERNAL_ERROR"),
        (A2aError::TaskNotFound(text()), -32001, 404, "NOT_FOUND", "TASK_NOT_FOUND"),
        (
            A2aError::TaskNotCancelable(text()),
            -32002,
            400,
            "FAILED_PRECONDITION",
            "TASK_NOT_CANCELABLE",
        ),
        (
            A2aError::PushNotificationNotSupported,
            -32003,
            400,
            "FAILED_PRECONDITION",
            "PUSH_NOTIFICATION_NOT_SUPPORTED",
        ),
        (
            A2aError::UnsupportedOperation(text()),
            -32004,
            400,
            "FAILED_PRECONDITION",
            "UNSUPPORTED_OPERATION",
        ),
        (
            A2aError::ContentTypeNotSupported(text()),
            -32005,
            400,
            "INVALID_ARGUMENT",
            "CONTENT_TYPE_NOT_SUPPORTED",
        ),
        (A2aError::InvalidAgentResponse(text()), -32006, 500, "INTERNAL", "INVALID_AGENT_RESPONSE"),
        (
            A2aError::ExtendedAgentCardNotConfigured,
            -32007,
            400,
            "FAILED_PRECONDITION",
            "EXTENDED_AGENT_CARD_NOT_CONFIGURED",
        ),
        (
            A2aError::ExtensionSupportRequired(text()),
            -32008,
            400,
            "FAILED_PRECONDITION",
            "EXTENSION_SUPPORT_REQUIRED",
        ),
        (
            A2aError::VersionNotSupported(text()),
            -32009,
            400,
            "FAILED_PRECONDITION",
            "VERSION_NOT_SUPPORTED",
        ),
        (A2aError::Unauthenticated(text()), -32000, 401, "UNAUTHENTICATED", "UNAUTHENTICATED"),
        (A2aError::PermissionDenied(text()), -32000, 403, "PERMISSION_DENIED", "PERMISSION_DENIED"),
        (
            A2aError::ResourceExhausted(text()),
            -32000,
            429,
            "RESOURCE_EXHAUSTED",
            "RESOURCE_EXHAUSTED",
        ),
        (A2aError::Unavailable(text()), -32000, 503, "UNAVAILABLE", "UNAVAILABLE"),
    ] {
        let object = error.to_object();
        assert_eq!((object.code, error.status()), (code, (status, name)), "{error}");
        assert_eq!(A2aError::code_of_reason(reason), Some(code), "{error}");
        let details = error.details();
        let info = details.last().expect("every error has details");
        assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
        assert_eq!(
            (&info["reason"], &info["domain"]),
            (&json!(reason), &json!("a2a-protocol.org"))
        );
        assert_eq!((object.message, object.data), (error.to_string(), Some(json!(details))));
    }
    assert_eq!(A2aError::code_of_reason("QUOTA_EXCEEDED"), None);
    let field = A2aError::invalid_field("message.parts", "must not be empty").to_object();
    let violation = json!({"@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": "message.parts", "description": "must not be empty"}]});
    assert_eq!((field.code, &field.data.expect("details")[0]), (-32602, &violation));
}

#[test]
fn timestamps_are_read_with_offsets_and_written_in_utc() {
    for (read, written) in [
        ("2026-01-01T10:40:00Z", "2026-01-01T10:40:00Z"),
        ("2026-01-01T10:40:00.1Z", "2026-01-01T10:40:00.100Z"),
        ("2026-01-01T12:40:00.1234+02:00", "2026-01-01T10:40:00.123400Z"),
        ("2026-01-01T10:39:59.1234567-00:00", "2026-01-01T10:39:59.123456700Z"),
        ("0001-01-01T00:00:00.000Z", "0001-01-01T00:00:00Z"),
    ] {
        let status = json!({"state": "TASK_STATE_WORKING", "timestamp": read});
        let status: TaskStatus = serde_json::from_value(status).unwrap();
        assert_eq!(serde_json::to_value(status).unwrap()["timestamp"], written);
    }
    for refused in ["0000-12-31T23:59:59.5Z", "2026-01-01", "2026-01-01T10:40:00", ""] {
        let status = json!({"state": "TASK_STATE_WORKING", "timestamp": refused});
        assert!(serde_json::from_value::<TaskStatus>(status).is_err(), "{refused}");
    }
}

#[test]
fn bytes_of_any_base64_are_written_in_the_standard_one() {
    for (read, written) in
        [("", ""), ("aGVsbG8", "aGVsbG8="), ("-_8", "+/8="), ("+/8=", "+/8="), ("AA", "AA==")]
    {
        let part: Part = serde_json::from_value(json!({ "raw": read })).unwrap();
        assert_eq!(part.content, PartContent::Raw(written.into()));
    }
}

#[test]
fn integers_may_be_texts_or_have_a_point() {
    for (read, length) in [(json!("7"), 7), (json!(7.0), 7), (json!("7.0"), 7), (json!(-1e2), -100)]
    {
        let request = json!({"id": "t", "historyLength": read});
        let request: GetTaskRequest = serde_json::from_value(request).unwrap();
        assert_eq!(request.history_length, Some(length));
    }
}

#[test]
fn numbers_of_enum_values_are_names_where_they_are_known() {
    for (number, state, written) in [
        (json!(3), TaskState::Completed, json!("TASK_STATE_COMPLETED")),
        (json!("3"), TaskState::Completed, json!("TASK_STATE_COMPLETED")),
        (json!(42), TaskState::Other("42".into()), json!(42)),
        (json!(-1), TaskState::Other("-1".into()), json!(-1)),
    ] {
        let read: TaskState = serde_json::from_value(number).unwrap();
        assert_eq!((&read, serde_json::to_value(&read).unwrap()), (&state, written));
    }
}
