//! The agent over a real socket, as its callers use it: A2A in, tickets out.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[expect(dead_code, reason = "tests/jira.rs uses the rest")]
mod fake_jira;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use a2a_types::{Message, Part, Role, Task, TaskState};
use fake_jira::{FakeJira, FaultKind, TOKEN, USER};
use http::Method;
use incident::{
    IncidentId, Payload, Severity, TicketComment, TicketRef, TicketStatus, TicketUpdate,
};
use rpc::a2a::{Client, ClientOptions, MemoryTaskStore, Send, TRANSIENT_KEY};
use serde_json::json;
use service::Process;
use store::{MemoryDatabase, OpenOptions};
use ticketing_agent::{ARTIFACT, Config, FileSettings, JiraSettings, SKILL, TrackerKind};

struct Agent {
    client: Client,
    process: Process,
}

impl Agent {
    async fn start(config: Config) -> Self {
        // The card names the address, so it is chosen before the agent starts.
        let config = Config { listen: service::own_loopback_address(), ..config };
        let process = Process::new("ticketing-agent");
        let running = ticketing_agent::start(config, process.clone()).await.unwrap();
        let base = format!("http://{}", running.address).parse().unwrap();
        Self { client: Client::new(base, ClientOptions::default()).unwrap(), process }
    }

    /// One of several replicas of the agent, on one database.
    async fn replica(config: Config, database: &MemoryDatabase, name: &str) -> Self {
        let config = Config { listen: service::own_loopback_address(), ..config };
        let process = Process::new("ticketing-agent");
        let this = (String::new(), 0, 0);
        let lease = Duration::from_secs(3600);
        let time = process.time_source();
        let options = OpenOptions::of_process(name.into(), this, |_, _, _| false, lease, time);
        let store = database.open(ticketing_agent::NAME, options);
        let tasks = Arc::new(MemoryTaskStore::default());
        let running =
            ticketing_agent::start_with(config, process.clone(), store, tasks).await.unwrap();
        let base = format!("http://{}", running.address).parse().unwrap();
        Self { client: Client::new(base, ClientOptions::default()).unwrap(), process }
    }

    /// Repeats an update as its caller does, until it is done.
    async fn repeat(&self, update: &TicketUpdate) -> TicketRef {
        loop {
            let task = self.update(update).await;
            if task.status.state == TaskState::Completed {
                return ticket_of(&task);
            }
            assert_eq!(task.metadata.get(TRANSIENT_KEY), Some(&json!(true)), "{task:?}");
        }
    }

    async fn stop(self) {
        self.process.shut_down(Duration::from_secs(10)).await.unwrap();
    }

    async fn send(&self, parts: Vec<Part>) -> Task {
        let message = Message::new(self.process.new_id().to_string(), Role::User, parts);
        let wait = Some(Duration::from_secs(120));
        self.client
            .send(Send { message, idempotency_key: None, wait })
            .await
            .unwrap()
            .into_task()
            .unwrap()
    }

    async fn say(&self, text: &str) -> String {
        let task = self.send(vec![Part::text(text)]).await;
        assert_eq!(task.status.state, TaskState::Completed, "{}", task.status_text());
        task.status_text()
    }

    async fn update(&self, update: &TicketUpdate) -> Task {
        self.send(vec![rpc::part(&Payload::TicketUpdate(update.clone()))]).await
    }

    async fn ticket(&self, update: &TicketUpdate) -> TicketRef {
        ticket_of(&self.update(update).await)
    }
}

fn ticket_of(task: &Task) -> TicketRef {
    assert_eq!(task.status.state, TaskState::Completed, "{}", task.status_text());
    let payloads = rpc::payloads(&task.artifact(ARTIFACT).unwrap().parts).unwrap();
    match payloads.into_iter().next() {
        Some(Payload::Ticket(ticket)) => ticket,
        other => panic!("not a ticket: {other:?}"),
    }
}

fn files(directory: &Path) -> Config {
    Config {
        database: directory.join("agent.db").display().to_string(),
        file: FileSettings { directory: directory.join("tickets") },
        ..Config::default()
    }
}

fn jira(directory: &Path, fake: &FakeJira) -> Config {
    let token_file: PathBuf = directory.join("token");
    std::fs::write(&token_file, TOKEN).unwrap();
    let jira = JiraSettings {
        url: Some(fake.url.parse().unwrap()),
        project: "OPS".into(),
        user: USER.into(),
        token_file: Some(token_file),
        settle_seconds: 0,
        ..JiraSettings::default()
    };
    Config { tracker: TrackerKind::Jira, jira, ..files(directory) }
}

fn incident() -> IncidentId {
    "inc_00000000000000000000000000000007".parse().unwrap()
}

