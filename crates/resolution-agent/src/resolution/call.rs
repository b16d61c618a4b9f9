//! What an attempt needs of deployment-system: the call, the question what became of it, and a look
//! at what an interrupted one has left.

use std::time::Duration;

use a2a_types::mcp::deployment::{Change, ChangeRequest, Grant, StatusInput, canonical_arguments};
use incident::{AttemptId, Plan};
use jiff::{SignedDuration, Timestamp};
use rpc::a2a::AgentError;
use rpc::mcp::client::McpError;
use sha2::{Digest, Sha256};

use super::step::{Attempted, End, Event, Probe, State, may_still_act};
use super::{ActBody, Resolution};
use crate::NAME;
use crate::agent::stored;

const PAUSE: Duration = Duration::from_millis(500);
/// Least time given to find out what became of a call.
const SETTLE: Duration = Duration::from_secs(5);

impl Resolution {
    /// Does what each state of an attempt stands for until it has ended.
    pub(super) async fn see_through(
        &mut self,
        plan: &Plan,
        wanted: &ActBody,
        id: AttemptId,
        started_at: Timestamp,
        mut attempted: Attempted,
    ) -> Result<End, AgentError> {
        let metrics = self.resolver.metrics.clone();
        let mut called_with = None;
        loop {
            let event = match attempted.state() {
                State::Ended(end) => return Ok(end.clone()),
                State::Intended if attempted.is_repeated() && self.resolver.is_killed() => {
                    Event::Killed
                }
                State::Intended => {
                    called_with = Some(self.token);
                    self.call(plan, wanted, id).await?
                }
                State::TurnedAway => self.rest().await,
                State::Unanswered => {
                    metrics.unknown_outcomes.inc();
                    // Our own call may be on its way still: a greater token shuts it out too.
                    if called_with == Some(self.token) {
                        let locked = self.lock(plan).await?;
                        locked.map_err(|why| self.overtaken(why))?;
                    }
                    self.find_out(plan, id, started_at).await?
                }
                State::Interrupted(change) => {
                    metrics.probes.inc();
                    Event::Probed(self.probe(plan, change).await)
                }
            };
            attempted.take(event);
            tracing::debug!(attempt.id = %id, state = attempted.state().name(), "attempt");
        }
    }

    /// Sends the call. Between the check of lock and task and this call the run may freeze for any
    /// time: then whoever took the task over has a greater token, has asked for the status with it
    /// before it did anything, and so this call is refused when it arrives at last.
    async fn call(
        &self,
        plan: &Plan,
        wanted: &ActBody,
        id: AttemptId,
    ) -> Result<Event, AgentError> {
        let timeout = self.resolver.config.step_deadline();
        let request = self.request(plan, wanted, id);
        failpoints::hit(failpoints::BEFORE_EFFECT);
        let answer = self.resolver.tools.change(&wanted.action, &request, timeout).await;
        failpoints::hit(failpoints::AFTER_EFFECT);
        Ok(match answer {
            Ok(change) => Event::Answered(Box::new(change)),
            Err(error) if is_fenced(&error) => {
                self.check_in_charge(plan).await?;
                Event::Refused(error.to_string())
            }
            Err(error) if error.may_have_acted() => Event::Lost(error.to_string()),
            Err(error) if error.is_transient() => {
                tracing::info!(%error, "nothing was done, trying again");
                Event::Busy(error.to_string())
            }
            Err(error) => Event::Refused(error.to_string()),
        })
    }

    async fn rest(&self) -> Event {
        self.resolver.process.clock().sleep(PAUSE).await;
        if self.resolver.is_killed() { Event::Killed } else { Event::Rested }
    }

