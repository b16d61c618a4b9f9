//! A resolution: its diagnosis is handed over once, then its task is followed to the end.

use std::time::Duration;

use a2a_types::{SendMessageResponse, Task};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use incident::{Event, Incident, IncidentId, Outcome, Payload};
use rpc::a2a::ClientError;
use store::{OutboxRow, StoreError};

use super::ask::{request, taken};
use super::peer::failed;
use super::{Failure, Performer, Tried};
use crate::answer;
use crate::engine::{Follower, Subject, Work};

/// The longest time between two looks at an incident whose resolution runs: another replica may have
/// changed it.
const LOOK: Duration = Duration::from_secs(2);

/// What an agent answers to one message, change by change.
type Answers = BoxStream<'static, Result<SendMessageResponse, ClientError>>;

impl Performer {
    pub(super) async fn resolve(
        &self,
        incident: &Incident,
        row: &OutboxRow,
    ) -> Result<Tried, StoreError> {
        let Some(diagnosis) = incident.diagnosis.clone() else {
            return Ok(Tried::Done(Vec::new()));
        };
        if !incident.phase.is_resolving() {
            return self.await_end(incident).await;
        }
        let payloads = [Payload::Brief(incident.brief()), Payload::Diagnosis(diagnosis)];
        let send = request(incident, row, &payloads);
        let answers = self.resolution().start(send, self.longest_resolution());
        self.follow(incident.clone(), answers).await
    }

    /// Goes on with the task of an incident that has left its resolution behind.
    async fn await_end(&self, incident: &Incident) -> Result<Tried, StoreError> {
        let Some(task_id) = &incident.resolution_task else {
            return Ok(Tried::Done(Vec::new()));
        };
        let asked = self.resolution().task(task_id).await;
        self.heard(Work::Resolve, &asked);
        let task = match asked {
            Ok(task) => task,
            Err(error) => return Ok(failed(&error)),
        };
        let known = SendMessageResponse::Task(task.clone());
        let changes = self.resolution().follow(task, self.longest_resolution());
        let changes = changes.map(|task| task.map(SendMessageResponse::Task));
        let known = futures::stream::once(std::future::ready(Ok(known)));
        self.follow(incident.clone(), known.chain(changes).boxed()).await
    }

    /// Brings what a task shows into its incident until the task ends. A task whose incident no
    /// longer wants it is told to stop, and what it still did is taken all the same.
    async fn follow(&self, mut known: Incident, mut answers: Answers) -> Result<Tried, StoreError> {
        let (subject, round) = (Subject::of(&known), known.round);
        let follower = self.engine.wake.follow(known.id);
        let (mut shown, mut is_stopped) = (None::<Task>, false);
        loop {
            tokio::select! {
                answer = answers.next() => match self.newest(answer, &mut answers) {
                    Some(Ok(SendMessageResponse::Task(task))) => shown = Some(task),
                    Some(Ok(message)) => return Ok(outcome_of(&message, known.id)),
                    Some(Err(error)) => return Ok(failed(&error)),
                    None => return Ok(again("its task was followed to no end")),
                },
                () = self.may_have_changed(&follower), if shown.is_some() => {
                    match self.engine.store.incident(known.id).await? {
                        Some(stored) => known = stored.incident,
                        None => return Ok(Tried::Done(Vec::new())),
                    }
                }
            }
            let Some(task) = &shown else { continue };
            let is_over = task.status.state.is_terminal();
            if has_other_task(&known, task) || !is_over {
                known = self.take_news(&subject, round, task, known).await?;
                follower.is_up_to_date();
            }
            let is_left = known.round != round || known.phase.is_final();
            let is_wanted = !is_left && known.phase.is_resolving();
            if !is_wanted && !is_stopped && !is_over {
                is_stopped = self.stop(&task.id).await.is_ok();
            }
            if is_left && (is_stopped || is_over) {
                return Ok(Tried::Done(Vec::new()));
            }
            if is_over {
                return self.conclude(&subject, &known, task, is_wanted).await;
            }
        }
    }

    /// Of several answers that are there, the last.
    fn newest(
        &self,
        mut answer: Option<Result<SendMessageResponse, ClientError>>,
        answers: &mut Answers,
    ) -> Option<Result<SendMessageResponse, ClientError>> {
        while let Some(Ok(SendMessageResponse::Task(task))) = &answer
            && !task.status.state.is_terminal()
            && let Some(next) = answers.next().now_or_never()
            && matches!(next, Some(Ok(_)) | None)
        {
            answer = next;
        }
        answer.inspect(|answer| self.heard(Work::Resolve, answer))
    }

    /// Takes what a task shows that its incident has not taken, and returns the incident as it is
    /// then. Nothing new costs nothing.
    async fn take_news(
        &self,
        subject: &Subject,
        round: u32,
        task: &Task,
        mut known: Incident,
    ) -> Result<Incident, StoreError> {
        // Another task than the known one is accepted before its news count.
        for _ in 0..2 {
            if news(&known, round, task).is_empty() {
                break;
            }
            let taken = self.engine.change(subject, None, |incident| news(incident, round, task));
            known = taken.await?.unwrap_or(known);
        }
        Ok(known)
    }

    /// Returns after a commit of the incident, and after a while without one.
    async fn may_have_changed(&self, follower: &Follower<'_>) {
        tokio::select! {
            () = follower.changed() => {}
            () = self.engine.process.clock().sleep(LOOK) => {}
        }
    }

    /// A resolution that is not over by then has outlived every deadline of its incident.
    fn longest_resolution(&self) -> Duration {
        let limits = &self.engine.config.limits;
        Duration::from_secs(limits.resolution_seconds.saturating_add(limits.approval_seconds))
    }

    /// The last news of a task are taken with the end of its row.
    async fn conclude(
        &self,
        subject: &Subject,
        known: &Incident,
        task: &Task,
        is_wanted: bool,
    ) -> Result<Tried, StoreError> {
        let mut events = news(known, known.round, task);
        if let Some(outcome) = answer::find_in_task::<Outcome>(task) {
            events.push(Event::Concluded(outcome));
            return Ok(Tried::Done(events));
        }
        if !is_wanted {
            return Ok(Tried::Done(events));
        }
        self.engine.take_events(subject, Some(known.round), events, None).await?;
        Ok(outcome_of(&SendMessageResponse::Task(task.clone()), known.id))
    }
}

/// What a task shows that its incident has not taken, while the incident is in this round.
fn news(incident: &Incident, round: u32, task: &Task) -> Vec<Event> {
    if incident.round != round || incident.phase.is_final() {
        return Vec::new();
    }
    let accepted = || Event::ResolutionAccepted { task_id: task.id.clone() };
    match &incident.resolution_task {
        Some(known) if *known == task.id => answer::news(incident, task),
        Some(_) => vec![accepted()],
        None => std::iter::once(accepted()).chain(answer::news(incident, task)).collect(),
    }
}

fn has_other_task(incident: &Incident, task: &Task) -> bool {
    incident.resolution_task.as_ref().is_some_and(|known| *known != task.id)
}

fn outcome_of(answer: &SendMessageResponse, id: IncidentId) -> Tried {
    taken(answer::result::<Outcome>(answer, id), Event::Concluded)
}

fn again(why: &str) -> Tried {
    Tried::Again(Failure { why: why.to_owned(), ..Failure::default() })
}
