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
async fn full_disk_and_leak_at_once_each_get_their_own_repair() {
    both_close(["disk_full", "memory_leak"], ["app-server-01", "db-server-01"]).await;
}

#[tokio::test]
async fn runaway_job_and_lost_replicas_at_once_each_get_their_own_repair() {
    both_close(["high_cpu", "api_503"], ["api-gateway-01", "app-server-01"]).await;
}

/// Two faults at the same time are two incidents; each ends by one change of its own server.
async fn both_close(faults: [&'static str; 2], targets: [&str; 2]) {
    let [one, other] = faults;
    let record = Scenario::new("two faults at once")
        .trigger(one, secs(600))
        .trigger(other, secs(600))
        .expect(incidents_closed_with_proof(2))
        .expect(fault(one).ended_by("repaired").and(fault(other).ended_by("repaired")))
        .expect(tickets_are(2, TicketStatus::Closed))
        .run()
        .await;
    if let Some(record) = record {
        let mut changed: Vec<_> = record.changes.iter().map(|row| &row.change.target).collect();
        changed.sort();
        assert_eq!(changed, targets, "{record}");
    }
}
