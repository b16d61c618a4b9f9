//! Every method of the protocol, typed, with no binding in sight: a caller and a request in, a
//! result or an error of the protocol out. Whose task it is decides who may see it.

mod push;

use std::sync::Arc;

use a2a_types::{
    A2aError, AgentCard, CancelTaskRequest, GetExtendedAgentCardRequest, GetTaskRequest,
    ListTasksRequest, ListTasksResponse, SendMessageConfiguration, SendMessageRequest,
    SendMessageResponse, SubscribeToTaskRequest, Task, TaskOwner,
};
use tokio::sync::Semaphore;

use super::admission::Call;
use super::check::{self, Modes};
use super::stream::{Events, Place};
use super::{ServerOptions, list};
use crate::a2a::limits::Exceeded;
use crate::a2a::push::Push;
use crate::a2a::tasks::{TakeMessage, Taken, Tasks};

#[derive(Clone, Debug)]
pub(super) struct Operations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tasks: Tasks,
    push: Push,
    offer: Offer,
    most_parts: usize,
    streams: Arc<Semaphore>,
}

/// What the card promises: nothing else is done.
#[derive(Debug)]
struct Offer {
    modes: Modes,
    streaming: bool,
    push: bool,
    has_extended_card: bool,
    extended_card: Option<AgentCard>,
}

impl Operations {
    pub(super) fn new(
        tasks: Tasks,
        push: Push,
        card: &AgentCard,
        extended_card: Option<AgentCard>,
        options: &ServerOptions,
    ) -> Self {
        let capabilities = &card.capabilities;
        let offer = Offer {
            modes: Modes::new(card),
            streaming: capabilities.streaming.unwrap_or(false),
            push: capabilities.push_notifications.unwrap_or(false) && push.is_enabled(),
            has_extended_card: capabilities.extended_agent_card.unwrap_or(false),
            extended_card,
        };
        let (most_parts, streams) = (options.parts, Arc::new(Semaphore::new(options.streams)));
        Self(Arc::new(Inner { tasks, push, offer, most_parts, streams }))
    }

    /// Takes a message and waits until its task is settled, if the caller does not ask otherwise.
    pub(super) async fn send_message(
        self,
        call: Call,
        request: SendMessageRequest,
    ) -> Result<SendMessageResponse, A2aError> {
        let (take, configuration) = self.take(&call, request).await?;
        let taken = match configuration.return_immediately {
            true => self.0.tasks.take(take).await?,
            false => self.0.tasks.take_and_settle(take).await?,
        };
        Ok(match taken {
            Taken::Message(message) => SendMessageResponse::Message(message),
            Taken::Task(task) => {
                let task = check::with_history(task, configuration.history_length);
                SendMessageResponse::Task(task)
            }
        })
    }

    /// The same with every event of the task as it happens.
    pub(super) async fn stream_message(
        self,
        call: Call,
        request: SendMessageRequest,
    ) -> Result<Events, A2aError> {
        let place = self.open_stream(&call)?;
        let (take, configuration) = self.take(&call, request).await?;
        Ok(match self.0.tasks.take_and_subscribe(take).await? {
            Taken::Message(message) => Events::of_message(message, place),
            Taken::Task(task) => Events::of_task(task, configuration.history_length, place),
        })
    }

    pub(super) async fn get_task(
        self,
        call: Call,
        request: GetTaskRequest,
    ) -> Result<Task, A2aError> {
        check::id(&request.id, "id")?;
        check::history_length(request.history_length, "historyLength")?;
        let owner = owner(&call, &request.tenant)?;
        let task = self.0.tasks.get(&owner, &request.id).await?;
        Ok(check::with_history(task, request.history_length))
    }

    pub(super) async fn list_tasks(
        self,
        call: Call,
        request: ListTasksRequest,
    ) -> Result<ListTasksResponse, A2aError> {
        let (owner, history) = (owner(&call, &request.tenant)?, request.history_length);
        let query = list::query(request, owner)?;
        let limit = query.limit;
        Ok(list::response(self.0.tasks.list(query).await?, limit, history))
    }

    pub(super) async fn cancel_task(
        self,
        call: Call,
        request: CancelTaskRequest,
    ) -> Result<Task, A2aError> {
        check::id(&request.id, "id")?;
        self.0.tasks.cancel(&owner(&call, &request.tenant)?, &request.id).await
    }

    /// The task as it is, then its events; with `after`, those that came after that one.
    pub(super) async fn subscribe_to_task(
        self,
        call: Call,
        request: SubscribeToTaskRequest,
        after: Option<u64>,
    ) -> Result<Events, A2aError> {
        let place = self.open_stream(&call)?;
        check::id(&request.id, "id")?;
        let owner = owner(&call, &request.tenant)?;
        let subscription = self.0.tasks.subscribe(&owner, &request.id, after).await?;
        Ok(Events::of_task(subscription, None, place))
    }

    pub(super) async fn get_extended_agent_card(
        self,
        call: Call,
        _: GetExtendedAgentCardRequest,
    ) -> Result<AgentCard, A2aError> {
        let offer = &self.0.offer;
        if !offer.has_extended_card {
            let why = "this agent has no extended agent card".to_owned();
            return Err(A2aError::UnsupportedOperation(why));
        }
        let card = offer.extended_card.clone().ok_or(A2aError::ExtendedAgentCardNotConfigured)?;
        match call.caller.is_authenticated() {
            true => Ok(card),
            false => {
                let why = "the extended agent card is for known callers only".to_owned();
                Err(A2aError::Unauthenticated(why))
            }
        }
    }

    /// A checked message, with what its caller configures.
    async fn take(
        &self,
        call: &Call,
        request: SendMessageRequest,
    ) -> Result<(TakeMessage, SendMessageConfiguration), A2aError> {
        check::send(&request, &self.0.offer.modes, self.0.most_parts)?;
        let mut configuration = request.configuration.unwrap_or_default();
        let push = configuration.task_push_notification_config.take();
        if let Some(config) = &push {
            self.check_push_config(config, PUSH_FIELD).await?;
        }
        // A message id alone is no key: conformance suites and careless callers reuse it. No key
        // holds the line feed, so two pairs are never one text.
        let key = call.idempotency_key.clone()?;
        let take = TakeMessage {
            owner: owner(call, &request.tenant)?,
            idempotency_key: key.map(|key| format!("{key}\n{}", request.message.message_id)),
            message: request.message,
            push,
        };
        Ok((take, configuration))
    }

    /// A place among all streams, and among those of the caller.
    fn open_stream(&self, call: &Call) -> Result<Place, A2aError> {
        if !self.0.offer.streaming {
            return Err(A2aError::UnsupportedOperation("this agent does not stream".into()));
        }
        let of_all = self.0.streams.clone().try_acquire_owned();
        let of_all =
            of_all.map_err(|_| A2aError::Unavailable("too many streams are open".into()))?;
        let of_caller = call.permit.open_stream();
        let exceeded = |error: Exceeded| A2aError::ResourceExhausted(error.to_string());
        Ok(Place { _of_all: of_all, _of_caller: of_caller.map_err(exceeded)? })
    }
}

/// The owner of the tasks of a request.
fn owner(call: &Call, tenant: &str) -> Result<TaskOwner, A2aError> {
    check::name(tenant, "tenant", check::LONGEST_NAME)?;
    Ok(call.caller.owner(tenant))
}

/// Where a push configuration stands in a message's request.
const PUSH_FIELD: &str = "configuration.taskPushNotificationConfig.";
