"""Speaks to agents with the official A2A SDK, as a stranger would.

    a2a_check.py tasks INGRESS DIAGNOSTIC RESOLUTION TICKETING
    a2a_check.py cancel AGENT

`tasks` reads the four cards and runs a task in plain text and one with data on each agent, reads it
back, and sees a finished one refuse to be cancelled. `cancel` cancels a task that is still running;
the caller sees to it that a diagnosis of db-server-01 takes its time. The agents' base URLs are
arguments; a broken claim ends it.
"""

import asyncio
import sys
import uuid

from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.helpers import get_data_parts, get_message_text, new_data_part, new_message, new_text_part
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    GetTaskRequest,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    TaskState,
)
from a2a.utils.errors import TaskNotCancelableError, TaskNotFoundError
import httpx

EXTENSION = "https://firebreak.dev/a2a/extensions/incident/v1"
AT = "2026-01-31T12:00:00Z"


def brief(incident, alert="CertificateExpiresSoon", server="edge-server-09"):
    """An incident with one alert, usually on a server that no other incident of the test has."""
    labels = {"alertname": alert, "server": server}
    return {
        "type": "Brief",
        "incident": {
            "id": incident,
            "title": f"{alert} on {server}",
            "severity": "warning",
            "opened_at": AT,
        },
        "alerts": [
            {
                "source": "python",
                "fingerprint": uuid.uuid4().hex,
                "status": "firing",
                "name": alert,
                "severity": "warning",
                "labels": labels,
                "annotations": {},
                "starts_at": AT,
            }
        ],
    }


def diagnosis(incident):
    """A cause that no runbook mends: the resolution agent must say so and do nothing."""
    return {
        "type": "Diagnosis",
        "incident_id": incident,
        "cause": "edge.certificate_expires",
        "summary": "the certificate expires",
        "target": "edge-server-09",
        "confidence": 0.9,
        "evidence": [],
        "started_at": AT,
        "finished_at": AT,
    }


def ticket_update(incident):
    return {
        "type": "TicketUpdate",
        "incident_id": incident,
        "title": "Certificate of edge-server-09 expires",
        "description": "Reported by the check of the official SDK",
        "severity": "warning",
        "status": "investigating",
    }


async def read_card(http, url):
    card = await A2ACardResolver(http, url).get_agent_card()
    interface = card.supported_interfaces[0]
    assert interface.protocol_version == "1.0", interface
    assert interface.url.startswith(url), f"{interface.url} is not below {url}"
    assert EXTENSION in [extension.uri for extension in card.capabilities.extensions], card
    assert card.skills and all(skill.id and skill.description for skill in card.skills), card
    print(f"{card.name}: {', '.join(skill.id for skill in card.skills)}")
    return card


async def send(client, parts, wait=True):
    request = SendMessageRequest(
        message=new_message(parts, role=Role.ROLE_USER),
        configuration=SendMessageConfiguration(return_immediately=not wait),
    )
    events = [event async for event in client.send_message(request)]
    assert events and events[-1].HasField("task"), events
    return events[-1].task


async def finish(client, name, parts):
    """Runs one task to its end and reads it back."""
    task = await send(client, parts)
    state = TaskState.Name(task.status.state)
    print(f"{name}: {task.id} {state}: {get_message_text(task.status.message)[:100]}")
    again = await client.get_task(GetTaskRequest(id=task.id))
    assert again.id == task.id and again.status.state == task.status.state, again
    assert again.history and again.history[0].role == Role.ROLE_USER, again
    try:
        await client.cancel_task(CancelTaskRequest(id=task.id))
    except TaskNotCancelableError:
        return again
    raise AssertionError(f"{name}: a task in {state} was cancelled")


def data_of(task, kind):
    found = [
        data
        for artifact in task.artifacts
        for data in get_data_parts(artifact.parts)
        if data.get("type") == kind
    ]
    assert found, f"no {kind} in {task}"
    return found[-1]


def is_completed(task):
    assert task.status.state == TaskState.TASK_STATE_COMPLETED, task


async def tasks(urls):
    incident = f"inc_{uuid.uuid4().hex}"
    async with httpx.AsyncClient(timeout=60) as http:
        cards = [await read_card(http, url) for url in urls]
        factory = ClientFactory(ClientConfig(httpx_client=http, streaming=False))
        ingress, diagnostic, resolution, ticketing = [factory.create(card) for card in cards]

        is_completed(await finish(ingress, "ingress, text", [new_text_part("list incidents")]))
        task = await finish(ingress, "ingress, data", [new_data_part(brief(incident))])
        is_completed(task)
        told = [data for artifact in task.artifacts for data in get_data_parts(artifact.parts)]
        assert told[0]["incidents"], told

        text = [new_text_part("why is db-server-01 slow?")]
        task = await finish(diagnostic, "diagnostic-agent, text", text)
        is_completed(task)
        data_of(task, "Diagnosis")
        task = await finish(diagnostic, "diagnostic-agent, data", [new_data_part(brief(incident))])
        is_completed(task)
        assert data_of(task, "Diagnosis")["incident_id"] == incident, task

        text = [new_text_part("what can you do?")]
        await finish(resolution, "resolution-agent, text", text)
        parts = [new_data_part(brief(incident)), new_data_part(diagnosis(incident))]
        task = await finish(resolution, "resolution-agent, data", parts)
        outcome = data_of(task, "Outcome")
        assert outcome["result"] == "no_runbook" and not outcome["steps"], outcome

        parts = [new_data_part(ticket_update(incident))]
        task = await finish(ticketing, "ticketing-agent, data", parts)
        is_completed(task)
        key = data_of(task, "Ticket")["key"]
        text = [new_text_part(f"where does the ticket of {incident} stand?")]
        task = await finish(ticketing, "ticketing-agent, text", text)
        is_completed(task)
        assert key in get_message_text(task.status.message), task

        for client in (ingress, diagnostic, resolution, ticketing):
            try:
                await client.get_task(GetTaskRequest(id="nobody-knows-this"))
            except TaskNotFoundError:
                continue
            raise AssertionError("a task that never was is found")


async def cancel(url):
    async with httpx.AsyncClient(timeout=60) as http:
        card = await read_card(http, url)
        client = ClientFactory(ClientConfig(httpx_client=http, streaming=False)).create(card)
        incident = f"inc_{uuid.uuid4().hex}"
        asked = brief(incident, "DatabaseConnectionTimeout", "db-server-01")
        task = await send(client, [new_data_part(asked)], wait=False)
        running = (TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING)
        assert task.status.state in running, task
        task = await client.cancel_task(CancelTaskRequest(id=task.id))
        assert task.status.state == TaskState.TASK_STATE_CANCELED, task
        again = await client.get_task(GetTaskRequest(id=task.id))
        assert again.status.state == TaskState.TASK_STATE_CANCELED, again
        print(f"{card.name}: {task.id} cancelled")


def main():
    match sys.argv[1:]:
        case ["tasks", *urls] if len(urls) == 4:
            asyncio.run(tasks(urls))
        case ["cancel", url]:
            asyncio.run(cancel(url))
        case _:
            sys.exit(__doc__)


main()
