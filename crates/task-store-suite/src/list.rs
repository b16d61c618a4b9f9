//! The list of tasks.

use a2a_types::{Artifact, PAGE_BYTES, Part, TaskPage, TaskQuery, TaskState, TaskStore};

use crate::sample::{advance, at, new, owner, put, query, record};

fn ids(page: &TaskPage) -> Vec<&str> {
    page.tasks.iter().map(|task| task.id.as_str()).collect()
}

/// The ids on each page from this query on, and the total that each page says.
async fn pages(tasks: &dyn TaskStore, mut query: TaskQuery) -> (Vec<Vec<String>>, Vec<u64>) {
    let (mut pages, mut totals) = (Vec::new(), Vec::new());
    loop {
        let page = tasks.list(query.clone()).await.unwrap();
        pages.push(page.tasks.into_iter().map(|task| task.id).collect());
        totals.push(page.total);
        query.after = page.next;
        if query.after.is_none() {
            return (pages, totals);
        }
    }
}

pub async fn the_newest_status_comes_first(tasks: &dyn TaskStore) {
    let page = tasks.list(query(9)).await.unwrap();
    assert_eq!((ids(&page), &page.next, page.total), (vec![], &None, 0));
    put(tasks, "t-1", TaskState::Working, 5).await;
    put(tasks, "t-2", TaskState::Completed, 9).await;
    put(tasks, "t-3", TaskState::Working, 5).await;
    put(tasks, "t-B", TaskState::Working, 5).await;
    put(tasks, "t-a", TaskState::Working, 5).await;
    let page = tasks.list(query(9)).await.unwrap();
    assert_eq!(ids(&page), ["t-2", "t-a", "t-B", "t-3", "t-1"], "then the greater id, by bytes");
    assert_eq!((page.next, page.total), (None, 5));
}

pub async fn pages_meet_without_gap_or_repeat(tasks: &dyn TaskStore) {
    // Several have the same time, so that pages end between them.
    for (number, second) in [1, 1, 1, 2, 2, 3].into_iter().enumerate() {
        put(tasks, &format!("t-{number}"), TaskState::Working, second).await;
    }
    let (by_two, totals) = pages(tasks, query(2)).await;
    assert_eq!(by_two, [["t-5", "t-4"], ["t-3", "t-2"], ["t-1", "t-0"]]);
    assert_eq!(totals, [6, 6, 6]);
    let (by_four, _) = pages(tasks, query(4)).await;
    assert_eq!(by_four.concat(), by_two.concat());
}

pub async fn a_page_of_large_tasks_ends_early(tasks: &dyn TaskStore) {
    let sizes = [0, PAGE_BYTES / 3, PAGE_BYTES / 3, PAGE_BYTES / 3, PAGE_BYTES * 2, 0];
    for (number, size) in sizes.into_iter().enumerate() {
        let mut record = record(&format!("t-{number}"), None);
        record.task.history[0].parts = vec![Part::text("x".repeat(size))];
        tasks.insert(new(record)).await.unwrap();
    }
    let (pages, totals) = pages(tasks, query(100)).await;
    assert_eq!(pages, [vec!["t-5"], vec!["t-4"], vec!["t-3", "t-2"], vec!["t-1", "t-0"]]);
    assert_eq!(totals, [6; 4]);
}

pub async fn a_cursor_stays_while_tasks_come_and_change(tasks: &dyn TaskStore) {
    let mut records = Vec::new();
    for number in 0..6 {
        records.push(put(tasks, &format!("t-{number}"), TaskState::Working, number).await);
    }
    let first = tasks.list(query(2)).await.unwrap();
    assert_eq!(ids(&first), ["t-5", "t-4"]);
    put(tasks, "t-9", TaskState::Working, 9).await;
    // One that was seen changes, and one that was not.
    for number in [5, 2] {
        let event = advance(&mut records[number], TaskState::Completed, 10);
        tasks.save(records[number].clone(), vec![event]).await.unwrap();
    }
    let rest = TaskQuery { after: first.next, ..query(2) };
    assert_eq!(pages(tasks, rest).await.0, [vec!["t-3", "t-1"], vec!["t-0"]]);
}

pub async fn a_list_is_filtered(tasks: &dyn TaskStore) {
    for (number, state) in
        [TaskState::Working, TaskState::Completed].iter().cycle().take(6).enumerate()
    {
        let mut record = record(&format!("t-{number}"), None);
        record.task.context_id = format!("c-{}", number / 3);
        tasks.insert(new(record.clone())).await.unwrap();
        let event = advance(&mut record, state.clone(), i64::try_from(number).unwrap());
        tasks.save(record, vec![event]).await.unwrap();
    }
    let context_id = Some("c-1".to_owned());
    let state = Some(TaskState::Completed);
    let since = Some(at(3));
    let of_context = TaskQuery { context_id: context_id.clone(), ..query(9) };
    assert_eq!(ids(&tasks.list(of_context).await.unwrap()), ["t-5", "t-4", "t-3"]);
    let of_state = TaskQuery { state: state.clone(), ..query(2) };
    let page = tasks.list(of_state).await.unwrap();
    assert_eq!((ids(&page), page.total), (vec!["t-5", "t-3"], 3));
    let of_time = TaskQuery { since, ..query(9) };
    assert_eq!(ids(&tasks.list(of_time).await.unwrap()), ["t-5", "t-4", "t-3"]);
    let of_all = TaskQuery { context_id, state, since, ..query(9) };
    assert_eq!(ids(&tasks.list(of_all).await.unwrap()), ["t-5", "t-3"]);
    let unknown = TaskQuery { context_id: Some("nul \0".into()), ..query(9) };
    assert_eq!(tasks.list(unknown).await.unwrap().total, 0);
}

pub async fn an_owner_sees_own_tasks_only(tasks: &dyn TaskStore) {
    let owners = [owner("", ""), owner("acme", ""), owner("acme", "alice"), owner("", "alice")];
    for (number, owner) in owners.iter().enumerate() {
        let mut record = record(&format!("t-{number}"), None);
        record.owner = owner.clone();
        tasks.insert(new(record)).await.unwrap();
    }
    for (number, owner) in owners.into_iter().enumerate() {
        let page = tasks.list(TaskQuery { owner, ..query(9) }).await.unwrap();
        assert_eq!((ids(&page), page.total), (vec![&*format!("t-{number}")], 1));
    }
}

pub async fn artifacts_are_left_out_unless_asked_for(tasks: &dyn TaskStore) {
    let mut record = record("t-1", None);
    record.task.put_artifact(Artifact::new("a", vec![Part::text("found")]));
    tasks.insert(new(record.clone())).await.unwrap();
    let whole = tasks.list(TaskQuery { with_artifacts: true, ..query(9) }).await.unwrap();
    assert_eq!(whole.tasks, [record.task.clone()]);
    let bare = tasks.list(query(9)).await.unwrap();
    record.task.artifacts.clear();
    assert_eq!(bare.tasks, [record.task]);
}
