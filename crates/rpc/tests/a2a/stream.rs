//! Streams: what they carry, in which order, how they end, and how they are taken up again.

use std::time::Duration;

use serde_json::{Value, json};

use super::bindings::{BOTH, Binding, Event, Stream, answer_of};
use super::support::{PATIENCE, Served, memory, message};

/// The kinds of events, with the state where there is one.
fn shape(events: &[Event]) -> Vec<String> {
    let shape = |event: &Event| format!("{} {}", event.kind(), event.state()).trim().to_owned();
    events.iter().map(shape).collect()
}

/// Asserts that every event has the number after that of the one before.
fn is_without_gaps(events: &[Event]) {
    let numbers: Vec<u64> = events.iter().map(|event| event.id.unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

fn id_of(event: &Event) -> String {
    event.object["task"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_stream_begins_with_the_task_and_ends_with_its_end() {
    let served = Served::new().await;
    for binding in BOTH {
        let stream = binding.stream(&served, "SendStreamingMessage", message("echo hello")).await;
        let headers = stream.response.headers();
        assert_eq!(headers["cache-control"], "no-cache");
        assert_eq!(headers["x-accel-buffering"], "no");
        let events = stream.rest().await;
        let expected =
            ["task TASK_STATE_SUBMITTED", "artifactUpdate", "statusUpdate TASK_STATE_COMPLETED"];
        assert_eq!(shape(&events), expected, "{binding:?}");
        is_without_gaps(&events);
        let task = served.task(&events[0].object["task"]).await;
        let artifact = &events[1].object["artifactUpdate"];
        assert_eq!(artifact["artifact"], task["artifacts"][0]);
        let status = &events[2].object["statusUpdate"];
        assert_eq!(status["status"], task["status"]);
        for update in [artifact, status] {
            assert_eq!(
                (&update["taskId"], &update["contextId"]),
                (&task["id"], &task["contextId"])
            );
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_task_is_a_stream_of_one_message() {
    let served = Served::new().await;
    for binding in BOTH {
        let single = binding.call(&served, "SendMessage", message("say hi")).await.result();
        assert_eq!(single["message"]["parts"][0]["text"], "hi", "{binding:?}: {single}");
        let stream = binding.stream(&served, "SendStreamingMessage", message("say hi")).await;
        let events = stream.rest().await;
        assert_eq!(shape(&events), ["message"]);
        assert_eq!(events[0].object["message"]["parts"], single["message"]["parts"]);
    }
    assert_eq!(served.script.runs(), [], "no task was made");
}

#[tokio::test]
async fn events_of_json_rpc_are_answers_with_the_id_of_the_request() {
    let served = Served::new().await;
    for id in [json!(-7), json!("a\nb"), json!(null), json!(1.5)] {
        let params = message("echo x");
        let body = json!({"jsonrpc": "2.0", "id": id, "method": "SendStreamingMessage",
            "params": params});
        let events =
            Stream::open(served.post(body.to_string()), Binding::JsonRpc).await.rest().await;
        for Event { data, .. } in events {
            assert_eq!((&data["id"], &data["jsonrpc"]), (&id, &json!("2.0")), "{data}");
            assert!(data.get("result").is_some() && data.get("error").is_none(), "{data}");
        }
    }
}

#[tokio::test]
async fn what_goes_wrong_before_the_first_event_is_no_stream() {
    let served = Served::new().await;
    let done = served.send("echo x").await;
    let mut empty = message("x");
    empty["message"]["parts"] = json!([]);
    for (method, params, reason) in [
        ("SubscribeToTask", json!({"id": "nobody"}), "TASK_NOT_FOUND"),
        ("SubscribeToTask", json!({"id": done["id"]}), "UNSUPPORTED_OPERATION"),
        ("SendStreamingMessage", json!({}), "INVALID_PARAMS"),
        ("SendStreamingMessage", empty, "INVALID_PARAMS"),
        ("SendStreamingMessage", super::support::turn(&done, "x"), "UNSUPPORTED_OPERATION"),
    ] {
        for binding in BOTH {
            let request = binding.request(&served, method, params.clone());
            let response = request.header("A2A-Version", "1.0").send().await.unwrap();
            assert_eq!(response.headers()["content-type"], "application/json", "{method}");
            let answer = answer_of(response, binding).await;
            assert_eq!(answer.reason(), reason, "{binding:?} {method} {params}");
        }
    }
}

#[tokio::test]
async fn every_subscriber_hears_the_same() {
    let served = Served::new().await;
    let first = Binding::JsonRpc.stream(&served, "SendStreamingMessage", message("gate"));
    let mut first = first.await;
    let task = first.next().await.unwrap();
    assert_eq!(task.kind(), "task");
    served.script.started(1).await;
    let working = first.next().await.unwrap();
    assert_eq!(working.state(), "TASK_STATE_WORKING");
    let params = json!({"id": id_of(&task)});
    let mut others = Vec::new();
    for binding in [Binding::JsonRpc, Binding::Rest, Binding::Rest] {
        let mut other = binding.stream(&served, "SubscribeToTask", params.clone()).await;
        let snapshot = other.next().await.unwrap();
        assert_eq!(shape(std::slice::from_ref(&snapshot)), ["task TASK_STATE_WORKING"]);
        assert_eq!(snapshot.id, working.id);
        others.push(other);
    }
    drop(others.pop());
    served.script.gate.add_permits(1);
    let heard = first.rest().await;
    assert_eq!(shape(&heard), ["statusUpdate TASK_STATE_COMPLETED"]);
    for other in others {
        let other = other.rest().await;
        assert_eq!(other.len(), 1);
        assert_eq!((&other[0].object, other[0].id), (&heard[0].object, heard[0].id));
    }
}

#[tokio::test]
async fn a_closed_stream_leaves_its_task_alone() {
    let served = Served::new().await;
    for (count, binding) in BOTH.into_iter().enumerate() {
        let stream = binding.stream(&served, "SendStreamingMessage", message("gate"));
        let mut stream = stream.await;
        let task = stream.next().await.unwrap().object["task"].clone();
        served.script.started(count + 1).await;
        drop(stream);
        served.script.gate.add_permits(1);
        let done = async {
            loop {
                let task = served.task(&task).await;
                if task["status"]["state"] == "TASK_STATE_COMPLETED" {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, done).await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_is_taken_up_after_its_last_event() {
    let served = Served::new().await;
    for binding in BOTH {
        let stream = binding.stream(&served, "SendStreamingMessage", message("gate"));
        let mut stream = stream.await;
        let task = stream.next().await.unwrap();
        let working = stream.next().await.unwrap();
        drop(stream);
        let params = json!({"id": id_of(&task)});
        let resume = |after: String| {
            let request = binding.request(&served, "SubscribeToTask", params.clone());
            request.header("A2A-Version", "1.0").header("Last-Event-ID", after)
        };
        let mut resumed = Stream::open(resume(task.id.unwrap().to_string()), binding).await;
        let missed = resumed.next().await.unwrap();
        assert_eq!((missed.id, &missed.object), (working.id, &working.object), "{binding:?}");
        served.script.gate.add_permits(1);
        assert_eq!(shape(&resumed.rest().await), ["statusUpdate TASK_STATE_COMPLETED"]);
        // The end of a task can be heard after it, by whom it has not reached.
        let late = Stream::open(resume(working.id.unwrap().to_string()), binding).await;
        assert_eq!(shape(&late.rest().await), ["statusUpdate TASK_STATE_COMPLETED"]);
        for bad in ["x", "-1", "1.5"] {
            let answer = answer_of(resume(bad.into()).send().await.unwrap(), binding).await;
            assert_eq!(answer.field(), Some("Last-Event-ID"), "{binding:?} {bad}");
        }
    }
}

#[tokio::test]
async fn a_silent_stream_says_that_it_is_there() {
    let served = Served::configured(memory(), |_, options| {
        options.keep_alive = Duration::from_millis(10);
    })
    .await;
    for binding in BOTH {
        let stream = binding.stream(&served, "SendStreamingMessage", message("gate"));
        let mut stream = stream.await;
        while stream.comments < 3 {
            stream.read().await.unwrap();
        }
        served.script.gate.add_permits(1);
        let events = stream.rest().await;
        assert_eq!(events.last().unwrap().state(), "TASK_STATE_COMPLETED");
    }
}

#[tokio::test]
async fn streams_beyond_the_bound_are_refused_until_one_is_closed() {
    let served = Served::configured(memory(), |_, options| options.streams = 1).await;
    for binding in BOTH {
        let stream = binding.stream(&served, "SendStreamingMessage", message("hold"));
        let mut stream = stream.await;
        let params = json!({"id": id_of(&stream.next().await.unwrap())});
        for other in BOTH {
            let request = other.request(&served, "SubscribeToTask", params.clone());
            let response = request.header("A2A-Version", "1.0").send().await.unwrap();
            assert_eq!(response.headers()["retry-after"], "1");
            let answer = answer_of(response, other).await;
            assert_eq!((answer.status, answer.reason()), (503, "UNAVAILABLE"), "{other:?}");
        }
        let runs = served.script.runs().len();
        let refused = binding.call(&served, "SendStreamingMessage", message("hold")).await;
        assert_eq!((refused.status, served.script.runs().len()), (503, runs), "nothing was begun");
        drop(stream);
        let reopened = async {
            loop {
                let request = binding.request(&served, "SubscribeToTask", params.clone());
                let response = request.header("A2A-Version", "1.0").send().await.unwrap();
                if response.status() == 200 {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, reopened).await.unwrap();
        let closed = async {
            while binding.call(&served, "SendStreamingMessage", json!({})).await.status == 503 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.unwrap();
        served.result("CancelTask", params).await;
    }
}

#[tokio::test]
async fn a_stream_that_ends_before_its_task_says_so() {
    for binding in BOTH {
        let served = Served::new().await;
        let stream = binding.stream(&served, "SendStreamingMessage", message("hold"));
        let mut stream = stream.await;
        assert_eq!(stream.next().await.unwrap().kind(), "task");
        served.script.started(1).await;
        let (events, ()) = tokio::join!(stream.rest(), served.shut_down());
        let last = events.last().unwrap();
        assert_eq!((last.kind(), last.id), ("error", None), "{binding:?}: {events:?}");
        let error: &Value = &last.object["error"];
        let (code, details) = match binding {
            Binding::JsonRpc => (-32000, "data"),
            Binding::Rest => (503, "details"),
        };
        assert_eq!(error["code"], code);
        assert_eq!(error[details][0]["reason"], "UNAVAILABLE");
    }
}