/// An update with comments 1 to `comments`.
fn update(status: TicketStatus, comments: u64) -> TicketUpdate {
    let comment = |sequence| TicketComment {
        sequence,
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
        text: format!("entry {sequence};"),
    };
    TicketUpdate {
        incident_id: incident(),
        title: "Database connections time out".into(),
        description: "db-server-01 has no free connection".into(),
        severity: Severity::Critical,
        status,
        labels: vec!["db-server-01".into()],
        comments: (1..=comments).map(comment).collect(),
    }
}

fn page(directory: &Path, key: &str) -> String {
    std::fs::read_to_string(directory.join("tickets").join(format!("{key}.md"))).unwrap()
}

#[tokio::test]
async fn the_card_names_the_skill_and_an_absolute_address() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(files(directory.path())).await;
    let card = agent.client.card().await.unwrap();
    assert_eq!(card.skills[0].id, SKILL);
    assert!(card.supported_interfaces[0].url.starts_with("http://127."));
    assert_eq!(card.capabilities.extensions[0].uri, incident::EXTENSION_URI);
    agent.stop().await;
}

#[tokio::test]
async fn a_ticket_follows_its_incident_and_a_repeated_update_adds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(files(directory.path())).await;
    let first = agent.ticket(&update(TicketStatus::Investigating, 1)).await;
    assert_eq!((first.key.as_str(), first.status.as_str()), ("FB-1", "In Progress"));
    let resolving = agent.ticket(&update(TicketStatus::Resolving, 3)).await;
    assert_eq!(resolving.sequence, 3);
    let before = page(directory.path(), "FB-1");
    assert_eq!(agent.ticket(&update(TicketStatus::Resolving, 3)).await, resolving);
    assert_eq!(page(directory.path(), "FB-1"), before);
    for entry in ["entry 1;", "entry 2;", "entry 3;"] {
        assert_eq!(before.matches(entry).count(), 1, "{before}");
    }
    agent.stop().await;
}

#[tokio::test]
async fn an_update_that_comes_late_does_not_turn_the_ticket_back() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(files(directory.path())).await;
    agent.ticket(&update(TicketStatus::Closed, 5)).await;
    let late = agent.ticket(&update(TicketStatus::Resolving, 4)).await;
    assert_eq!((late.status.as_str(), late.sequence), ("Done", 5));
    agent.stop().await;
}

#[tokio::test]
async fn the_same_ticket_goes_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(files(directory.path())).await;
    agent.ticket(&update(TicketStatus::Investigating, 2)).await;
    agent.stop().await;
    let agent = Agent::start(files(directory.path())).await;
    let ticket = agent.ticket(&update(TicketStatus::Closed, 3)).await;
    assert_eq!((ticket.key.as_str(), ticket.status.as_str()), ("FB-1", "Done"));
    assert_eq!(page(directory.path(), "FB-1").matches("entry 2;").count(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_ticket_that_is_gone_is_made_again_with_all_its_comments() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(files(directory.path())).await;
    agent.ticket(&update(TicketStatus::Investigating, 2)).await;
    agent.stop().await;
    std::fs::remove_dir_all(directory.path().join("tickets")).unwrap();
    let agent = Agent::start(files(directory.path())).await;
    let ticket = agent.ticket(&update(TicketStatus::Resolving, 3)).await;
    assert_eq!(ticket.status, "In Progress");
    let page = page(directory.path(), &ticket.key);
    assert!(page.contains("entry 1;") && page.contains("entry 3;"), "{page}");
    agent.stop().await;
}

#[tokio::test]
async fn updates_at_once_make_one_ticket_and_each_comment_once() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(files(directory.path())).await;
    let updates: Vec<TicketUpdate> =
        (1..=10).map(|count| update(TicketStatus::Resolving, count)).collect();
    let tickets = futures::future::join_all(updates.iter().map(|one| agent.ticket(one))).await;
    assert!(tickets.iter().all(|ticket| ticket.key == "FB-1"));
    let page = page(directory.path(), "FB-1");
    for sequence in 1..=10 {
        assert_eq!(page.matches(&format!("entry {sequence};")).count(), 1, "{page}");
    }
    agent.stop().await;
}

#[tokio::test]
async fn plain_text_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(files(directory.path())).await;
    assert!(agent.say("hello").await.contains("TicketUpdate"));
    let question = format!("Where is the ticket of {}?", incident());
    assert!(agent.say(&question).await.contains("has no ticket"));
    agent.ticket(&update(TicketStatus::NeedsHuman, 0)).await;
    assert!(agent.say(&question).await.starts_with("FB-1 is \"To Do\": Database"));
    let by_key = agent.say("and FB-1?").await;
    assert!(!by_key.contains("Database"), "a key is not a way to read the tracker: {by_key}");
    agent.stop().await;
}

