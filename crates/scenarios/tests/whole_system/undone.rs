//! Faults whose obvious fix is wrong. It is seen not to work, taken back, and a person is asked.

use incident::{EntryKind, OutcomeResult, TicketStatus};
use scenarios::{Record, Scenario, fault, incident, secs, ticket};

#[tokio::test]
async fn fix_that_fails_is_undone_and_handed_over() {
    let record = Scenario::new("a fix that fails")
        .trigger("fix_that_fails", secs(600))
        .expect(incident().needs_human())
        .expect(ticket().is(TicketStatus::NeedsHuman))
        .expect(fault("fix_that_fails").is_active())
        .run()
        .await;
    if let Some(record) = record {
        shows_a_verified_undo(&record);
    }
}

#[tokio::test]
async fn fix_that_hurts_a_neighbour_is_undone_and_handed_over() {
    let record = Scenario::new("a fix that hurts")
        .trigger("fix_that_hurts", secs(600))
        .expect(incident().needs_human())
        .expect(ticket().is(TicketStatus::NeedsHuman))
        .expect(fault("fix_that_hurts").is_active())
        .run()
        .await;
    if let Some(record) = record {
        shows_a_verified_undo(&record);
    }
}

fn shows_a_verified_undo(record: &Record) {
    let case = record.case();
    let outcome = case.incident.outcome.as_ref().expect("it was concluded");
    assert_eq!(outcome.result, OutcomeResult::Undone, "{record}");
    assert!(!outcome.undo_checks.is_empty(), "{record}");
    assert!(outcome.undo_checks.iter().all(|check| check.passed), "{record}");
    assert!(case.has(&EntryKind::RolledBack) && !case.has(&EntryKind::Verified), "{record}");
    // The repair and its undo, and nothing else.
    let actions: Vec<_> = record.changes.iter().map(|row| row.change.action.as_str()).collect();
    assert_eq!(actions, ["run_playbook", "rollback"], "{record}");
    assert_eq!(record.tickets.len(), 1, "{record}");
}
