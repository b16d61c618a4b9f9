//! Lists of tasks.

use serde_json::{Value, json};

use super::bindings::{BOTH, Binding};
use super::support::{Served, turn};

async fn list(served: &Served, binding: Binding, params: Value) -> Value {
    binding.call(served, "ListTasks", params).await.result()
}

fn ids(page: &Value) -> Vec<String> {
    let tasks = page["tasks"].as_array().unwrap();
    tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
}

async fn made(served: &Served, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..count {
        let task = served.send(&format!("echo {number}")).await;
        ids.push(task["id"].as_str().unwrap().to_owned());
    }
    ids
}

#[tokio::test]
async fn tasks_are_listed_newest_first_without_what_was_not_asked_for() {
    let served = Served::new().await;
    let mut expected = made(&served, 3).await;
    expected.reverse();
    for binding in BOTH {
        let page = list(&served, binding, json!({})).await;
        assert_eq!(ids(&page), expected, "{binding:?}");
        assert_eq!(page["pageSize"], 50);
        assert_eq!(page["totalSize"], 3);
        assert_eq!(page["nextPageToken"], "", "the key is always there");
        for task in page["tasks"].as_array().unwrap() {
            assert!(task.get("artifacts").is_none(), "{task}");
            assert_eq!(task["history"].as_array().unwrap().len(), 1, "{task}");
        }
        let params = json!({"includeArtifacts": true, "historyLength": 0, "pageSize": 1});
        let page = list(&served, binding, params).await;
        let task = &page["tasks"][0];
        assert_eq!(task["artifacts"][0]["parts"][0]["text"], "2");
        assert!(task.get("history").is_none(), "{task}");
    }
}

#[tokio::test]
async fn no_tasks_are_an_empty_list() {
    let served = Served::new().await;
    for binding in BOTH {
        let page = list(&served, binding, json!({})).await;
        assert_eq!(page["tasks"], json!([]), "{page}");
        assert_eq!((&page["totalSize"], &page["nextPageToken"]), (&json!(0), &json!("")));
    }
}

#[tokio::test]
async fn pages_hold_while_other_tasks_come() {
    for binding in BOTH {
        let served = Served::new().await;
        let mut expected = made(&served, 7).await;
        expected.reverse();
        let (mut read, mut token) = (Vec::new(), String::new());
        loop {
            let page = list(&served, binding, json!({"pageSize": 3, "pageToken": token})).await;
            read.extend(ids(&page));
            token = page["nextPageToken"].as_str().unwrap().to_owned();
            if token.is_empty() {
                break;
            }
            assert_eq!(ids(&page).len(), 3);
            // What comes in between is newer, so it belongs before the first page.
            futures::future::join_all((0..3).map(|_| served.send("echo between"))).await;
        }
        assert_eq!(read, expected, "{binding:?}: each once, in order");
        let page = list(&served, binding, json!({"pageSize": 100})).await;
        assert_eq!(page["totalSize"], 7 + 2 * 3);
    }
}

#[tokio::test]
async fn tasks_are_found_by_context_state_and_time() {
    let served = Served::new().await;
    let done = served.send("echo x").await;
    let waiting = served.send("ask").await;
    let failed = served.send("fail x").await;
    let id = |task: &Value| task["id"].as_str().unwrap().to_owned();
    let at = &done["status"]["timestamp"];
    for binding in BOTH {
        for (params, expected) in [
            (json!({"contextId": waiting["contextId"]}), vec![id(&waiting)]),
            (json!({"contextId": "nobody's"}), vec![]),
            (json!({"status": "TASK_STATE_FAILED"}), vec![id(&failed)]),
            (json!({"status": 6}), vec![id(&waiting)]),
            (json!({"status": "TASK_STATE_UNSPECIFIED", "pageSize": 1}), vec![id(&failed)]),
            (
                json!({"status": "TASK_STATE_COMPLETED", "contextId": done["contextId"]}),
                vec![id(&done)],
            ),
            (json!({"status": "TASK_STATE_FAILED", "contextId": done["contextId"]}), vec![]),
            (json!({"statusTimestampAfter": at, "pageSize": 1}), vec![id(&failed)]),
            (json!({"statusTimestampAfter": "2999-01-01T00:00:00Z"}), vec![]),
        ] {
            let page = list(&served, binding, params.clone()).await;
            assert_eq!(ids(&page), expected, "{binding:?} {params}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_listed_is_named() {
    let served = Served::new().await;
    for binding in BOTH {
        for (params, field) in [
            (json!({"pageSize": 0}), "pageSize"),
            (json!({"pageSize": 101}), "pageSize"),
            (json!({"pageSize": -1}), "pageSize"),
            (json!({"pageSize": "many"}), "pageSize"),
            (json!({"pageToken": "nonsense"}), "pageToken"),
            (json!({"historyLength": -1}), "historyLength"),
            (json!({"status": "TASK_STATE_BORED"}), "status"),
            (json!({"statusTimestampAfter": "yesterday"}), "statusTimestampAfter"),
            (json!({"includeArtifacts": "maybe"}), "includeArtifacts"),
        ] {
            let answer = binding.call(&served, "ListTasks", params.clone()).await;
            assert_eq!(answer.reason(), "INVALID_PARAMS", "{binding:?} {params}");
            assert_eq!(answer.field(), Some(field), "{binding:?} {params}: {}", answer.why());
            assert!(answer.why().contains(field), "{}", answer.why());
        }
    }
}

#[tokio::test]
async fn tenants_do_not_see_one_another() {
    let served = Served::new().await;
    for binding in BOTH {
        let tenant = format!("red-{binding:?}");
        let mut params = super::support::message("ask");
        params["tenant"] = json!(tenant);
        let task = binding.call(&served, "SendMessage", params).await.result()["task"].clone();
        let id = task["id"].as_str().unwrap();
        let own = json!({"tenant": tenant, "id": id});
        assert_eq!(binding.call(&served, "GetTask", own.clone()).await.result()["id"], id);
        assert_eq!(ids(&list(&served, binding, json!({"tenant": tenant})).await), [id]);
        for foreign in [json!({"tenant": "blue", "id": id}), json!({"id": id})] {
            for method in ["GetTask", "CancelTask", "SubscribeToTask"] {
                let answer = binding.call(&served, method, foreign.clone()).await;
                assert_eq!(answer.reason(), "TASK_NOT_FOUND", "{binding:?} {method} {foreign}");
            }
        }
        let mut answer = turn(&task, "echo x");
        answer["tenant"] = json!("blue");
        let answer = binding.call(&served, "SendMessage", answer).await;
        assert_eq!(answer.reason(), "TASK_NOT_FOUND");
        let canceled = binding.call(&served, "CancelTask", own).await.result();
        assert_eq!(canceled["status"]["state"], "TASK_STATE_CANCELED");
    }
    assert_eq!(list(&served, Binding::JsonRpc, json!({})).await["totalSize"], 0);
}