#[tokio::test]
async fn a_part_that_does_not_fit_is_rejected_by_its_field() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(files(directory.path())).await;
    let bad = json!({ "type": "TicketUpdate", "incident_id": "inc_x" });
    let task = agent.send(vec![Part::data(bad)]).await;
    assert_eq!(task.status.state, TaskState::Rejected);
    let text = task.status_text();
    assert!(text.contains("parts[0].data") && text.contains("inc_x"), "{text}");
    let one = rpc::part(&Payload::TicketUpdate(update(TicketStatus::Closed, 0)));
    let task = agent.send(vec![one.clone(), one]).await;
    assert_eq!(task.status.state, TaskState::Rejected);
    // The next good request works.
    agent.ticket(&update(TicketStatus::Investigating, 0)).await;
    agent.stop().await;
}

#[tokio::test]
async fn an_incident_is_told_in_jira_from_start_to_end() {
    let Some(fake) = FakeJira::start().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(jira(directory.path(), &fake)).await;
    let steps = [
        (TicketStatus::Investigating, 1, "In Progress"),
        (TicketStatus::Identified, 2, "To Do"),
        (TicketStatus::Resolving, 4, "In Progress"),
        (TicketStatus::Resolved, 6, "Done"),
        (TicketStatus::Closed, 7, "Done"),
    ];
    for (status, comments, name) in steps {
        let ticket = agent.ticket(&update(status, comments)).await;
        assert_eq!((ticket.key.as_str(), ticket.status.as_str()), ("OPS-1", name));
    }
    let told: String =
        fake.state().issues[0].comments.iter().map(|body| body.to_string()).collect();
    for sequence in 1..=7 {
        assert_eq!(told.matches(&format!("entry {sequence};")).count(), 1, "{told}");
    }
    agent.stop().await;
}

