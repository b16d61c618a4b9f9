//! Alerts, incidents and what agents say to one another about them. Pure: an event and the time go
//! in, effects come out; no socket, file, clock or chance.

mod alert;
mod confidence;
mod correlation;
mod diagnosis;
mod exchange;
pub mod gates;
mod ids;
mod incident;
mod machine;
mod outcome;
mod plan;
pub mod schema;
mod ticket;
mod timeline;
pub mod verification;

pub use alert::{Alert, AlertStatus, Severity};
pub use confidence::{Confidence, ConfidenceError};
pub use correlation::IncidentKey;
pub use diagnosis::{Alternative, Diagnosis, Evidence, MissingEvidence};
pub use exchange::{Brief, EXTENSION_URI, IncidentSummary, Payload, PayloadError, whole_numbers};
pub use ids::{AttemptId, IdError, IncidentId, PlanId};
pub use incident::{
    ALERTS_KEPT, HandOff, Incident, NeedsHuman, NextStep, Opening, OtherAlerts, Phase, ResolvedBy,
    STORM_ALERTS_KEPT, TrackedAlert,
};
pub use machine::{Effect, Event, FLAP_CHANGES_MOST, Limits, TransitionError};
pub use outcome::{CheckReport, Outcome, OutcomeResult, StepReport};
pub use plan::{
    Baseline, Check, CheckRole, Comparison, EffectClass, GateVerdict, Mode, Plan, PlannedStep, Undo,
};
pub use ticket::{TicketComment, TicketRef, TicketStatus, TicketUpdate};
pub use timeline::{EntryKind, TimelineEntry};
