//! The way back: steps are undone in reverse order, and the undo is verified like an act. What
//! cannot be undone, or not shown to be, closes the target until a person has looked at it.

use a2a_types::mcp::deployment::Change;
use incident::{CheckReport, EffectClass, EntryKind, OutcomeResult, Plan, Undo};
use jiff::Timestamp;
use rpc::a2a::AgentError;
use serde_json::{Value, json};
use store::AttemptRow;

use super::act::ATTEMPTS;
use super::step::End;
use super::{Account, ActKind, Resolution, Taken, body};

/// Why the act is undone.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    /// A step failed.
    Step(String),
    /// The checks did not hold.
    Checks(String),
}

impl Cause {
    fn why(&self) -> &str {
        match self {
            Self::Step(why) | Self::Checks(why) => why,
        }
    }
}

/// What the undo did.
#[derive(Debug, Default)]
struct Undoing {
    /// Changes that were carried out in reverse.
    count: usize,
    /// Steps that cannot be undone, as their runbook says.
    irreversible: Vec<String>,
    failure: Option<String>,
    end: Option<Timestamp>,
}

impl Resolution {
    pub(super) async fn undo(
        &mut self,
        plan: &Plan,
        taken: Vec<Taken>,
        rows: &[AttemptRow],
        mut account: Account,
        cause: Cause,
    ) -> Result<(), AgentError> {
        let changes: Vec<_> =
            taken.iter().filter_map(|taken| taken.report.change_id.clone()).collect();
        let detail = json!({"why": cause.why(), "changes": changes});
        let summary = format!("undoing {} on {}", plan.runbook, plan.target);
        let began = self.resolver.process.now();
        self.journal.note_once(EntryKind::RollbackStarted, summary, detail).await?;
        let mut undoing = Undoing::default();
        for taken in taken.iter().rev() {
            self.undo_step(plan, taken, rows, &mut account, &mut undoing).await?;
            if undoing.failure.is_some() {
                break;
            }
        }
        if let (None, Some(end)) = (&undoing.failure, undoing.end) {
            let proof = self.verify_undo(plan, end).await?;
            account.undo_checks.extend(proof.checks);
            undoing.failure = proof.failure.map(|why| format!("the undo is not proven: {why}"));
        }
        self.after_undo(plan, cause, undoing, account, began).await
    }

