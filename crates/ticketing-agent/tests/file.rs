//! The file tracker: survives restarts, damage and hostile text.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::time::Duration;

use incident::{IncidentId, Severity, TicketStatus};
use service::{Clock, ManualClock};
use ticketing_agent::{Document, FileTracker, NewComment, NewTicket, Tracker, TrackerError};

fn open(path: &Path) -> Tracker {
    let clock = ManualClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
    Tracker::File(FileTracker::open(path, Clock::Manual(clock)).unwrap())
}

fn incident(number: u128) -> IncidentId {
    format!("inc_{number:032x}").parse().unwrap()
}

fn new_ticket(number: u128) -> NewTicket {
    NewTicket {
        incident: incident(number),
        title: "Disk fills up".into(),
        description: Document::from_text("92 % used\n\n- db-server-01"),
        severity: Severity::Warning,
        labels: vec!["disk".into()],
        unanswered_since: None,
    }
}

#[tokio::test]
async fn a_ticket_survives_a_restart_with_comments_and_history() {
    let directory = tempfile::tempdir().unwrap();
    let tracker = open(directory.path());
    assert_eq!(tracker.create(&new_ticket(1)).await.unwrap().key, "FB-1");
    assert_eq!(tracker.create(&new_ticket(2)).await.unwrap().key, "FB-2");
    let comment = NewComment {
        incident: incident(1),
        sequence: 4,
        body: Document::from_text("removed old logs"),
    };
    tracker.comment("FB-1", &comment).await.unwrap();
    for status in [TicketStatus::Resolving, TicketStatus::Resolved, TicketStatus::Resolved] {
        tracker.transition("FB-1", status).await.unwrap();
    }
    drop(tracker);

    let tracker = open(directory.path());
    assert_eq!(tracker.create(&new_ticket(1)).await.unwrap().key, "FB-1", "one per incident");
    assert_eq!(tracker.create(&new_ticket(3)).await.unwrap().key, "FB-3");
    assert_eq!(tracker.recorded_up_to("FB-1", incident(1)).await.unwrap(), 4);
    let ticket = tracker.find(incident(1)).await.unwrap().unwrap();
    assert_eq!((ticket.status.as_str(), ticket.title.as_str()), ("Done", "Disk fills up"));
    assert!(ticket.url.starts_with("file:///") && ticket.url.ends_with("/FB-1.md"));
    let page = std::fs::read_to_string(directory.path().join("FB-1.md")).unwrap();
    assert!(page.contains("removed old logs") && page.contains("- db-server-01"), "{page}");
    assert_eq!(page.matches(" resolved\n").count(), 1, "a repeated status is no change: {page}");
}

#[tokio::test]
async fn a_damaged_file_is_named_keeps_its_number_and_stops_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let tracker = open(directory.path());
    tracker.create(&new_ticket(1)).await.unwrap();
    tracker.create(&new_ticket(2)).await.unwrap();
    drop(tracker);
    std::fs::write(directory.path().join("FB-2.json"), "{\"key\": ").unwrap();

    let tracker = open(directory.path());
    let error = tracker.get("FB-2").await.unwrap_err();
    assert!(matches!(error, TrackerError::Damaged { .. }));
    assert!(error.to_string().contains("FB-2.json"), "{error}");
    assert_eq!(tracker.get("FB-1").await.unwrap().unwrap().key, "FB-1");
    assert_eq!(tracker.create(&new_ticket(3)).await.unwrap().key, "FB-3");
    let damaged = std::fs::read_to_string(directory.path().join("FB-2.json")).unwrap();
    assert_eq!(damaged, "{\"key\": ", "left for a person to repair");
}

