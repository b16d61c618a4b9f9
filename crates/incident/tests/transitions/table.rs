//! Every transition: the phases it starts from, what happens, the phase it leads to. Where one event
//! leads to two phases, the incident's alerts, round or reports decide.

const RESOLVING: &[&str] =
    &["planned", "awaiting_approval", "remediating", "verifying", "rolling_back"];
const BEFORE_ACTING: &[&str] = &["diagnosing", "planned", "awaiting_approval"];

pub(crate) const TABLE: &[(&[&str], &str, &str)] = &[
    // Alerts.
    (&["open", "resolved", "closed"], "an alert fires", "diagnosing"),
    (&["resolved", "closed"], "an alert fires", "needs_human"),
    (&["closed"], "an alert is repeated", "diagnosing"),
    (&["closed"], "an alert is repeated", "needs_human"),
    (&["open", "diagnosing"], "the last alert ends", "resolved"),
    (&["planned", "awaiting_approval"], "the last alert ends", "resolved"),
    (&["resolved"], "the last alert ends", "closed"),
    // Alerts that are only counted.
    (&["open", "resolved", "closed", "suppressed"], "other alerts fire", "diagnosing"),
    (&["resolved", "closed", "suppressed"], "other alerts fire", "needs_human"),
    (&["closed"], "other alerts are repeated", "diagnosing"),
    (&["closed"], "other alerts are repeated", "needs_human"),
    (&["open"], "other alerts fire and end", "resolved"),
    (BEFORE_ACTING, "other alerts end", "resolved"),
    (&["resolved"], "other alerts end", "closed"),
    // Silences.
    (BEFORE_ACTING, "one alert is silenced", "suppressed"),
    (BEFORE_ACTING, "the alerts are silenced", "suppressed"),
    (BEFORE_ACTING, "an alert ends", "suppressed"),
    (BEFORE_ACTING, "other alerts end", "suppressed"),
    (&["suppressed"], "an alert fires", "diagnosing"),
    (&["suppressed"], "an alert fires", "needs_human"),
    (&["suppressed"], "an alert is repeated", "diagnosing"),
    (&["suppressed"], "an alert is repeated", "needs_human"),
    // Flapping that has ended, with the alert resolved.
    (BEFORE_ACTING, "what flapped is quiet", "resolved"),
    (&["resolved"], "what flapped is quiet", "closed"),
    // What flapped was the last that was heard.
    (BEFORE_ACTING, "what flapped is quiet", "suppressed"),
    // A storm.
    (&["open"], "storm_began", "needs_human"),
    (&["needs_human"], "the last alert ends", "resolved"),
    (&["needs_human"], "other alerts end", "resolved"),
    (&["needs_human"], "other alerts fire and end", "resolved"),
    (&["needs_human"], "what flapped is quiet", "resolved"),
    // The diagnosis.
    (&["diagnosing"], "diagnosis_ready with a cause", "planned"),
    // Where the source may be anybody.
    (&["diagnosing"], "diagnosis_ready with a cause", "needs_human"),
    (&["diagnosing"], "diagnosis_ready without a cause", "needs_human"),
    (&["diagnosing"], "agent_failed", "needs_human"),
    // The resolution.
    (&["planned"], "approval_asked", "awaiting_approval"),
    (&["awaiting_approval"], "progressed: approved", "planned"),
    (&["planned", "awaiting_approval", "verifying"], "progressed: step_started", "remediating"),
    (
        &["planned", "awaiting_approval", "remediating"],
        "progressed: verification_started",
        "verifying",
    ),
    (
        &["planned", "awaiting_approval", "remediating", "verifying"],
        "progressed: rollback_started",
        "rolling_back",
    ),
    (RESOLVING, "concluded: proven", "resolved"),
    (&["remediating", "verifying", "rolling_back"], "concluded: proven", "closed"),
    (RESOLVING, "concluded: undone", "needs_human"),
    (RESOLVING, "concluded: undo_failed", "needs_human"),
    (RESOLVING, "concluded: refused", "needs_human"),
    (RESOLVING, "concluded: no_runbook", "needs_human"),
    (RESOLVING, "concluded: recommended", "needs_human"),
    (RESOLVING, "concluded: step_failed", "needs_human"),
    (RESOLVING, "concluded: cancelled", "needs_human"),
    (RESOLVING, "agent_failed", "needs_human"),
    // A resolution that was left behind as the alerts were gone.
    (&["resolved"], "concluded: proven", "closed"),
    (&["resolved"], "concluded: step_failed", "needs_human"),
    (&["resolved"], "concluded: undo_failed", "needs_human"),
    // Time.
    (&["open", "diagnosing"], "deadline_reached", "needs_human"),
    (RESOLVING, "deadline_reached", "needs_human"),
    (&["resolved"], "deadline_reached", "closed"),
    (&["resolved"], "deadline_reached", "needs_human"),
    // A person.
    (&["open", "diagnosing", "resolved", "needs_human"], "closed_by_person", "closed"),
    (RESOLVING, "closed_by_person", "closed"),
];