    async fn undo_step(
        &mut self,
        plan: &Plan,
        taken: &Taken,
        rows: &[AttemptRow],
        account: &mut Account,
        undoing: &mut Undoing,
    ) -> Result<(), AgentError> {
        let (End::Done { change } | End::Failed { change, .. } | End::Interrupted { change, .. }) =
            &taken.end
        else {
            return Ok(());
        };
        if !is_left(taken) {
            return Ok(());
        }
        let step = &plan.steps[taken.step];
        if step.undo == Undo::Irreversible {
            undoing.irreversible.push(step.name.clone());
            return Ok(());
        }
        let Some(change_id) = change.change_id.as_deref().filter(|_| change.inverse.is_some())
        else {
            let why = change.no_inverse.clone().unwrap_or_else(|| "no inverse is recorded".into());
            undoing.failure = Some(format!("{:?} cannot be undone: {why}", step.name));
            return Ok(());
        };
        let name = format!("undo: {}", step.name);
        let is_of_change = |row: &&AttemptRow| {
            let body = body(row);
            body.kind == ActKind::Undo
                && body.parameters.get("change_id") == Some(&change_id.into())
        };
        let mut begun = rows.iter().filter(is_of_change);
        undoing.count += 1;
        for _ in 0..ATTEMPTS {
            let former = begun.next();
            if former.is_none() {
                if self.is_stopped() {
                    return Err(super::shutting_down());
                }
                if self.resolver.is_killed() {
                    undoing.failure = Some("the kill switch stops the undo too".into());
                    return Ok(());
                }
            }
            let wanted = self.rollback_body(plan, taken.step, change_id);
            // A change is undone at most once: its record keeps a second rollback from acting.
            let undone = self.attempt(plan, &name, EffectClass::Fenced, wanted, former).await?;
            undoing.end = undoing.end.max(Some(undone.report.finished_at));
            undoing.failure = match &undone.end {
                End::Done { change: inverse } | End::Interrupted { change: inverse, .. } => {
                    let check = restored(change, inverse, &plan.target);
                    let failure = (!check.passed).then(|| check.reason.clone());
                    account.undo_checks.push(check);
                    failure
                }
                End::Failed { error, .. } | End::Untouched { error } | End::Unknown { error } => {
                    Some(format!("{name} failed: {error}"))
                }
            };
            let is_cut_off = matches!(undone.end, End::Interrupted { .. });
            account.undo.push(undone.report);
            if !is_cut_off || undoing.failure.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn after_undo(
        &mut self,
        plan: &Plan,
        cause: Cause,
        undoing: Undoing,
        account: Account,
        began: Timestamp,
    ) -> Result<(), AgentError> {
        let took = self.resolver.process.now().duration_since(began).as_millis();
        let detail = json!({
            "undo": account.undo,
            "undo_checks": account.undo_checks,
            "irreversible": undoing.irreversible,
            "milliseconds": i64::try_from(took).unwrap_or(i64::MAX),
        });
        let why = cause.why();
        if let Some(failure) = undoing.failure {
            let summary = format!("{why}; {failure}; {} is left to a person", plan.target);
            self.journal.note(EntryKind::RollbackFailed, failure, detail).await?;
            self.quarantine(plan, &summary).await?;
            return self.conclude(Some(plan), OutcomeResult::UndoFailed, summary, account).await;
        }
        let is_step = matches!(cause, Cause::Step(_));
        if !undoing.irreversible.is_empty() {
            let steps = undoing.irreversible.join(", ");
            let summary = format!("{why}; {steps} cannot be undone, as its runbook says");
            self.journal.note(EntryKind::RollbackFailed, summary.clone(), detail).await?;
            let result =
                if is_step { OutcomeResult::StepFailed } else { OutcomeResult::UndoFailed };
            return self.conclude(Some(plan), result, summary, account).await;
        }
        let words = match undoing.count {
            0 => "nothing had to be undone".to_owned(),
            count => format!("{count} of {count} changes undone, and all is as it was before"),
        };
        self.journal.note(EntryKind::RolledBack, words.clone(), detail).await?;
        let result = if is_step { OutcomeResult::StepFailed } else { OutcomeResult::Undone };
        self.conclude(Some(plan), result, format!("{why}; {words}"), account).await
    }
}

/// Whether a step left something to undo. One that failed and shows its target unchanged did not.
fn is_left(taken: &Taken) -> bool {
    match &taken.end {
        End::Done { .. } => true,
        End::Failed { change, .. } | End::Interrupted { change, .. } => {
            change.after.is_null() || change.after != change.before
        }
        End::Untouched { .. } | End::Unknown { .. } => false,
    }
}

/// Whether every value that a change had altered reads as before it.
fn restored(change: &Change, inverse: &Change, target: &str) -> CheckReport {
    let off = match change.diff.is_empty() {
        true => (inverse.after != change.before).then(|| "its state".to_owned()),
        false => change
            .diff
            .iter()
            .find(|altered| at(&inverse.after, &altered.path) != Some(&altered.before))
            .map(|altered| format!("{} (was {})", altered.path, altered.before)),
    };
    CheckReport {
        name: format!("state of {target} after the undo"),
        query: format!("rollback of {}", change.change_id.as_deref().unwrap_or_default()),
        passed: off.is_none(),
        value: None,
        sampled_at: inverse.finished_at,
        reason: match off {
            None => format!("as before: {}", change.before),
            Some(what) => format!("{what} of {target} is not as before: {}", inverse.after),
        },
    }
}

/// The value at a dotted path; keys may hold dots themselves.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(found) = value.get(path) {
        return Some(found);
    }
    path.match_indices('.').find_map(|(dot, _)| at(value.get(&path[..dot])?, &path[dot + 1..]))
}