#[tokio::test]
async fn two_processes_that_share_a_directory_make_one_ticket_per_incident_and_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let tracker = FileTracker::open(directory.path(), Clock::System).unwrap();
        Tracker::File(tracker)
    };
    let trackers = [open(), open()];
    let tickets: Vec<NewTicket> = (0..20).map(|number| new_ticket(number % 5)).collect();
    let creates = tickets.iter().enumerate().map(|(at, ticket)| trackers[at % 2].create(ticket));
    let mut keys: Vec<String> = futures::future::join_all(creates)
        .await
        .into_iter()
        .map(|made| made.unwrap().key)
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys, ["FB-1", "FB-2", "FB-3", "FB-4", "FB-5"]);
    let comment = |sequence| NewComment {
        incident: incident(1),
        sequence,
        body: Document::from_text(&format!("entry {sequence};")),
    };
    let key = trackers[1].find(incident(1)).await.unwrap().unwrap().key;
    for (tracker, sequence) in [(0, 1), (1, 1), (1, 2), (0, 2), (0, 3)] {
        trackers[tracker].comment(&key, &comment(sequence)).await.unwrap();
    }
    let page = std::fs::read_to_string(directory.path().join(format!("{key}.md"))).unwrap();
    for sequence in 1..=3 {
        assert_eq!(page.matches(&format!("entry {sequence};")).count(), 1, "{page}");
    }
}

#[tokio::test]
async fn a_process_that_froze_while_it_wrote_is_not_waited_for_long() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
    let tracker = FileTracker::open(directory.path(), Clock::Manual(clock.clone())).unwrap();
    let tracker = Tracker::File(tracker);
    let frozen = std::fs::File::open(directory.path().join(".lock")).unwrap();
    frozen.lock().unwrap();
    let ticket = new_ticket(1);
    let create = tracker.create(&ticket);
    tokio::pin!(create);
    let error = loop {
        tokio::select! {
            biased;
            done = &mut create => break done.unwrap_err(),
            () = tokio::task::yield_now() => clock.advance(Duration::from_millis(50)),
        }
    };
    assert!(matches!(error, TrackerError::DirectoryInUse { .. }), "{error}");
    assert!(error.is_transient());
    frozen.unlock().unwrap();
    assert_eq!(tracker.create(&ticket).await.unwrap().key, "FB-1");
}

#[tokio::test]
async fn a_key_cannot_name_another_file_and_an_unknown_one_is_not_found() {
    let directory = tempfile::tempdir().unwrap();
    let tracker = open(directory.path());
    for key in ["FB-../../x", "../FB-1", "FB-", "FB-7", "OPS-1", ""] {
        assert_eq!(tracker.get(key).await.unwrap(), None, "{key}");
        let error = tracker.transition(key, TicketStatus::Closed).await.unwrap_err();
        assert!(matches!(error, TrackerError::NotFound { .. }), "{error}");
    }
}

#[tokio::test]
async fn hostile_text_is_bounded_and_escaped() {
    let directory = tempfile::tempdir().unwrap();
    let tracker = open(directory.path());
    let hostile = "<img src=x onerror=alert(1)>\0\u{1b}]0;x\u{7} | [a](http://b)\n\n".repeat(3_000);
    let ticket = NewTicket {
        title: format!("{}\n# second title", "t".repeat(5_000)),
        description: Document::from_text(&hostile),
        ..new_ticket(1)
    };
    tracker.create(&ticket).await.unwrap();
    let page = std::fs::read_to_string(directory.path().join("FB-1.md")).unwrap();
    assert!(page.len() < 200_000 && page.contains("shortened"));
    assert!(!page.contains("<img") && !page.contains(" [a]") && !page.contains('\u{1b}'));
    assert!(!page.contains("\n# second"));
}

#[tokio::test]
async fn updates_at_once_all_arrive() {
    let directory = tempfile::tempdir().unwrap();
    let tracker = open(directory.path());
    let tickets: Vec<NewTicket> = (0..20).map(|number| new_ticket(number % 5)).collect();
    let made = futures::future::join_all(tickets.iter().map(|ticket| tracker.create(ticket))).await;
    let mut keys: Vec<String> = made.into_iter().map(|ticket| ticket.unwrap().key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys, ["FB-1", "FB-2", "FB-3", "FB-4", "FB-5"]);
}

#[tokio::test]
async fn the_history_has_the_time_of_each_change() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
    let tracker =
        Tracker::File(FileTracker::open(directory.path(), Clock::Manual(clock.clone())).unwrap());
    tracker.create(&new_ticket(1)).await.unwrap();
    clock.advance(Duration::from_secs(90));
    tracker.transition("FB-1", TicketStatus::NeedsHuman).await.unwrap();
    let page = std::fs::read_to_string(directory.path().join("FB-1.md")).unwrap();
    assert!(page.contains("- 2026-01-01T00:01:30Z needs human\n"), "{page}");
}
