//! One replica's view of the tables of one agent. Every call takes a turn to reach the database and
//! a turn to come back, so that others run between; in the database it is one step.

use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use incident::{AttemptId, IncidentId, IncidentKey, TicketRef};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::yield_now;

use super::faults::{Call, Fault, unavailable};
use super::incidents::fitting;
use super::leases::{Caller, lost};
use super::outbox::Wanted;
use super::tables::Tables;
use super::targets::Approval;
use super::{Contents, MemoryDatabase};
use crate::sqlite::to_json;
use crate::{
    AlertKey, AlertRow, Attempt, AttemptRow, AuditRow, Batch, Change, ChangeRow, Claim, DeadLetter,
    DeliveryRow, LockedTarget, OpenOptions, OutboxRow, Refusal, Related, Retention, Store,
    StoreError, StoreFuture, Stored, TargetLock,
};

pub(super) struct MemoryStore {
    database: MemoryDatabase,
    agent: &'static str,
    options: OpenOptions,
    /// The lease that this replica has now.
    lease: AtomicU64,
    /// Rung by other replicas.
    bell: Arc<Notify>,
    is_closed: AtomicBool,
}

impl MemoryStore {
    pub(super) fn open(
        database: MemoryDatabase,
        agent: &'static str,
        options: OpenOptions,
    ) -> Self {
        let bell = Arc::new(Notify::new());
        let now = (options.time)();
        let mut contents = database.contents();
        let leases = &mut contents.agents.entry(agent).or_default().leases;
        leases.end_dead(&*options.is_dead);
        let lease = leases.begin(options.replica.clone(), now, options.lease, bell.clone());
        drop(contents);
        let (lease, is_closed) = (AtomicU64::new(lease), AtomicBool::new(false));
        Self { database, agent, options, lease, bell, is_closed }
    }

    fn read<'a, T: Send + 'a>(
        &'a self,
        name: &'static str,
        run: impl FnOnce(&mut Tables, Caller) -> Result<T, StoreError> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        self.call(name, |contents, caller| {
            run(contents.agents.entry(self.agent).or_default(), caller)
        })
    }

    /// As `read`, and in the journal where it succeeds.
    fn write<'a, A: Clone + Debug + Send + 'a, T: Send + 'a>(
        &'a self,
        name: &'static str,
        arguments: A,
        run: impl FnOnce(&mut Tables, Caller, A) -> Result<T, StoreError> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        self.call(name, move |contents, caller| {
            let tables = contents.agents.entry(self.agent).or_default();
            let answer = run(tables, caller, arguments.clone())?;
            contents.journal.record(self.named(name), caller.now, &arguments);
            Ok(answer)
        })
    }

    fn call<'a, T: Send + 'a>(
        &'a self,
        name: &'static str,
        run: impl FnOnce(&mut Contents, Caller) -> Result<T, StoreError> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move {
            yield_now().await;
            let answer = self.run(name, run);
            yield_now().await;
            answer
        })
    }

    fn run<T>(
        &self,
        name: &'static str,
        run: impl FnOnce(&mut Contents, Caller) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(StoreError::Closed);
        }
        let faults = self.database.contents().faults.clone();
        let fault = faults.of(self.named(name));
        if fault == Some(Fault::Away) {
            return Err(unavailable());
        }
        let now = (self.options.time)();
        let mut contents = self.database.contents();
        let leases = &contents.agents.entry(self.agent).or_default().leases;
        let caller = leases.caller(self.lease.load(Ordering::SeqCst), now);
        let answer = run(&mut contents, caller);
        if fault == Some(Fault::AnswerLost) { Err(unavailable()) } else { answer }
    }

    fn named(&self, name: &'static str) -> Call<'_> {
        Call { agent: self.agent, replica: &self.options.replica.id, name }
    }

    /// Renews the lease, or begins a new one where it had run out.
    fn renew(
        &self,
        tables: &mut Tables,
        caller: Caller,
        length: Duration,
    ) -> Result<(), StoreError> {
        if tables.leases.renew(caller, length) {
            return Ok(());
        }
        let replica = self.options.replica.clone();
        let lease = tables.leases.begin(replica, caller.now, length, self.bell.clone());
        self.lease.store(lease, Ordering::SeqCst);
        Err(lost("the lease"))
    }
}

