//! The Jira client against a Jira that holds it to the official API document.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod fake_jira;

use std::sync::Arc;
use std::time::Duration;

use fake_jira::{FakeJira, FaultKind, TOKEN, USER, Workflow};
use http::Method;
use incident::{IncidentId, Severity, TicketStatus};
use serde_json::{Value, json};
use service::{Clock, ManualClock};
use ticketing_agent::{
    Auth, Document, JiraSettings, JiraTracker, NewComment, NewTicket, Span, Tracker, TrackerError,
};

/// A tracker on a fake, with a clock that stands still.
struct Desk {
    jira: FakeJira,
    clock: ManualClock,
    settings: JiraSettings,
    tracker: Tracker,
    _token: tempfile::TempDir,
}

impl Desk {
    async fn open() -> Option<Self> {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut JiraSettings)) -> Option<Self> {
        let jira = FakeJira::start().await?;
        let directory = tempfile::tempdir().unwrap();
        let token_file = directory.path().join("token");
        std::fs::write(&token_file, TOKEN).unwrap();
        let mut settings = JiraSettings {
            url: Some(jira.url.parse().unwrap()),
            project: "OPS".into(),
            user: USER.into(),
            token_file: Some(token_file),
            ..JiraSettings::default()
        };
        change(&mut settings);
        let clock = ManualClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let tracker = tracker(&settings, &clock);
        Some(Self { jira, clock, settings, tracker, _token: directory })
    }

    /// Waits for a call whose pauses end as fast as the clock can be moved.
    async fn hurry<T>(&self, call: impl Future<Output = T>) -> T {
        tokio::pin!(call);
        loop {
            tokio::select! {
                biased;
                done = &mut call => return done,
                () = tokio::task::yield_now() => self.clock.advance(Duration::from_millis(100)),
            }
        }
    }
}

fn tracker(settings: &JiraSettings, clock: &ManualClock) -> Tracker {
    let tracker = JiraTracker::new(settings.clone(), Clock::Manual(clock.clone())).unwrap();
    Tracker::Jira(Box::new(tracker))
}

fn incident() -> IncidentId {
    "inc_00000000000000000000000000000007".parse().unwrap()
}

fn new_ticket() -> NewTicket {
    NewTicket {
        incident: incident(),
        title: "Database connections time out on db-server-01".into(),
        description: Document::from_text("Queries wait for a connection.\n\n- db-server-01"),
        severity: Severity::Critical,
        labels: vec!["service:db server".into()],
        unanswered_since: None,
    }
}

fn comment(sequence: u64, text: &str) -> NewComment {
    NewComment { incident: incident(), sequence, body: Document::from_text(text) }
}

#[tokio::test]
async fn a_ticket_lives_from_investigating_to_closed() {
    let Some(desk) = Desk::open().await else { return };
    let ticket = desk.tracker.create(&new_ticket()).await.unwrap();
    assert_eq!(ticket.key, "OPS-1");
    assert_eq!(ticket.url, format!("{}/browse/OPS-1", desk.jira.url));
    {
        let state = desk.jira.state();
        let fields = &state.issues[0].fields;
        assert_eq!(fields["priority"]["name"], "Highest");
        let labels = json!(["firebreak", "service:db-server", format!("firebreak-{}", incident())]);
        assert_eq!(fields["labels"], labels);
        assert_eq!(fields["description"]["content"][1]["type"], "bulletList");
    }
    let moves = [
        (TicketStatus::Investigating, "In Progress"),
        (TicketStatus::Identified, "To Do"),
        (TicketStatus::Resolving, "In Progress"),
        (TicketStatus::Resolved, "Done"),
        (TicketStatus::Closed, "Done"),
    ];
    for (status, name) in moves {
        let moved = desk.tracker.transition("OPS-1", status).await.unwrap();
        assert_eq!(
            (moved.status.as_str(), desk.jira.state().issues[0].status.as_str()),
            (name, name)
        );
    }
    let posts = desk.jira.count(&Method::POST, "/transitions");
    assert_eq!(posts, 4, "the second Done is no move");

    assert_eq!(desk.tracker.recorded_up_to("OPS-1", incident()).await.unwrap(), 0);
    desk.tracker.comment("OPS-1", &comment(3, "pool raised to 50")).await.unwrap();
    assert_eq!(desk.tracker.recorded_up_to("OPS-1", incident()).await.unwrap(), 3);
    let found = desk.tracker.find(incident()).await.unwrap().unwrap();
    assert_eq!(desk.tracker.get("OPS-1").await.unwrap().unwrap(), found);
    assert_eq!(desk.tracker.get("OPS-9").await.unwrap(), None);
}

