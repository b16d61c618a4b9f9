//! The plain path: a fault becomes a closed incident with nobody involved.

use incident::TicketStatus;
use scenarios::{
    Scenario, fault, incident, incidents_closed_with_proof, secs, ticket, tickets_are,
};

#[tokio::test]
async fn separate_processes_close_a_database_fault_with_proof() {
    let record = Scenario::new("eight separate processes close a database fault with proof")
        .trigger("database_timeout", secs(600))
        .expect(incident().is_closed_with_proof())
        .expect(fault("database_timeout").ended_by("repaired"))
        .expect(ticket().is(TicketStatus::Closed))
        .run()
        .await;
    if let Some(record) = record {
        record.shows_one_fix();
    }
}

#[tokio::test]
async fn two_faults_at_once_are_two_incidents_and_each_gets_its_own_repair() {
    let record = Scenario::new("two faults at once")
        .trigger("disk_full", secs(600))
        .trigger("memory_leak", secs(600))
        .expect(incidents_closed_with_proof(2))
        .expect(fault("disk_full").ended_by("repaired"))
        .expect(fault("memory_leak").ended_by("repaired"))
        .expect(tickets_are(2, TicketStatus::Closed))
        .run()
        .await;
    if let Some(record) = record {
        let mut targets: Vec<_> = record.changes.iter().map(|row| &row.change.target).collect();
        targets.sort();
        assert_eq!(targets, ["app-server-01", "db-server-01"], "{record}");
    }
}
