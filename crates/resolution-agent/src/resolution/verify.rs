//! The proof: symptom and neighbours are watched until all of them have held together, or one of
//! them has failed. Exit status 0 proves nothing.

use futures::future::join_all;
use incident::verification::{Reading, Verdict, Verifier};
use incident::{Check, CheckReport, EntryKind, Plan};
use jiff::Timestamp;
use rpc::a2a::AgentError;
use serde_json::json;

use super::{Resolution, Taken};

/// What a verification came to.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) checks: Vec<CheckReport>,
    /// `None`: proven.
    pub(super) failure: Option<String>,
}

impl Resolution {
    pub(super) async fn verify(
        &mut self,
        plan: &Plan,
        taken: &[Taken],
    ) -> Result<Proof, AgentError> {
        let started = self.resolver.process.now();
        let act_end = taken.iter().map(Taken::ended_at).max().unwrap_or(started);
        let act_end = not_before_the_look(act_end, plan);
        let detail = json!({"act_end": act_end, "checks": plan.checks, "baseline": plan.baseline});
        let summary =
            format!("verifying {} checks on samples newer than the act", plan.checks.len());
        self.journal.note(EntryKind::VerificationStarted, summary, detail).await?;
        let gap = self.resolver.config.longest_gap();
        let since = act_end + self.resolver.config.clock_skew();
        let verifiers = plan
            .checks
            .iter()
            .map(|check| Verifier::new(check.clone(), before(plan, check), since, gap));
        let proof = self.watch(&plan.checks, verifiers.collect::<Result<_, _>>()).await?;
        let now = self.resolver.process.now();
        let detail = json!({
            "checks": proof.checks,
            "milliseconds": i64::try_from(now.duration_since(act_end).as_millis()).unwrap_or(i64::MAX),
        });
        let (kind, summary) = match &proof.failure {
            None => (EntryKind::Verified, "proven: every check held on fresh samples".to_owned()),
            Some(why) => (EntryKind::NotProven, format!("not proven: {why}")),
        };
        self.journal.note(kind, summary, detail).await?;
        Ok(proof)
    }

    /// Whether all is as well as before the act, now that it is undone. The symptom itself may stay.
    pub(super) async fn verify_undo(
        &mut self,
        plan: &Plan,
        undo_end: Timestamp,
    ) -> Result<Proof, AgentError> {
        let gap = self.resolver.config.longest_gap();
        let is_comparable = |check: &&Check| {
            check.role == incident::CheckRole::Neighbour || before(plan, check).is_some()
        };
        let checks: Vec<Check> =
            plan.checks.iter().skip(1).filter(is_comparable).cloned().collect();
        let since = not_before_the_look(undo_end, plan) + self.resolver.config.clock_skew();
        let verifiers = checks
            .iter()
            .map(|check| Verifier::of_undo(check.clone(), before(plan, check), since, gap));
        self.watch(&checks, verifiers.collect::<Result<_, _>>()).await
    }

    async fn watch(
        &self,
        checks: &[Check],
        verifiers: Result<Vec<Verifier>, String>,
    ) -> Result<Proof, AgentError> {
        let process = &self.resolver.process;
        let mut verifiers = verifiers.map_err(AgentError::failed)?;
        let pause = std::time::Duration::from_millis(self.resolver.config.poll_millis);
        let began = process.clock().instant();
        loop {
            let now = process.now();
            let elapsed = process.clock().instant() - began;
            let reads = checks
                .iter()
                .map(|check| self.resolver.tools.read(&check.query, check.comparison, now));
            for (verifier, reading) in verifiers.iter_mut().zip(join_all(reads).await) {
                verifier.take(&Reading { elapsed, ..reading });
            }
            let failed = verifiers.iter().find_map(|verifier| match verifier.verdict() {
                Verdict::Failed(_) => Some(verifier.report()),
                _ => None,
            });
            let is_held = verifiers.iter().all(|verifier| *verifier.verdict() == Verdict::Held);
            if failed.is_some() || is_held {
                return Ok(Proof {
                    checks: verifiers.iter().map(Verifier::report).collect(),
                    failure: failed.map(|check| format!("{}: {}", check.name, check.reason)),
                });
            }
            if self.stopped.run_until_cancelled(process.clock().sleep(pause)).await.is_none() {
                return Err(super::shutting_down());
            }
        }
    }
}

impl Taken {
    /// When the act ended, by the later of two clocks: ours, and that of whoever carried it out.
    fn ended_at(&self) -> Timestamp {
        let theirs = self.end.change().and_then(|change| change.finished_at);
        self.report.finished_at.max(theirs.unwrap_or(self.report.finished_at))
    }
}

/// The clock may have been set back since the look before the act: what is older than that look is
/// older than the act too, whatever the clock says.
fn not_before_the_look(end: Timestamp, plan: &Plan) -> Timestamp {
    plan.baseline.iter().map(|baseline| baseline.at).fold(end, Timestamp::max)
}

fn before(plan: &Plan, check: &Check) -> Option<f64> {
    plan.baseline.iter().find(|baseline| baseline.check == check.name)?.value
}
