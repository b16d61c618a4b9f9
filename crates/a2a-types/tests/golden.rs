//! Every object of the protocol, read from a golden file and written back unchanged; and what newer
//! peers may add to each.
#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use a2a_types::{
    A2aError, AgentCard, CancelTaskRequest, GetTaskRequest, Id, ListTasksRequest,
    ListTasksResponse, Message, Request, Response, Role, SendMessageRequest, SendMessageResponse,
    Task, TaskState,
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
    golden::<SendMessageRequest>("send_message_request", false);
    golden::<GetTaskRequest>("get_task_request", false);
    golden::<CancelTaskRequest>("cancel_task_request", false);
    golden::<ListTasksRequest>("list_tasks_request", false);
    golden::<ListTasksResponse>("list_tasks_response", false);
    golden::<Request>("request", false);
    golden::<Response>("response_result", false);
    golden::<Response>("response_error", false);
}

#[test]
fn an_answer_is_a_task_or_a_message() {
    for name in ["send_message_response_task", "send_message_response_message"] {
        let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let expected: Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let read: SendMessageResponse = serde_json::from_value(expected.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), expected);
        assert_eq!(matches!(read, SendMessageResponse::Task(_)), name.ends_with("task"));
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
        let details = error.details();
        let info = details.last().expect("every error has details");
        assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
        assert_eq!(
            (&info["reason"], &info["domain"]),
            (&json!(reason), &json!("a2a-protocol.org"))
        );
        assert_eq!((object.message, object.data), (error.to_string(), Some(json!(details))));
    }
    let field = A2aError::invalid_field("message.parts", "must not be empty").to_object();
    let violation = json!({"@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": "message.parts", "description": "must not be empty"}]});
    assert_eq!((field.code, &field.data.expect("details")[0]), (-32602, &violation));
}