#[tokio::test]
async fn a_second_create_returns_the_first_ticket() {
    let Some(desk) = Desk::open().await else { return };
    desk.tracker.create(&new_ticket()).await.unwrap();
    assert_eq!(desk.tracker.create(&new_ticket()).await.unwrap().key, "OPS-1");
    assert_eq!(desk.jira.state().issues.len(), 1);
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_never_makes_a_second_ticket() {
    let Some(desk) = Desk::open().await else { return };
    desk.jira.state().search_lags = true;
    desk.jira.fail_next(Method::POST, FaultKind::BreakAfter);
    let lost = desk.tracker.create(&new_ticket()).await.unwrap_err();
    assert!(lost.is_transient(), "{lost}");

    // The search does not show the ticket yet, and the client knows better than to trust it.
    let waiting = desk.tracker.create(&new_ticket()).await.unwrap_err();
    assert!(matches!(waiting, TrackerError::CreateUnsettled { .. }), "{waiting}");
    assert!(waiting.is_transient());

    desk.jira.state().search_lags = false;
    assert_eq!(desk.tracker.create(&new_ticket()).await.unwrap().key, "OPS-1");
    assert_eq!(desk.jira.state().issues.len(), 1);
}

#[tokio::test]
async fn a_restart_after_a_lost_answer_waits_too_and_then_goes_on() {
    let Some(desk) = Desk::open().await else { return };
    let after_restart = tracker(&desk.settings, &desk.clock);
    let ticket = NewTicket { unanswered_since: Some(desk.clock.now()), ..new_ticket() };
    let waiting = after_restart.create(&ticket).await.unwrap_err();
    assert!(matches!(waiting, TrackerError::CreateUnsettled { .. }), "{waiting}");
    desk.clock.advance(Duration::from_secs(desk.settings.settle_seconds));
    assert_eq!(after_restart.create(&ticket).await.unwrap().key, "OPS-1");
}

#[tokio::test]
async fn a_clock_that_is_set_ends_no_wait_for_a_lost_create_and_prolongs_none() {
    for hours in [1, -1] {
        let Some(desk) = Desk::open().await else { return };
        desk.jira.state().search_lags = true;
        desk.jira.fail_next(Method::POST, FaultKind::AnswerAfter { status: 504 });
        let lost = desk.tracker.create(&new_ticket()).await.unwrap_err();
        assert!(lost.is_transient(), "{lost}");
        desk.clock.jump(jiff::SignedDuration::from_hours(hours));
        let waiting = desk.tracker.create(&new_ticket()).await.unwrap_err();
        assert!(matches!(waiting, TrackerError::CreateUnsettled { .. }), "{hours}: {waiting}");
        desk.clock.advance(Duration::from_secs(desk.settings.settle_seconds));
        desk.jira.state().search_lags = false;
        assert_eq!(desk.tracker.create(&new_ticket()).await.unwrap().key, "OPS-1");
        assert_eq!(desk.jira.state().issues.len(), 1);
    }
}

#[tokio::test]
async fn a_hanging_answer_ends_at_the_deadline() {
    let Some(desk) = Desk::with(|settings| settings.deadline_seconds = 1).await else { return };
    desk.jira.fail_next(Method::POST, FaultKind::HangAfter);
    let error = desk.tracker.create(&new_ticket()).await.unwrap_err();
    assert!(error.to_string().contains("deadline passed"), "{error}");
    // So short a deadline passes by itself where the machine has other things to do.
    let ticket = loop {
        match desk.tracker.create(&new_ticket()).await {
            Ok(ticket) => break ticket,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    };
    assert_eq!(ticket.key, "OPS-1");
    assert_eq!(desk.jira.state().issues.len(), 1);
}

#[tokio::test]
async fn a_short_retry_after_is_waited_for() {
    let Some(desk) = Desk::open().await else { return };
    let start = desk.clock.now();
    desk.jira.fail_next(Method::POST, FaultKind::Answer { status: 429, retry_after: Some(4) });
    let ticket = new_ticket();
    desk.hurry(desk.tracker.create(&ticket)).await.unwrap();
    assert!(desk.clock.now() >= start + Duration::from_secs(4));
    assert_eq!(desk.jira.state().issues.len(), 1);
}

#[tokio::test]
async fn a_long_retry_after_is_handed_to_the_caller_and_holds_up_nothing() {
    let Some(desk) = Desk::open().await else { return };
    desk.jira.fail_next(Method::POST, FaultKind::Answer { status: 429, retry_after: Some(60) });
    let error = desk.tracker.create(&new_ticket()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
    // Nothing is asked of it before, also not by others, and not when the clock is set.
    desk.clock.advance(Duration::from_secs(59));
    desk.clock.jump(jiff::SignedDuration::from_hours(1));
    let asked = desk.jira.state().requests.len();
    let early = desk.tracker.find(incident()).await.unwrap_err();
    assert_eq!(early.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(desk.jira.state().requests.len(), asked);
    desk.clock.advance(Duration::from_secs(1));
    // Jira did nothing, so there is nothing to settle.
    desk.tracker.create(&new_ticket()).await.unwrap();
}

#[tokio::test]
async fn reads_are_repeated_on_a_server_error_and_writes_are_not() {
    let Some(desk) = Desk::open().await else { return };
    desk.tracker.create(&new_ticket()).await.unwrap();
    for status in [500, 503] {
        desk.jira.fail_next(Method::GET, FaultKind::Answer { status, retry_after: None });
    }
    let read = desk.hurry(desk.tracker.get("OPS-1")).await.unwrap();
    assert_eq!(read.unwrap().status, "To Do");

    desk.jira.fail_next(Method::POST, FaultKind::Answer { status: 502, retry_after: None });
    let error = desk.tracker.comment("OPS-1", &comment(1, "x")).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(desk.jira.count(&Method::POST, "/comment"), 1);
}

#[tokio::test]
async fn no_jira_is_a_transient_error_that_keeps_the_token_to_itself() {
    let Some(desk) = Desk::open().await else { return };
    let nowhere = service::own_loopback_address();
    let mut settings = desk.settings.clone();
    settings.url = Some(format!("http://{nowhere}").parse().unwrap());
    let away = tracker(&settings, &desk.clock);
    let error = desk.hurry(away.find(incident())).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(!format!("{error:?}").contains(TOKEN));
}

#[tokio::test]
async fn a_wrong_token_says_what_to_check_and_does_not_print_it() {
    let Some(desk) = Desk::open().await else { return };
    let wrong = desk.settings.token_file.clone().unwrap().with_file_name("wrong");
    std::fs::write(&wrong, "not-the-token").unwrap();
    let settings = JiraSettings { token_file: Some(wrong), ..desk.settings.clone() };
    let stranger = tracker(&settings, &desk.clock);
    let error = stranger.find(incident()).await.unwrap_err();
    assert!(matches!(error, TrackerError::Unauthorised { status: 401, .. }), "{error}");
    assert!(!error.is_transient());
    assert!(!format!("{stranger:?} {error:?}").contains("not-the-token"));
}

#[tokio::test]
async fn a_bearer_token_is_taken() {
    let Some(desk) = Desk::with(|settings| settings.auth = Auth::Bearer).await else { return };
    assert_eq!(desk.tracker.create(&new_ticket()).await.unwrap().key, "OPS-1");
}

#[tokio::test]
async fn a_refusal_carries_jiras_own_words() {
    let Some(desk) = Desk::with(|settings| settings.issue_type = "Chore".into()).await else {
        return;
    };
    let error = desk.tracker.create(&new_ticket()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "create ticket: refused (400): issuetype: Specify a valid issue type"
    );
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_project_without_priorities_gets_its_ticket_all_the_same() {
    let Some(desk) = Desk::open().await else { return };
    desk.jira.state().takes_priority = false;
    desk.tracker.create(&new_ticket()).await.unwrap();
    assert!(desk.jira.state().issues[0].fields.get("priority").is_none());
}

#[tokio::test]
async fn a_target_that_is_not_next_is_reached_on_the_way_with_its_resolution() {
    let Some(desk) = Desk::open().await else { return };
    desk.jira.state().workflow = Workflow::strict();
    desk.tracker.create(&new_ticket()).await.unwrap();
    let moved = desk.tracker.transition("OPS-1", TicketStatus::Resolved).await.unwrap();
    assert_eq!(moved.status, "Done");
    assert_eq!(desk.jira.count(&Method::POST, "/transitions"), 3);
    assert_eq!(desk.jira.state().issues[0].resolution.as_deref(), Some("Fixed"));
}

#[tokio::test]
async fn a_missing_transition_names_what_there_is() {
    let Some(desk) = Desk::open().await else { return };
    desk.jira.state().workflow = Workflow {
        statuses: vec![
            ("Open", "new"),
            ("Waiting for vendor", "indeterminate"),
            ("Won't Do", "done"),
        ],
        transitions: vec![("Open", "Waiting for vendor", false), ("Open", "Won't Do", false)],
    };
    desk.tracker.create(&new_ticket()).await.unwrap();
    let error = desk.tracker.transition("OPS-1", TicketStatus::Resolved).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "ticket OPS-1 cannot go from \"Open\" to \"Done\"; available: Waiting for vendor, Won't Do"
    );
    assert!(!error.is_transient());
    // The category stands in for a status that the project calls something else.
    let moved = desk.tracker.transition("OPS-1", TicketStatus::Resolving).await.unwrap();
    assert_eq!(moved.status, "Waiting for vendor");
}

#[tokio::test]
async fn a_lost_comment_answer_shows_in_what_is_recorded() {
    let Some(desk) = Desk::open().await else { return };
    desk.tracker.create(&new_ticket()).await.unwrap();
    desk.jira.fail_next(Method::POST, FaultKind::BreakAfter);
    desk.tracker.comment("OPS-1", &comment(5, "restarted")).await.unwrap_err();
    assert_eq!(desk.tracker.recorded_up_to("OPS-1", incident()).await.unwrap(), 5);
}

#[tokio::test]
async fn comments_of_people_do_not_hide_ours_and_forged_text_is_not_a_record() {
    let Some(desk) = Desk::open().await else { return };
    desk.tracker.create(&new_ticket()).await.unwrap();
    let forged = format!("Firebreak {}, timeline up to entry 999", incident());
    desk.tracker.comment("OPS-1", &comment(2, &forged)).await.unwrap();
    let person = json!({ "type": "doc", "version": 1, "content": [
        { "type": "paragraph", "content": [{ "type": "text", "text": "looking" }] }] });
    desk.jira.state().issues[0].comments.extend(std::iter::repeat_n(person, 150));
    assert_eq!(desk.tracker.recorded_up_to("OPS-1", incident()).await.unwrap(), 2);
}

#[tokio::test]
async fn hostile_text_stays_text_and_keeps_the_limits() {
    let Some(desk) = Desk::open().await else { return };
    let hostile = "{\"type\":\"mention\"}\0\u{1b}[2J\u{202e} {panel} \"quoted\" \\ \n";
    let ticket = NewTicket {
        title: format!("a\nb\0{}", "x".repeat(500)),
        description: Document::new()
            .paragraph([Span::link("run", "javascript:alert(1)")])
            .followed_by(Document::from_text(&hostile.repeat(1_000))),
        labels: vec!["a b\nc".into(), String::new(), "x".repeat(5_000)],
        ..new_ticket()
    };
    assert!(hostile.len() * 1_000 > 40_000);
    desk.tracker.create(&ticket).await.unwrap();
    desk.tracker.comment("OPS-1", &comment(1, &hostile.repeat(2_000))).await.unwrap();
    assert_eq!(desk.tracker.recorded_up_to("OPS-1", incident()).await.unwrap(), 1);
    let state = desk.jira.state();
    let description = state.issues[0].fields["description"].to_string();
    assert!(description.contains("shortened") && !description.contains("\"mention\""));
    assert!(!description.contains("\"href\""));
    assert!(state.issues[0].fields["summary"].as_str().unwrap().starts_with("a b"));
}

#[tokio::test]
async fn a_request_outside_the_official_document_is_a_breach() {
    let Some(jira) = FakeJira::start().await else { return };
    let client = reqwest::Client::new();
    let send = |method: Method, path: &str, body: Value| {
        let request = client.request(method, format!("{}/rest/api/3/{path}", jira.url));
        request.basic_auth(USER, Some(TOKEN)).json(&body).send()
    };
    let wrong = [
        (Method::POST, "issue", json!({ "fields": "text" })),
        (Method::POST, "issue", json!({ "feilds": {} })),
        (Method::POST, "issue/OPS-1/comment", json!({ "body": {}, "id": "7" })),
        (Method::POST, "issue/OPS-1/transitions", json!({ "transition": { "id": 7 } })),
        (Method::POST, "issue?notify=no", json!({ "fields": {} })),
        (Method::PATCH, "issue/OPS-1", json!({})),
        (Method::POST, "tickets", json!({})),
    ];
    for (method, path, body) in wrong {
        send(method.clone(), path, body.clone()).await.unwrap();
        assert_eq!(jira.take_violations().len(), 1, "{method} {path} {body}");
    }
    let anonymous = client.get(format!("{}/rest/api/3/issue/OPS-1", jira.url));
    anonymous.send().await.unwrap();
    assert_eq!(jira.take_violations(), ["GET /rest/api/3/issue/OPS-1: request: no credential"]);

    let contract = fake_jira::contract::Contract::read().unwrap();
    let create = contract.operation(&Method::POST, "/rest/api/3/issue").ok().unwrap();
    assert!(contract.check_answer(&create, 201, Some(&json!({ "key": "OPS-1" }))).is_ok());
    assert!(contract.check_answer(&create, 201, Some(&json!({ "key": 1 }))).is_err());
    assert!(contract.check_answer(&create, 201, Some(&json!({ "name": "x" }))).is_err());
    assert!(contract.check_answer(&create, 200, Some(&json!({}))).is_err());
}

#[tokio::test]
async fn two_incidents_at_once_get_a_ticket_each() {
    let Some(desk) = Desk::open().await else { return };
    let desk = Arc::new(desk);
    let other = "inc_00000000000000000000000000000008".parse().unwrap();
    let (one, two) = (new_ticket(), NewTicket { incident: other, ..new_ticket() });
    let (one, two) = tokio::join!(desk.tracker.create(&one), desk.tracker.create(&two));
    assert_ne!(one.unwrap().key, two.unwrap().key);
}
