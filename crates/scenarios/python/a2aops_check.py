"""Looks at agents with a2aops: their cards, the authentication they declare, the lives of tasks.

    a2aops_check.py INGRESS DIAGNOSTIC RESOLUTION TICKETING

The arguments are the agents' base URLs. An error or a warning about any of them ends it.
"""

import asyncio
import json
import sys
import urllib.request

from a2a.client import A2ACardResolver
from a2a.types.a2a_pb2 import TaskState
from a2aops.authcheck import check_auth_surface
from a2aops.card import INFO, check_card, fetch_card, format_diagnostics
from a2aops.compat import compat_report, needs_migration
from a2aops.tasks import Observation, TaskInspector, poll_task
import httpx

from a2a_agents import AGENTS, new_incident
from a2a_exchange import client_of, request


def is_clean(what, diagnostics):
    print(f"{what}: {format_diagnostics(diagnostics)}")
    assert all(found.severity == INFO for found in diagnostics), what


def check_documents(agent, url):
    card, fetched = fetch_card(url)
    assert not fetched.legacy_fallback, fetched
    is_clean(f"{agent.name}, card", check_card(card))
    is_clean(f"{agent.name}, auth", check_auth_surface(card))
    assert not needs_migration(compat_report(card, fetched)), agent.name


def get_task(base, task_id):
    """The poll of a2aops with the version: 1.0 reads a request without one as 0.3."""
    asked = urllib.request.Request(f"{base}/tasks/{task_id}", headers={"A2A-Version": "1.0"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.load(answer)


async def check_lifecycle(http, agent, url):
    card = await A2ACardResolver(http, url).get_agent_card()
    rest = next(i for i in card.supported_interfaces if i.protocol_binding == "HTTP+JSON")
    client = client_of(http, card, rest, streaming=True)
    inspector, task_id = TaskInspector(), None
    async for event in client.send_message(request(agent.data_parts(new_incident()))):
        kind = event.WhichOneof("payload")
        if kind == "artifact_update":
            continue
        told = getattr(event, kind)
        task_id = task_id or told.id
        text = " ".join(part.text for part in told.status.message.parts)
        inspector.observe(Observation(task_id, TaskState.Name(told.status.state), message=text))
    poll = {"fetch": get_task, "inspector": inspector, "interval": 0.05, "timeout": 30}
    await asyncio.to_thread(poll_task, rest.url.rstrip("/"), task_id, **poll)
    is_clean(f"{agent.name}, lifecycle", inspector.report())
    assert inspector.summary()["current_by_class"] == {"terminal": 1}, inspector.summary()


async def main(urls):
    async with httpx.AsyncClient(timeout=60) as http:
        for agent, url in zip(AGENTS, urls, strict=True):
            check_documents(agent, url)
            await check_lifecycle(http, agent, url)


if len(sys.argv) != 1 + len(AGENTS):
    sys.exit(__doc__)
asyncio.run(main(sys.argv[1:]))