    /// Asks what became of a call, under a token greater than the call's: from then on no call with a
    /// smaller one is begun, so that "no record" means that there will be none. Waits for what runs.
    async fn find_out(
        &self,
        plan: &Plan,
        id: AttemptId,
        started_at: Timestamp,
    ) -> Result<Event, AgentError> {
        let clock = self.resolver.process.clock();
        let input = StatusInput {
            target: Some(plan.target.clone()),
            idempotency_key: Some(id.to_string()),
            fencing_token: Some(self.token),
            ..StatusInput::default()
        };
        let until = clock.instant() + self.patience(started_at);
        loop {
            let is_over = clock.instant() >= until;
            self.resolver.metrics.probes.inc();
            match self.resolver.tools.status(&input).await {
                Ok(status) => match status.changes.into_iter().next() {
                    Some(change) if may_still_act(&change) && !is_over => {}
                    Some(change) => return Ok(Event::Answered(Box::new(change))),
                    None => return Ok(Event::NoRecord),
                },
                Err(error) if is_fenced(&error) => {
                    self.check_in_charge(plan).await?;
                    return Ok(Event::Untold(error.to_string()));
                }
                Err(error) if is_over => return Ok(Event::Untold(error.to_string())),
                Err(error) => tracing::info!(%error, "status not known yet"),
            }
            clock.sleep(PAUSE).await;
            if self.is_stopped() {
                return Err(super::shutting_down());
            }
        }
    }

    /// How long an answer is waited for: what is left of the step's time. The clock may have been set
    /// since it began, so it is never more than the whole of it.
    fn patience(&self, started_at: Timestamp) -> Duration {
        let allowed = self.resolver.config.step_deadline();
        let passed = self.resolver.process.now().duration_since(started_at);
        let passed = Duration::try_from(passed).unwrap_or_default();
        allowed.saturating_sub(passed).max(SETTLE)
    }

    /// What an interrupted change has left: what its executor saw before and after it, else whether
    /// the symptom is gone.
    async fn probe(&self, plan: &Plan, change: &Change) -> Probe {
        if !change.before.is_null() && !change.after.is_null() {
            return if change.before == change.after { Probe::Absent } else { Probe::Present };
        }
        let Some(symptom) = plan.checks.first() else { return Probe::Unclear };
        let now = self.resolver.process.now();
        let reading = self.resolver.tools.read(&symptom.query, symptom.comparison, now).await;
        match reading.value {
            Ok(value) if symptom.comparison.holds(value, symptom.threshold) => Probe::Present,
            _ => Probe::Unclear,
        }
    }

    fn request(&self, plan: &Plan, wanted: &ActBody, id: AttemptId) -> ChangeRequest {
        let allowed = SignedDuration::try_from(self.resolver.config.step_deadline());
        let deadline =
            self.resolver.process.now() + allowed.unwrap_or(SignedDuration::from_hours(1));
        let arguments = canonical_arguments(&wanted.action, &plan.target, &wanted.parameters);
        ChangeRequest {
            target: plan.target.clone(),
            parameters: wanted.parameters.clone(),
            idempotency_key: id.to_string(),
            grant: Some(Grant {
                id: id.to_string(),
                principal: NAME.into(),
                target: plan.target.clone(),
                arguments_sha256: hex::encode(Sha256::digest(arguments)),
                expires_at: deadline,
            }),
            deadline,
            fencing_token: Some(self.token),
            dry_run: false,
        }
    }

    /// After a refused token: whether this run has task and lock still. Then deployment-system has
    /// seen tokens that are not of this database, and a person must look; else the run stops here.
    async fn check_in_charge(&self, plan: &Plan) -> Result<(), AgentError> {
        self.check_owned().await?;
        let locks = self.resolver.store.locked_targets().await.map_err(stored)?;
        let is_ours =
            |lock: &store::LockedTarget| lock.target == plan.target && lock.holder == self.task.id;
        match locks.iter().any(is_ours) {
            true => Ok(()),
            false => Err(self.overtaken(format!("the lock of {} is another's", plan.target))),
        }
    }
}

/// deployment-system has seen a greater token than ours.
fn is_fenced(error: &McpError) -> bool {
    error.fault().is_some_and(|fault| fault.field.as_deref() == Some("fencing_token"))
}
