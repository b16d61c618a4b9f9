//! Which operation a method and a path name. axum's routes cannot end in `{id}:cancel`, so paths
//! are read here, in one place: `/tasks/…` and its like, or the same behind a tenant. Segments are
//! decoded after the path is taken apart, and may not hold a slash.

use a2a_types::A2aError;
use axum::http::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use crate::a2a::server::refusal::Refusal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    SendMessage,
    StreamMessage,
    GetTask,
    ListTasks,
    CancelTask,
    SubscribeToTask,
    CreatePush,
    GetPush,
    ListPushes,
    DeletePush,
    GetExtendedAgentCard,
}

/// An operation, and the fields of its request that the path holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) operation: Operation,
    pub(super) fields: Vec<(&'static str, String)>,
}

/// What a path names, whatever the method.
enum Resource<'a> {
    Send,
    Stream,
    Tasks,
    Task(&'a str),
    Cancel(&'a str),
    Subscribe(&'a str),
    Pushes(&'a str),
    Push(&'a str, &'a str),
    ExtendedAgentCard,
}

pub(super) fn find(method: &Method, path: &str) -> Result<Target, Refusal> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let segments: Vec<&str> = path.split('/').collect();
    let (tenant, resource) = match (resource(&segments), segments.split_first()) {
        (Some(resource), _) => (None, Some(resource)),
        (None, Some((tenant, rest))) if !tenant.is_empty() => (Some(*tenant), resource(rest)),
        _ => (None, None),
    };
    let Some(resource) = resource else {
        let error = A2aError::MethodNotFound(format!("nothing is served under {path:?}"));
        return Err(Refusal::new(StatusCode::NOT_FOUND, error));
    };
    let (operation, named) = operation(method, resource)?;
    let named = tenant.into_iter().map(|tenant| ("tenant", tenant)).chain(named);
    let fields = named.map(|(name, segment)| Ok((name, decode(name, segment)?)));
    Ok(Target { operation, fields: fields.collect::<Result<_, A2aError>>()? })
}

fn resource<'a>(segments: &[&'a str]) -> Option<Resource<'a>> {
    Some(match *segments {
        ["message:send"] => Resource::Send,
        ["message:stream"] => Resource::Stream,
        ["extendedAgentCard"] => Resource::ExtendedAgentCard,
        ["tasks"] => Resource::Tasks,
        ["tasks", task] if !task.is_empty() => match task.rsplit_once(':') {
            Some((id, "cancel")) => Resource::Cancel(id),
            Some((id, "subscribe")) => Resource::Subscribe(id),
            _ => Resource::Task(task),
        },
        ["tasks", task, "pushNotificationConfigs"] => Resource::Pushes(task),
        ["tasks", task, "pushNotificationConfigs", id] => Resource::Push(task, id),
        _ => return None,
    })
}

type Named<'a> = Vec<(&'static str, &'a str)>;

fn operation<'a>(
    method: &Method,
    resource: Resource<'a>,
) -> Result<(Operation, Named<'a>), Refusal> {
    let not_allowed = |allow| Err(Refusal::method_not_allowed(method.as_str(), allow));
    Ok(match (method.as_str(), resource) {
        ("POST", Resource::Send) => (Operation::SendMessage, vec![]),
        ("POST", Resource::Stream) => (Operation::StreamMessage, vec![]),
        ("GET", Resource::Tasks) => (Operation::ListTasks, vec![]),
        ("GET", Resource::Task(id)) => (Operation::GetTask, vec![("id", id)]),
        ("POST", Resource::Cancel(id)) => (Operation::CancelTask, vec![("id", id)]),
        // The proto has GET, section 11.3.2 POST.
        ("GET" | "POST", Resource::Subscribe(id)) => (Operation::SubscribeToTask, vec![("id", id)]),
        ("POST", Resource::Pushes(task)) => (Operation::CreatePush, vec![("taskId", task)]),
        ("GET", Resource::Pushes(task)) => (Operation::ListPushes, vec![("taskId", task)]),
        ("GET", Resource::Push(task, id)) => {
            (Operation::GetPush, vec![("taskId", task), ("id", id)])
        }
        ("DELETE", Resource::Push(task, id)) => {
            (Operation::DeletePush, vec![("taskId", task), ("id", id)])
        }
        ("GET", Resource::ExtendedAgentCard) => (Operation::GetExtendedAgentCard, vec![]),
        (_, Resource::Send | Resource::Stream | Resource::Cancel(_)) => return not_allowed("POST"),
        (_, Resource::Tasks | Resource::Task(_) | Resource::ExtendedAgentCard) => {
            return not_allowed("GET");
        }
        (_, Resource::Subscribe(_) | Resource::Pushes(_)) => return not_allowed("GET, POST"),
        (_, Resource::Push(..)) => return not_allowed("GET, DELETE"),
    })
}