impl Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agent, options, .. } = self;
        f.debug_struct("MemoryStore").field("agent", agent).field("options", options).finish()
    }
}

impl Store for MemoryStore {
    fn commit(&self, batch: Batch) -> StoreFuture<'_, ()> {
        self.write("commit", batch, Tables::commit)
    }

    fn related(&self, alerts: Vec<AlertKey>, keys: Vec<IncidentKey>) -> StoreFuture<'_, Related> {
        self.read("related", move |tables, _| Ok(tables.related(&alerts, &keys)))
    }

    fn incident(&self, id: IncidentId) -> StoreFuture<'_, Option<Stored>> {
        self.read("incident", move |tables, _| Ok(tables.incidents.get(id)))
    }

    fn incidents(&self, limit: u32, before: Option<IncidentId>) -> StoreFuture<'_, Vec<Stored>> {
        self.read("incidents", move |tables, _| Ok(tables.incidents.newest(limit, before)))
    }

    fn timeline(&self, id: IncidentId, after: i64, limit: u32) -> StoreFuture<'_, Vec<AuditRow>> {
        self.read("timeline", move |tables, _| tables.incidents.timeline(id, after, limit))
    }

    fn verify_audit(&self, id: IncidentId) -> StoreFuture<'_, i64> {
        self.read("verify_audit", move |tables, _| tables.incidents.verify(id))
    }

    fn next_deadline(&self) -> StoreFuture<'_, Option<Timestamp>> {
        self.read("next_deadline", |tables, _| Ok(tables.incidents.next_deadline()))
    }

    fn overdue(&self, now: Timestamp, limit: u32) -> StoreFuture<'_, Vec<IncidentId>> {
        self.read("overdue", move |tables, _| Ok(tables.incidents.overdue(now, limit)))
    }

    fn alerts_of(
        &self,
        incident: IncidentId,
        after: Option<AlertKey>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<AlertRow>> {
        self.read("alerts_of", move |tables, _| {
            let is_its = |row: &AlertRow| row.incident == Some(incident);
            let rows = tables.alerts.page(after.as_ref(), limit, is_its).into_iter();
            Ok(fitting(rows, |row| to_json(&row.alert).len() as u64).collect())
        })
    }

    fn firing_alerts(
        &self,
        source: String,
        after: Option<String>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<AlertRow>> {
        self.read("firing_alerts", move |tables, _| {
            let incidents = &tables.incidents;
            let after = after.map(|fingerprint| AlertKey { source: source.clone(), fingerprint });
            let fits = |row: &AlertRow| {
                row.alert.source == source
                    && row.alert.is_firing()
                    && (row.held.is_some() || row.incident.is_some_and(|id| incidents.is_open(id)))
            };
            Ok(tables.alerts.page(after.as_ref(), limit, fits))
        })
    }

    fn held_alerts(&self, after: Option<AlertKey>, limit: u32) -> StoreFuture<'_, Vec<AlertRow>> {
        self.read("held_alerts", move |tables, _| {
            let is_held = |row: &AlertRow| row.alert.is_firing() && row.held.is_some();
            Ok(tables.alerts.page(after.as_ref(), limit, is_held))
        })
    }

    fn deliveries(&self, after: i64, limit: u32) -> StoreFuture<'_, Vec<DeliveryRow>> {
        self.read("deliveries", move |tables, _| Ok(tables.deliveries.after(after, limit)))
    }

    fn prune(&self, retention: Retention) -> StoreFuture<'_, u64> {
        self.write("prune", retention, |tables, _, retention| Ok(tables.prune(retention)))
    }

    fn record_refusals(&self, refusals: Vec<Refusal>) -> StoreFuture<'_, ()> {
        self.write("record_refusals", refusals, |tables, _, refusals| {
            tables.deliveries.refuse(refusals);
            Ok(())
        })
    }

    fn refusals(&self, limit: u32) -> StoreFuture<'_, Vec<Refusal>> {
        self.read("refusals", move |tables, _| Ok(tables.deliveries.refusals(limit)))
    }

    fn claim_outbox(
        &self,
        kind: &'static str,
        now: Timestamp,
        limit: u32,
        one_each: bool,
    ) -> StoreFuture<'_, Vec<OutboxRow>> {
        let wanted = Wanted { kind, now, limit, one_each };
        self.write("claim_outbox", wanted, |tables, caller, wanted| {
            tables.outbox.claim(&tables.leases, caller, wanted)
        })
    }

    fn delay_outbox(
        &self,
        id: i64,
        counts: bool,
        error: String,
        not_before: Timestamp,
    ) -> StoreFuture<'_, ()> {
        // The error is for people who look into a database: this one has none.
        let arguments = (id, counts, error, not_before);
        self.write("delay_outbox", arguments, |tables, caller, (id, counts, _, not_before)| {
            tables.outbox.delay(caller, id, counts, not_before)
        })
    }

    fn release_outbox(&self, ids: Vec<i64>) -> StoreFuture<'_, ()> {
        self.write("release_outbox", ids, |tables, caller, ids| {
            tables.outbox.release(caller, &ids);
            tables.leases.ring(caller);
            Ok(())
        })
    }

    fn claimed_outbox(&self, kind: &'static str) -> StoreFuture<'_, Vec<i64>> {
        self.read("claimed_outbox", move |tables, caller| Ok(tables.outbox.claimed(caller, kind)))
    }

    fn next_outbox(&self, now: Timestamp) -> StoreFuture<'_, Option<Timestamp>> {
        self.read("next_outbox", move |tables, caller| {
            Ok(tables.outbox.next(&tables.leases, caller, now))
        })
    }

    fn dead_letters(&self, limit: u32, before: Option<i64>) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.read("dead_letters", move |tables, _| Ok(tables.outbox.dead_letters(limit, before)))
    }

    fn replay_dead_letter(&self, id: i64, now: Timestamp) -> StoreFuture<'_, Option<DeadLetter>> {
        self.write("replay_dead_letter", (id, now), |tables, caller, (id, now)| {
            let letter = tables.outbox.replay(id, now);
            tables.leases.ring(caller);
            Ok(letter)
        })
    }

    fn begin_attempt(&self, attempt: Attempt, token: i64) -> StoreFuture<'_, ()> {
        self.write("begin_attempt", (attempt, token), |tables, _, (attempt, token)| {
            tables.targets.begin_attempt(attempt, token)
        })
    }

    fn finish_attempt(&self, id: AttemptId, outcome: Value, at: Timestamp) -> StoreFuture<'_, ()> {
        self.write("finish_attempt", (id, outcome, at), |tables, _, (id, outcome, at)| {
            tables.targets.finish_attempt(id, outcome, at)
        })
    }

    fn attempts_of_task(&self, task_id: String) -> StoreFuture<'_, Vec<AttemptRow>> {
        self.read("attempts_of_task", move |tables, _| {
            Ok(tables.targets.attempts(|attempt| attempt.task_id == task_id))
        })
    }

    fn attempts_since(&self, since: Timestamp) -> StoreFuture<'_, Vec<AttemptRow>> {
        self.read("attempts_since", move |tables, _| {
            Ok(tables.targets.attempts(|attempt| attempt.started_at >= since))
        })
    }

    fn lock_target(&self, target: String, holder: String) -> StoreFuture<'_, TargetLock> {
        self.write("lock_target", (target, holder), |tables, caller, (target, holder)| {
            Ok(tables.targets.lock(target, holder, caller.now))
        })
    }

    fn unlock_target(&self, target: String, holder: String) -> StoreFuture<'_, ()> {
        self.write("unlock_target", (target, holder), |tables, _, (target, holder)| {
            tables.targets.unlock(&target, &holder);
            Ok(())
        })
    }

    fn quarantine_target(&self, target: String, reason: String) -> StoreFuture<'_, ()> {
        self.write("quarantine_target", (target, reason), |tables, _, (target, reason)| {
            tables.targets.quarantine(target, reason);
            Ok(())
        })
    }

    fn locked_targets(&self) -> StoreFuture<'_, Vec<LockedTarget>> {
        self.read("locked_targets", |tables, _| Ok(tables.targets.locked()))
    }

    fn quarantined_targets(&self) -> StoreFuture<'_, Vec<(String, String)>> {
        self.read("quarantined_targets", |tables, _| Ok(tables.targets.quarantined()))
    }

    fn release_target(&self, target: String) -> StoreFuture<'_, bool> {
        self.write("release_target", target, |tables, _, target| {
            Ok(tables.targets.release(&target))
        })
    }

    fn put_approval(
        &self,
        plan_hash: String,
        approved: bool,
        by: String,
        at: Timestamp,
    ) -> StoreFuture<'_, ()> {
        let arguments = (plan_hash, Approval { approved, by, at });
        self.write("put_approval", arguments, |tables, _, (plan_hash, approval)| {
            tables.targets.approve(plan_hash, approval)
        })
    }

    fn begin_change(&self, change: Change, token: Option<i64>) -> StoreFuture<'_, ()> {
        self.write("begin_change", (change, token), |tables, caller, (change, token)| {
            tables.changes.begin(&tables.leases, caller, change, token)
        })
    }

    fn record_executor(&self, id: String, executor: Value) -> StoreFuture<'_, ()> {
        self.write("record_executor", (id, executor), |tables, caller, (id, executor)| {
            tables.changes.record_executor(caller, &id, executor)
        })
    }

    fn finish_change(&self, id: String, outcome: Value, at: Timestamp) -> StoreFuture<'_, ()> {
        self.write("finish_change", (id, outcome, at), |tables, caller, (id, outcome, at)| {
            tables.changes.finish(caller, &id, outcome, at)
        })
    }

    fn adopt_changes(&self) -> StoreFuture<'_, Vec<ChangeRow>> {
        self.write("adopt_changes", (), |tables, caller, ()| {
            tables.changes.adopt(&tables.leases, caller)
        })
    }

    fn claimed_changes(&self) -> StoreFuture<'_, Vec<ChangeRow>> {
        self.read("claimed_changes", |tables, caller| Ok(tables.changes.claimed(caller)))
    }

    fn unfinished_change(&self, target: String) -> StoreFuture<'_, Option<ChangeRow>> {
        self.read("unfinished_change", move |tables, _| Ok(tables.changes.unfinished(&target)))
    }

    fn change(&self, id: String) -> StoreFuture<'_, Option<ChangeRow>> {
        self.read("change", move |tables, _| Ok(tables.changes.find(|row| row.change.id == id)))
    }

    fn change_by_key(&self, idempotency_key: String) -> StoreFuture<'_, Option<ChangeRow>> {
        self.read("change_by_key", move |tables, _| {
            Ok(tables.changes.find(|row| row.change.idempotency_key == idempotency_key))
        })
    }

    fn changes(&self, target: Option<String>, limit: u32) -> StoreFuture<'_, Vec<ChangeRow>> {
        self.read("changes", move |tables, _| Ok(tables.changes.newest(target.as_deref(), limit)))
    }

    fn raise_fence(&self, target: String, token: i64) -> StoreFuture<'_, i64> {
        self.write("raise_fence", (target, token), |tables, _, (target, token)| {
            Ok(tables.changes.raise_fence(target, token))
        })
    }

    fn ticket(&self, incident: IncidentId) -> StoreFuture<'_, Option<TicketRef>> {
        self.read("ticket", move |tables, _| Ok(tables.tickets.get(&incident).cloned()))
    }

    fn put_ticket(&self, incident: IncidentId, ticket: TicketRef) -> StoreFuture<'_, ()> {
        self.write("put_ticket", (incident, ticket), |tables, _, (incident, ticket)| {
            tables.tickets.insert(incident, ticket);
            Ok(())
        })
    }

    fn heartbeat(&self, lease: Duration) -> StoreFuture<'_, ()> {
        self.read("heartbeat", move |tables, caller| self.renew(tables, caller, lease))
    }

    fn claim(&self, name: String) -> StoreFuture<'_, Claim> {
        self.write("claim", name, |tables, caller, name| tables.leases.claim(caller, name))
    }

    fn unclaim(&self, name: String) -> StoreFuture<'_, ()> {
        self.write("unclaim", name, |tables, caller, name| {
            tables.leases.unclaim(caller, &name);
            Ok(())
        })
    }

    fn hint(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.bell.notified())
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let released = self.write("close", (), |tables, caller, ()| {
            tables.leases.end(caller.lease);
            tables.leases.ring(caller);
            Ok(())
        });
        Box::pin(async move {
            // A database that is away sees the lease run out instead.
            let _ = released.await;
            self.is_closed.store(true, Ordering::SeqCst);
        })
    }
}
