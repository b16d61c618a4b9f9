//! Bytes of strangers, read as every object of the protocol and as the envelope of a request. Nothing
//! panics, and what can be read is written in a form that reads as the same value.
#![no_main]

use std::fmt::Debug;

use a2a_types::envelope;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|body: &[u8]| {
    match envelope::parse(body) {
        Ok(request) => {
            let written = serde_json::to_vec(&request).expect("a request can be written");
            assert_eq!(envelope::parse(&written).as_ref(), Ok(&request));
            if let Some(params) = request.params {
                every_object(params.to_string().as_bytes());
            }
        }
        Err((_, error)) => drop(serde_json::to_vec(&error.to_object())),
    }
    every_object(body);
});

fn every_object(body: &[u8]) {
    macro_rules! objects {
        ($($object:ident)*) => { $( round_trip::<a2a_types::$object>(body); )* };
    }
    objects! {
        Task Message Part Artifact TaskStatus StreamResponse
        AgentCard AgentSkill SecurityScheme OAuthFlows TaskPushNotificationConfig
        SendMessageRequest SendMessageResponse GetTaskRequest ListTasksRequest ListTasksResponse
        CancelTaskRequest SubscribeToTaskRequest GetTaskPushNotificationConfigRequest
        ListTaskPushNotificationConfigsRequest ListTaskPushNotificationConfigsResponse
        GetExtendedAgentCardRequest Request Response ErrorObject
    }
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(body) else { return };
    let written = serde_json::to_vec(&read).expect("what was read can be written");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, read);
    assert_eq!(serde_json::to_vec(&again).expect("the same"), written);
}
