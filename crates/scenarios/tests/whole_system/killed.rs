//! `kill -9` at the worst moments. Whatever dies comes back to the same incident, and nothing is
//! done twice.

use incident::{EntryKind, Phase, TicketStatus};
use scenarios::{Program, Record, Scenario, incident, playbook, secs, ticket};

#[tokio::test]
async fn ingress_killed_in_three_phases_goes_on_with_the_same_incident() {
    let record = Scenario::new("ingress killed in three phases")
        // Frozen agents hold the incident in the phase in which ingress is to die.
        .pause(Program::DiagnosticAgent)
        .pause(Program::ResolutionAgent)
        .trigger("database_timeout", secs(600))
        .when(incident().is_in(&["diagnosing"]))
        .restart_killed(Program::Ingress)
        .resume(Program::DiagnosticAgent)
        .when(incident().is_in(&["planned"]))
        .restart_killed(Program::Ingress)
        .resume(Program::ResolutionAgent)
        .when(incident().is_in(&["remediating", "verifying"]))
        .restart_killed(Program::Ingress)
        .expect(incident().is_closed_with_proof())
        .expect(ticket().is(TicketStatus::Closed))
        .run()
        .await;
    if let Some(record) = record {
        record.shows_one_fix();
    }
}

#[tokio::test]
async fn resolution_agent_killed_in_a_step_does_nothing_twice() {
    let record = Scenario::new("resolution-agent killed in a step")
        .trigger("database_timeout", secs(600))
        .when(incident().has(EntryKind::StepStarted).and(playbook().is_running()))
        .restart_killed(Program::ResolutionAgent)
        .expect(incident().is_closed_with_proof_or_needs_human())
        .run()
        .await;
    if let Some(record) = record {
        shows_an_honest_end(&record);
    }
}

#[tokio::test]
async fn deployment_system_killed_as_a_playbook_begins_does_nothing_twice() {
    let record = Scenario::new("deployment-system killed as a playbook begins")
        .trigger("database_timeout", secs(600))
        .when(playbook().is_running())
        .restart_killed(Program::DeploymentSystem)
        .expect(incident().is_closed_with_proof_or_needs_human())
        .run()
        .await;
    if let Some(record) = record {
        shows_an_honest_end(&record);
    }
}

#[tokio::test]
async fn deployment_system_killed_after_a_playbook_took_effect_does_nothing_twice() {
    let record = Scenario::new("deployment-system killed after a playbook took effect")
        .trigger("database_timeout", secs(600))
        .when(playbook().is_running().and(playbook().has_taken_effect()))
        .restart_killed(Program::DeploymentSystem)
        .expect(incident().is_closed_with_proof_or_needs_human())
        .run()
        .await;
    if let Some(record) = record {
        shows_an_honest_end(&record);
        let case = record.case();
        let is_closed = matches!(case.incident.phase, Phase::Closed { .. });
        assert!(is_closed || case.has(&EntryKind::RolledBack), "{record}");
    }
}

#[tokio::test]
async fn power_failure_in_mid_playbook_does_nothing_twice() {
    let record = Scenario::new("power failure in mid playbook")
        .trigger("database_timeout", secs(600))
        .when(playbook().is_running().and(playbook().has_taken_effect()))
        .power_failure()
        .expect(incident().is_closed_with_proof_or_needs_human())
        .run()
        .await;
    if let Some(record) = record {
        shows_an_honest_end(&record);
    }
}

#[tokio::test]
async fn power_failure_before_the_proof_proves_it_afterwards() {
    let record = Scenario::new("power failure before the proof")
        .trigger("database_timeout", secs(600))
        .when(incident().is_in(&["verifying"]))
        .power_failure()
        .expect(incident().is_closed_with_proof())
        .expect(ticket().is(TicketStatus::Closed))
        .run()
        .await;
    if let Some(record) = record {
        record.shows_one_fix();
    }
}

/// Closed with proof, or handed over with at most the fix and its undo. A fix that was cut off may be
/// made a second time once it has ended for certain; never beside another, and never a third time.
fn shows_an_honest_end(record: &Record) {
    let case = record.case();
    let fixes = record.changes.iter().filter(|row| row.change.action == "run_playbook").count();
    record.shows_one_change_at_a_time();
    assert!(fixes <= 2, "{record}");
    match &case.incident.phase {
        Phase::Closed { .. } => assert!(record.database_restarts >= 1, "{record}"),
        phase => {
            assert!(matches!(phase, Phase::NeedsHuman { .. }), "{record}");
            assert!(!case.has(&EntryKind::Verified), "{record}");
        }
    }
}