#[tokio::test]
async fn jira_down_fails_the_task_as_transient_and_the_repeat_loses_and_doubles_nothing() {
    let Some(fake) = FakeJira::start().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(jira(directory.path(), &fake)).await;
    let (created, told) =
        (update(TicketStatus::Investigating, 0), update(TicketStatus::Resolving, 3));
    let faults = [
        (&created, FaultKind::Answer { status: 503, retry_after: None }),
        (&created, FaultKind::BreakAfter),
        (&told, FaultKind::Answer { status: 500, retry_after: None }),
        (&told, FaultKind::BreakAfter),
    ];
    for (update, fault) in faults {
        fake.fail_next(Method::POST, fault);
        let task = agent.update(update).await;
        assert_eq!(task.status.state, TaskState::Failed);
        assert_eq!(task.metadata.get(TRANSIENT_KEY), Some(&json!(true)), "{}", task.status_text());
    }
    let ticket = agent.ticket(&told).await;
    assert_eq!((ticket.key.as_str(), ticket.status.as_str()), ("OPS-1", "In Progress"));
    assert_eq!(fake.state().issues.len(), 1);
    assert_eq!(fake.state().issues[0].comments.len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn whatever_is_lost_on_the_way_there_is_one_ticket_and_each_comment_once() {
    for after in [
        || FaultKind::AnswerAfter { status: 500 },
        || FaultKind::AnswerAfter { status: 502 },
        || FaultKind::BreakAfter,
        || FaultKind::HangAfter,
        || FaultKind::Answer { status: 429, retry_after: Some(1) },
        || FaultKind::Answer { status: 503, retry_after: None },
    ] {
        let Some(fake) = FakeJira::start().await else { return };
        let directory = tempfile::tempdir().unwrap();
        let mut config = jira(directory.path(), &fake);
        config.jira.deadline_seconds = 1;
        let agent = Agent::start(config).await;
        for (comments, faults) in [(0, 1), (2, 2), (3, 1)] {
            for _ in 0..faults {
                fake.fail_next(Method::POST, after());
            }
            agent.repeat(&update(TicketStatus::Investigating, comments)).await;
        }
        {
            let state = fake.state();
            assert_eq!(state.issues.len(), 1);
            let told: String =
                state.issues[0].comments.iter().map(|body| body.to_string()).collect();
            for sequence in 1..=3 {
                assert_eq!(told.matches(&format!("entry {sequence};")).count(), 1, "{told}");
            }
        }
        agent.stop().await;
    }
}

#[tokio::test]
async fn two_replicas_at_once_make_one_ticket_and_each_comment_once() {
    let Some(fake) = FakeJira::start().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let database = MemoryDatabase::new();
    let config = jira(directory.path(), &fake);
    let one = Agent::replica(config.clone(), &database, "one").await;
    let other = Agent::replica(config, &database, "other").await;
    let updates: Vec<TicketUpdate> =
        (1..=6).map(|count| update(TicketStatus::Resolving, count)).collect();
    let asked = updates.iter().flat_map(|update| [one.repeat(update), other.repeat(update)]);
    let tickets = futures::future::join_all(asked).await;
    assert!(tickets.iter().all(|ticket| ticket.key == "OPS-1"), "{tickets:?}");
    {
        let state = fake.state();
        assert_eq!(state.issues.len(), 1);
        let told: String = state.issues[0].comments.iter().map(|body| body.to_string()).collect();
        for sequence in 1..=6 {
            assert_eq!(told.matches(&format!("entry {sequence};")).count(), 1, "{told}");
        }
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn another_replica_waits_for_the_create_of_one_that_is_gone() {
    let Some(fake) = FakeJira::start().await else { return };
    fake.state().search_lags = true;
    fake.fail_next(Method::POST, FaultKind::HangAfter);
    let directory = tempfile::tempdir().unwrap();
    let database = MemoryDatabase::new();
    let mut config = jira(directory.path(), &fake);
    config.jira.settle_seconds = 600;
    config.jira.deadline_seconds = 1;
    let gone = Agent::replica(config.clone(), &database, "gone").await;
    let told = update(TicketStatus::Investigating, 1);
    let lost = gone.update(&told).await;
    assert_eq!(lost.metadata.get(TRANSIENT_KEY), Some(&json!(true)), "{}", lost.status_text());
    gone.stop().await;
    let other = Agent::replica(config, &database, "other").await;
    let waiting = other.update(&told).await;
    assert!(waiting.status_text().contains("may exist"), "{}", waiting.status_text());
    fake.state().search_lags = false;
    assert_eq!(other.ticket(&told).await.key, "OPS-1");
    assert_eq!(fake.state().issues.len(), 1);
    other.stop().await;
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_create_makes_no_second_ticket() {
    let Some(fake) = FakeJira::start().await else { return };
    fake.state().search_lags = true;
    fake.fail_next(Method::POST, FaultKind::HangAfter);
    let directory = tempfile::tempdir().unwrap();
    let mut config = jira(directory.path(), &fake);
    config.jira.settle_seconds = 600;
    let agent = Agent::start(config.clone()).await;
    let told = update(TicketStatus::Investigating, 1);
    let part = rpc::part(&Payload::TicketUpdate(told.clone()));
    let message = Message::new("m1", Role::User, vec![part]);
    let send = Send { message, idempotency_key: None, wait: None };
    let task = agent.client.send(send).await.unwrap().into_task().unwrap();
    while fake.count(&Method::POST, "/issue") == 0 {
        tokio::task::yield_now().await;
    }
    agent.stop().await;

    let agent = Agent::start(config).await;
    let mut resumed = agent.client.task(&task.id).await.unwrap();
    while !resumed.status.state.is_terminal() {
        resumed = agent.client.task(&task.id).await.unwrap();
    }
    assert_eq!(resumed.metadata.get(TRANSIENT_KEY), Some(&json!(true)));
    let waiting = agent.update(&told).await;
    assert!(waiting.status_text().contains("may exist"), "{}", waiting.status_text());
    fake.state().search_lags = false;
    assert_eq!(agent.ticket(&told).await.key, "OPS-1");
    assert_eq!(fake.state().issues.len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_workflow_without_a_way_leaves_the_ticket_and_says_so() {
    let Some(fake) = FakeJira::start().await else { return };
    fake.state().workflow = fake_jira::Workflow {
        statuses: vec![("Open", "new"), ("Won't Do", "done")],
        transitions: vec![("Open", "Won't Do", false)],
    };
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(jira(directory.path(), &fake)).await;
    let task = agent.update(&update(TicketStatus::Resolved, 1)).await;
    assert_eq!(ticket_of(&task).status, "Open");
    assert!(task.status_text().contains("available: Won't Do"), "{}", task.status_text());
    agent.stop().await;
}

#[tokio::test]
async fn a_wrong_credential_fails_the_task_for_good_and_says_what_to_check() {
    let Some(fake) = FakeJira::start().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let config = jira(directory.path(), &fake);
    std::fs::write(directory.path().join("token"), "wrong-token").unwrap();
    let agent = Agent::start(config).await;
    let task = agent.update(&update(TicketStatus::Investigating, 1)).await;
    assert_eq!(task.status.state, TaskState::Failed);
    assert!(!task.metadata.contains_key(TRANSIENT_KEY));
    let text = task.status_text();
    assert!(text.contains("token file") && !text.contains("wrong-token"), "{text}");
    agent.stop().await;
}