fn decode(name: &str, segment: &str) -> Result<String, A2aError> {
    let text = percent_decode_str(segment).decode_utf8();
    let text = text.map_err(|_| A2aError::invalid_field(name, "is no UTF-8 in the path"))?;
    match text.is_empty() || text.contains('/') {
        true => Err(A2aError::invalid_field(name, "must be text without a slash in the path")),
        false => Ok(text.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderValue, header};

    fn found(method: &str, path: &str) -> (Operation, Vec<(&'static str, String)>) {
        let target = find(&method.parse().unwrap(), path).unwrap();
        (target.operation, target.fields)
    }

    #[test]
    fn every_route_is_found_with_a_slash_and_a_tenant() {
        for (method, path, operation, fields) in [
            ("POST", "/message:send", Operation::SendMessage, vec![]),
            ("POST", "/message:stream", Operation::StreamMessage, vec![]),
            ("GET", "/tasks", Operation::ListTasks, vec![]),
            ("GET", "/tasks/t", Operation::GetTask, vec![("id", "t")]),
            ("POST", "/tasks/t:cancel", Operation::CancelTask, vec![("id", "t")]),
            ("GET", "/tasks/t:subscribe", Operation::SubscribeToTask, vec![("id", "t")]),
            ("POST", "/tasks/t:subscribe", Operation::SubscribeToTask, vec![("id", "t")]),
            (
                "POST",
                "/tasks/t/pushNotificationConfigs",
                Operation::CreatePush,
                vec![("taskId", "t")],
            ),
            (
                "GET",
                "/tasks/t/pushNotificationConfigs",
                Operation::ListPushes,
                vec![("taskId", "t")],
            ),
            (
                "GET",
                "/tasks/t/pushNotificationConfigs/p",
                Operation::GetPush,
                vec![("taskId", "t"), ("id", "p")],
            ),
            (
                "DELETE",
                "/tasks/t/pushNotificationConfigs/p",
                Operation::DeletePush,
                vec![("taskId", "t"), ("id", "p")],
            ),
            ("GET", "/extendedAgentCard", Operation::GetExtendedAgentCard, vec![]),
        ] {
            let own = |name: &&str| name.to_string();
            let mut fields: Vec<_> =
                fields.iter().map(|(name, value)| (*name, own(value))).collect();
            assert_eq!(found(method, path), (operation, fields.clone()), "{path}");
            assert_eq!(found(method, &format!("{path}/")), (operation, fields.clone()), "{path}/");
            fields.insert(0, ("tenant", "blue team".into()));
            for slash in ["", "/"] {
                let path = format!("/blue%20team{path}{slash}");
                assert_eq!(found(method, &path), (operation, fields.clone()), "{path}");
            }
        }
    }

    #[test]
    fn ids_are_decoded_after_the_path_is_taken_apart() {
        assert_eq!(found("GET", "/tasks/a%3Acancel").1, [("id", "a:cancel".to_owned())]);
        assert_eq!(found("GET", "/tasks/a:b").1, [("id", "a:b".to_owned())]);
        assert_eq!(found("GET", "/tasks/%C3%BC%20").1, [("id", "ü ".to_owned())]);
        for bad in
            ["/tasks/a%2Fb", "/tasks/%FF", "/tasks/:cancel", "/tasks//pushNotificationConfigs"]
        {
            let method = if bad.ends_with("cancel") { Method::POST } else { Method::GET };
            assert_eq!(find(&method, bad).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        for path in
            ["", "/", "/task", "/a/b/c", "/tasks/t/x", "//tasks", "/message:sent", "/tasks//"]
        {
            assert_eq!(find(&Method::GET, path).unwrap_err().status, 404, "{path}");
        }
        for (method, path, allow) in [
            ("GET", "/message:send", "POST"),
            ("DELETE", "/tasks/t", "GET"),
            ("PUT", "/tasks/t:subscribe", "GET, POST"),
            ("POST", "/tasks/t/pushNotificationConfigs/p", "GET, DELETE"),
        ] {
            let refusal = find(&method.parse().unwrap(), path).unwrap_err();
            assert_eq!(refusal.status, 405);
            let expected = (header::ALLOW, HeaderValue::from_static(allow));
            assert_eq!(refusal.header, Some(Box::new(expected)));
        }
    }
}
