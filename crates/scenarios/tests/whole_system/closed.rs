//! The plain path: a fault becomes a closed incident with nobody involved.

use incident::TicketStatus;
use scenarios::{Scenario, fault, incident, secs, ticket};

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
