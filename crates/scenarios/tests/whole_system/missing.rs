//! A part of the system is missing. Nothing is claimed that was not seen, and nothing is lost.

use incident::{EntryKind, OutcomeResult, TicketStatus};
use scenarios::{Program, Scenario, alert, fault, incident, secs, ticket};

#[tokio::test]
async fn without_a_fix_the_fault_and_its_alert_stay_and_the_incident_says_so() {
    let record = Scenario::new("without a fix the fault stays")
        .without(Program::ResolutionAgent)
        .ingress_settings("limits: { resolution_seconds: 12 }\n")
        .trigger("database_timeout", secs(120))
        .when(alert("DatabaseConnectionTimeout").is_firing().and(incident().is_in(&["planned"])))
        .stays(
            fault("database_timeout")
                .is_active()
                .and(alert("DatabaseConnectionTimeout").is_firing()),
            secs(20),
        )
        .expect(incident().needs_human())
        .expect(ticket().is(TicketStatus::NeedsHuman))
        .stays(fault("database_timeout").is_active(), secs(5))
        .run()
        .await;
    if let Some(record) = record {
        record.shows_effects(0);
        assert!(record.case().has(&EntryKind::HandedOver), "{record}");
    }
}

#[tokio::test]
async fn incident_closes_without_its_ticket_and_the_ticket_follows() {
    let record = Scenario::new("the ticket follows")
        .without(Program::TicketingAgent)
        .trigger("database_timeout", secs(600))
        .expect(incident().is_closed_with_proof())
        .start(Program::TicketingAgent)
        .expect(ticket().is(TicketStatus::Closed))
        .run()
        .await;
    if let Some(record) = record {
        record.shows_one_fix();
    }
}

#[tokio::test]
async fn without_metrics_after_the_fix_nothing_counts_as_proven() {
    let record = Scenario::new("no metrics after the fix")
        .trigger("database_timeout", secs(600))
        .when(incident().is_in(&["verifying"]))
        .kill(Program::Prometheus)
        .expect(incident().needs_human().within(secs(300)))
        .run()
        .await;
    if let Some(record) = record {
        let case = record.case();
        assert!(!case.has(&EntryKind::Verified), "{record}");
        let result = case.incident.outcome.as_ref().map(|outcome| outcome.result);
        let is_honest = matches!(result, Some(OutcomeResult::Undone | OutcomeResult::UndoFailed));
        assert!(is_honest, "{result:?}\n{record}");
    }
}
