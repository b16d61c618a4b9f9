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

/// Checks one golden file, and that its every object survives a field nobody knows.
fn golden<T: Serialize + DeserializeOwned>(name: &str) {
    let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read_to_string(path).unwrap();
    let expected: Value = serde_json::from_str(&file).unwrap();
    let read: T = serde_json::from_str(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(serde_json::to_value(&read).unwrap(), expected, "{name} is written back unchanged");
    let mut newer = expected.clone();
    newer["fieldOfTheFuture"] = json!({"any": ["thing"]});
    let read: T = serde_json::from_value(newer).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(serde_json::to_value(&read).unwrap(), expected, "{name} passes over what is new");
}

#[test]
fn every_object_is_written_back_unchanged() {
    golden::<Message>("message");
    golden::<Task>("task");
    golden::<AgentCard>("agent_card");
    golden::<SendMessageRequest>("send_message_request");
    golden::<GetTaskRequest>("get_task_request");
    golden::<CancelTaskRequest>("cancel_task_request");
    golden::<ListTasksRequest>("list_tasks_request");
    golden::<ListTasksResponse>("list_tasks_response");
    golden::<Request>("request");
    golden::<Response>("response_result");
    golden::<Response>("response_error");
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
    for (error, code, reason) in [
        (A2aError::Parse(text()), -32700, None),
        (A2aError::InvalidRequest(text()), -32600, None),
        (A2aError::MethodNotFound(text()), -32601, None),
        (A2aError::Internal(text()), -32603, None),
        (A2aError::TaskNotFound(text()), -32001, Some("TASK_NOT_FOUND")),
        (A2aError::TaskNotCancelable(text()), -32002, Some("TASK_NOT_CANCELABLE")),
        (A2aError::PushNotificationNotSupported, -32003, Some("PUSH_NOTIFICATION_NOT_SUPPORTED")),
        (A2aError::UnsupportedOperation(text()), -32004, Some("UNSUPPORTED_OPERATION")),
        (A2aError::ContentTypeNotSupported(text()), -32005, Some("CONTENT_TYPE_NOT_SUPPORTED")),
        (A2aError::InvalidAgentResponse(text()), -32006, Some("INVALID_AGENT_RESPONSE")),
        (
            A2aError::ExtendedAgentCardNotConfigured,
            -32007,
            Some("EXTENDED_AGENT_CARD_NOT_CONFIGURED"),
        ),
        (A2aError::ExtensionSupportRequired(text()), -32008, Some("EXTENSION_SUPPORT_REQUIRED")),
        (A2aError::VersionNotSupported(text()), -32009, Some("VERSION_NOT_SUPPORTED")),
    ] {
        let object = error.to_object();
        assert_eq!(object.code, code);
        let told = object.data.as_ref().and_then(|data| data[0]["reason"].as_str());
        assert_eq!(told, reason, "{error}");
        assert_eq!(object.message, error.to_string());
    }
    let field = A2aError::invalid_field("message.parts", "must not be empty").to_object();
    let violation = json!([{"@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": "message.parts", "description": "must not be empty"}]}]);
    assert_eq!((field.code, field.data), (-32602, Some(violation)));
}
