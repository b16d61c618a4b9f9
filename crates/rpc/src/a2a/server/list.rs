//! Pages of tasks: newest status first, each page from where the one before ended, so that tasks
//! which come in between neither repeat nor hide others.

use a2a_types::{
    A2aError, ListTaskPushNotificationConfigsRequest, ListTaskPushNotificationConfigsResponse,
    ListTasksRequest, ListTasksResponse, TaskCursor, TaskOwner, TaskPage,
    TaskPushNotificationConfig, TaskQuery, TaskState,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::check;

const DEFAULT_PAGE: i32 = 50;
const LARGEST_PAGE: i32 = 100;

/// What to ask the store for.
pub(super) fn query(request: ListTasksRequest, owner: TaskOwner) -> Result<TaskQuery, A2aError> {
    let limit = page_size(request.page_size)?;
    check::history_length(request.history_length, "historyLength")?;
    check::name(&request.context_id, "contextId", check::LONGEST_NAME)?;
    let state = match request.status {
        None | Some(TaskState::Unspecified) => None,
        Some(TaskState::Other(name)) => {
            return Err(A2aError::invalid_field("status", format!("{name} is no state of a task")));
        }
        Some(state) => Some(state),
    };
    Ok(TaskQuery {
        owner,
        context_id: (!request.context_id.is_empty()).then_some(request.context_id),
        state,
        since: request.status_timestamp_after,
        after: cursor(&request.page_token)?,
        limit: limit.unsigned_abs(),
        with_artifacts: request.include_artifacts.unwrap_or(false),
    })
}

pub(super) fn response(page: TaskPage, limit: u32, history: Option<i32>) -> ListTasksResponse {
    let tasks = page.tasks.into_iter().map(|task| check::with_history(task, history));
    ListTasksResponse {
        tasks: tasks.collect(),
        next_page_token: page.next.as_ref().map(token).unwrap_or_default(),
        page_size: i32::try_from(limit).unwrap_or(LARGEST_PAGE),
        total_size: i32::try_from(page.total).unwrap_or(i32::MAX),
    }
}

fn page_size(asked: Option<i32>) -> Result<i32, A2aError> {
    match asked.unwrap_or(DEFAULT_PAGE) {
        size if (1..=LARGEST_PAGE).contains(&size) => Ok(size),
        _ => Err(A2aError::invalid_field("pageSize", format!("must be 1 to {LARGEST_PAGE}"))),
    }
}

/// Opaque to callers: the time and the id of the last task of a page.
fn token(cursor: &TaskCursor) -> String {
    URL_SAFE_NO_PAD.encode(format!("{} {}", cursor.updated_at, cursor.id))
}

fn cursor(token: &str) -> Result<Option<TaskCursor>, A2aError> {
    if token.is_empty() {
        return Ok(None);
    }
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (updated_at, id) = text.split_once(' ').filter(|(_, id)| !id.contains('\0'))?;
        Some(TaskCursor { updated_at: updated_at.parse().ok()?, id: id.to_owned() })
    };
    read().map(Some).ok_or_else(bad_token)
}

/// How many push configurations to show, and after which; 0 or none at all leaves it to us.
pub(super) fn push_page(
    request: &ListTaskPushNotificationConfigsRequest,
) -> Result<(usize, Option<String>), A2aError> {
    let asked = (request.page_size != 0).then_some(request.page_size);
    let limit = page_size(asked.or(Some(LARGEST_PAGE)))?.unsigned_abs() as usize;
    if request.page_token.is_empty() {
        return Ok((limit, None));
    }
    let id = URL_SAFE_NO_PAD.decode(&request.page_token).ok();
    let id = id.and_then(|id| String::from_utf8(id).ok());
    Ok((limit, Some(id.ok_or_else(bad_token)?)))
}

/// The first `limit` of the configurations, by id.
pub(super) fn push_response(
    mut configs: Vec<TaskPushNotificationConfig>,
    limit: usize,
) -> ListTaskPushNotificationConfigsResponse {
    configs.sort_by(|one, other| one.id.cmp(&other.id));
    let has_more = configs.len() > limit;
    configs.truncate(limit);
    let last = configs.last().filter(|_| has_more);
    let next_page_token = last.map(|config| URL_SAFE_NO_PAD.encode(&config.id));
    ListTaskPushNotificationConfigsResponse {
        next_page_token: next_page_token.unwrap_or_default(),
        configs,
    }
}

fn bad_token() -> A2aError {
    A2aError::invalid_field("pageToken", "is no token of this agent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_place() {
        for at in ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456789Z", "1970-01-01T00:00:00Z"]
        {
            let place = TaskCursor { updated_at: at.parse().unwrap(), id: "a b/ü".into() };
            assert_eq!(cursor(&token(&place)).unwrap(), Some(place));
        }
        assert_eq!(cursor("").unwrap(), None);
        for bad in [
            "x",
            "????",
            "bm90aGluZw",
            "MjAyNiBhYmM",
            &URL_SAFE_NO_PAD.encode([0xff, 0xfe]),
            &URL_SAFE_NO_PAD.encode("2026-01-01T00:00:00Z a\0"),
        ] {
            assert!(cursor(bad).is_err(), "{bad}");
        }
    }
}
