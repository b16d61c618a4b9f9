"""One agent over one of its interfaces, with the official SDK: everything a client can do."""

import asyncio
from contextlib import asynccontextmanager
import uuid

from a2a.client import ClientConfig, ClientFactory
from a2a.helpers import get_message_text, new_message
from a2a.types.a2a_pb2 import (
    AgentCard,
    AuthenticationInfo,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import TaskNotCancelableError, TaskNotFoundError, UnsupportedOperationError
from google.protobuf.json_format import ParseDict

from a2a_agents import new_incident
from a2a_receiver import CREDENTIALS, TOKEN, Receiver

ENDED = (
    TaskState.TASK_STATE_COMPLETED,
    TaskState.TASK_STATE_FAILED,
    TaskState.TASK_STATE_CANCELED,
    TaskState.TASK_STATE_REJECTED,
)
RUNNING = (TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING)


def client_of(http, card, interface, streaming=False):
    """A client that knows no interface but this one."""
    only = AgentCard()
    only.CopyFrom(card)
    del only.supported_interfaces[:]
    only.supported_interfaces.append(interface)
    bindings = [interface.protocol_binding]
    config = ClientConfig(
        httpx_client=http, streaming=streaming, supported_protocol_bindings=bindings
    )
    return ClientFactory(config).create(only)


def request(parts, *, wait=True, context_id=None, task_id=None, push=None, prefix=""):
    message = new_message(parts, role=Role.ROLE_USER, context_id=context_id, task_id=task_id)
    message.message_id = prefix + message.message_id
    configuration = SendMessageConfiguration(return_immediately=not wait)
    if push is not None:
        configuration.task_push_notification_config.CopyFrom(push)
    return SendMessageRequest(message=message, configuration=configuration)


async def send(client, parts, **options):
    events = [event async for event in client.send_message(request(parts, **options))]
    assert len(events) == 1 and events[0].HasField("task"), events
    return events[0].task


async def until_ended(client, task):
    while task.status.state not in ENDED:
        await asyncio.sleep(0.05)
        task = await client.get_task(GetTaskRequest(id=task.id))
    return task


@asynccontextmanager
async def refused(*errors):
    try:
        yield
    except errors:
        return
    raise AssertionError(f"was not refused with {errors}")


class Exchange:
    """What is said to one agent over one interface."""

    def __init__(self, http, card, interface, agent):
        self.agent = agent
        self.client = client_of(http, card, interface)
        self.streaming = client_of(http, card, interface, streaming=True)
        self.is_legacy = interface.protocol_version.startswith("0.")
        self.name = f"{agent.name}, {interface.protocol_binding} {interface.protocol_version}"

    async def everything(self, has_push):
        task = await self.blocking()
        await self.immediate()
        await self.stream()
        await self.second_turn(task)
        await self.refusals(task)
        if has_push:
            await self.push()
            await self.push_configs(task)

    async def send(self, parts, **options):
        return await send(self.client, parts, prefix=self.agent.prefix, **options)

    async def blocking(self):
        incident = new_incident()
        task = await self.send(self.agent.data_parts(incident))
        assert task.status.state in ENDED, task
        self.agent.holds(task, incident)
        state, text = TaskState.Name(task.status.state), get_message_text(task.status.message)
        print(f"{self.name}: {task.id} {state}: {text[:100]}")
        again = await self.client.get_task(GetTaskRequest(id=task.id))
        assert (again.id, again.status.state) == (task.id, task.status.state), again
        assert again.history and again.history[0].role == Role.ROLE_USER, again
        if not self.is_legacy:
            short = await self.client.get_task(GetTaskRequest(id=task.id, history_length=0))
            assert not short.history, short
        return task

    async def immediate(self):
        incident = new_incident()
        task = await self.send(self.agent.data_parts(incident), wait=False)
        task = await until_ended(self.client, task)
        self.agent.holds(task, incident)

    async def stream(self):
        incident = new_incident()
        asked = request(self.agent.data_parts(incident), prefix=self.agent.prefix)
        events = [event async for event in self.streaming.send_message(asked)]
        kinds = [event.WhichOneof("payload") for event in events]
        assert kinds[0] == "task" and kinds[-1] == "status_update", kinds
        assert events[-1].status_update.status.state in ENDED, events
        task = await self.client.get_task(GetTaskRequest(id=events[0].task.id))
        streamed = [e.artifact_update.artifact for e in events if e.HasField("artifact_update")]
        assert {a.artifact_id for a in streamed} == {a.artifact_id for a in task.artifacts}, events
        assert events[-1].status_update.status == task.status, (events, task)
        self.agent.holds(task, incident)

    async def second_turn(self, first):
        """The next message in the same context is a task of its own beside the first."""
        parts = self.agent.text_parts()
        second = await self.send(parts, context_id=first.context_id)
        assert second.context_id == first.context_id and second.id != first.id, second
        if self.is_legacy:
            return
        context = ListTasksRequest(context_id=first.context_id)
        listed = await self.client.list_tasks(context)
        assert [task.id for task in listed.tasks] == [second.id, first.id], listed
        assert not any(task.artifacts for task in listed.tasks), listed
        page = ListTasksRequest(
            context_id=first.context_id, page_size=1, include_artifacts=bool(first.artifacts)
        )
        newest = await self.client.list_tasks(page)
        assert newest.total_size == 2 and newest.next_page_token, newest
        page.page_token = newest.next_page_token
        oldest = await self.client.list_tasks(page)
        assert [task.id for task in oldest.tasks] == [first.id], oldest
        assert len(oldest.tasks[0].artifacts) == len(first.artifacts), oldest
        assert not oldest.next_page_token, oldest

    async def refusals(self, ended):
        async with refused(TaskNotCancelableError):
            await self.client.cancel_task(CancelTaskRequest(id=ended.id))
        async with refused(UnsupportedOperationError):
            await self.send(self.agent.text_parts(), task_id=ended.id)
        async with refused(TaskNotFoundError):
            await self.client.get_task(GetTaskRequest(id="nobody-knows-this"))

    async def push(self):
        """Every event of a task is posted in order, and the last one says how it ended."""
        incident = new_incident()
        with Receiver() as receiver:
            config = TaskPushNotificationConfig(
                id="mine",
                url=receiver.url,
                token=TOKEN,
                authentication=AuthenticationInfo(scheme="Bearer", credentials=CREDENTIALS),
            )
            parts = self.agent.data_parts(incident)
            task = await self.send(parts, push=config)
            posted = await asyncio.to_thread(receiver.until, is_end)
        for headers, _ in posted:
            assert headers["authorization"] == f"Bearer {CREDENTIALS}", headers
            assert headers["x-a2a-notification-token"] == TOKEN, headers
        if not self.is_legacy:
            events = [ParseDict(body, StreamResponse()) for _, body in posted]
            assert events[-1].status_update.status == task.status, (events, task)

    async def push_configs(self, task):
        config = TaskPushNotificationConfig(
            task_id=task.id, id=uuid.uuid4().hex, url="http://127.0.0.1:65000/nobody"
        )
        made = await self.client.create_task_push_notification_config(config)
        assert (made.id, made.url) == (config.id, config.url), made
        one = GetTaskPushNotificationConfigRequest(task_id=task.id, id=config.id)
        assert (await self.client.get_task_push_notification_config(one)).url == config.url
        every = ListTaskPushNotificationConfigsRequest(task_id=task.id)
        listed = await self.client.list_task_push_notification_configs(every)
        assert [known.id for known in listed.configs] == [config.id], listed
        gone = DeleteTaskPushNotificationConfigRequest(task_id=task.id, id=config.id)
        await self.client.delete_task_push_notification_config(gone)
        listed = await self.client.list_task_push_notification_configs(every)
        assert not listed.configs, listed


def is_end(body):
    """Whether a notification, in the shape of either protocol version, ends its task."""
    status = body.get("statusUpdate", body).get("status", {})
    state = status.get("state", "").lower().removeprefix("task_state_")
    return state in ("completed", "failed", "canceled", "rejected")
