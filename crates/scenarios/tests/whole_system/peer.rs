//! An agent that others wrote, with the official Python SDK, in the diagnostic role: all that ingress
//! is told of it is its URL.

use incident::EntryKind;
use scenarios::{Program, Setup, World, fault, incident, secs};

use crate::strangers::{python, script};

#[tokio::test]
async fn an_agent_of_the_python_sdk_diagnoses_and_the_incident_closes_with_proof() {
    let Some(python) = python() else { return };
    let stranger =
        [python, script("python/diagnostic_agent.py")].map(|path| path.display().to_string());
    let setup = Setup {
        stand_ins: [(Program::DiagnosticAgent, stranger.to_vec())].into(),
        ..Setup::default()
    };
    let Some(mut world) = World::start(&setup).await.unwrap() else { return };
    world.trigger("database_timeout", secs(600)).await.unwrap();
    let closed =
        incident().is_closed_with_proof().and(fault("database_timeout").ended_by("repaired"));
    if let Err(error) = world.wait_for(&closed).await {
        panic!("{error:#}\n{}", world.account());
    }
    let seen = world.look().await;
    let case = seen.only_case().unwrap();
    let diagnosed: Vec<_> =
        case.timeline.iter().filter(|entry| entry.kind == EntryKind::Diagnosed).collect();
    assert_eq!(diagnosed.len(), 1, "{case:?}");
    assert!(diagnosed[0].summary.starts_with("a stranger looked at db-server-01"), "{case:?}");
    let diagnosis = case.incident.diagnosis.as_ref().unwrap();
    assert_eq!(diagnosis.cause.as_deref(), Some("db.connection_pool_exhausted"));
    assert_eq!(diagnosis.evidence.len(), 2, "{diagnosis:?}");
}
