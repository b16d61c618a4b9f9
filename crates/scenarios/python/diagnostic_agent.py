"""A diagnostic agent that owes nothing to Firebreak: the official A2A SDK, one cause, one screen.

It publishes its card, takes the incident/v1 data part `Brief`, asks Prometheus two questions, and
answers with an artifact that holds a `Diagnosis`. A brief it knows nothing of, or a message without
one, it answers in words. Address and Prometheus come from FIREBREAK_LISTEN and PROMETHEUS_URL.
"""

from datetime import datetime, timezone
import os

from a2a.helpers import get_data_parts, new_data_part, new_task_from_user_message, new_text_message
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentSkill,
    Role,
)
import httpx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
import uvicorn

EXTENSION = "https://firebreak.dev/a2a/extensions/incident/v1"
LISTEN = os.environ["FIREBREAK_LISTEN"]
PROMETHEUS = os.environ["PROMETHEUS_URL"]
# What shows an exhausted connection pool: callers wait, and there are as many connections as may be.
QUERIES = {
    "waiting": 'max(db_connection_pool_pending{server="%s"})',
    "free": 'max(db_connection_pool_size{server="%s"}) - max(db_connections_active{server="%s"})',
}


def now():
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


async def ask(client, name, query):
    """One piece of evidence, or None where Prometheus knows no value."""
    start = now()
    answer = await client.get(f"{PROMETHEUS}/api/v1/query", params={"query": query})
    result = answer.raise_for_status().json()["data"]["result"]
    if not result:
        return None
    value = float(result[0]["value"][1])
    return {
        "name": name,
        "tool": "prometheus",
        "query": query,
        "start": start,
        "end": now(),
        "value": value,
        "summary": f"connections {name}: {value:g}",
    }


async def diagnose(brief):
    started = now()
    server = brief["alerts"][0]["labels"].get("server", "")
    async with httpx.AsyncClient(timeout=5) as client:
        asked = [
            await ask(client, name, query.replace("%s", server)) for name, query in QUERIES.items()
        ]
    evidence = [found for found in asked if found]
    value = {found["name"]: found["value"] for found in evidence}
    is_exhausted = value.get("waiting", 0) > 0 and value.get("free", 1) <= 0
    return {
        "type": "Diagnosis",
        "incident_id": brief["incident"]["id"],
        "cause": "db.connection_pool_exhausted" if is_exhausted else None,
        "summary": f"a stranger looked at {server}: "
        + ("its connection pool is exhausted" if is_exhausted else "nothing it knows"),
        "target": server if is_exhausted else None,
        "confidence": 0.9 if is_exhausted else 0,
        "evidence": evidence,
        "runbooks": ["raise-connection-pool"] if is_exhausted else [],
        "started_at": started,
        "finished_at": now(),
    }


class Diagnostician(AgentExecutor):
    async def execute(self, context, event_queue):
        briefs = [
            data for data in get_data_parts(context.message.parts) if data.get("type") == "Brief"
        ]
        if not briefs:
            words = new_text_message("I look at briefs only", role=Role.ROLE_AGENT)
            await event_queue.enqueue_event(words)
            return
        task = context.current_task or new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work()
        # Under a name of its own: what counts is the data part.
        await updater.add_artifact([new_data_part(await diagnose(briefs[0]))], name="my findings")
        await updater.complete()

    async def cancel(self, context, event_queue):
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def main():
    card = AgentCard(
        name="stranger",
        description="Finds exhausted connection pools",
        version="1",
        supported_interfaces=[
            AgentInterface(
                url=f"http://{LISTEN}/rpc", protocol_binding="JSONRPC", protocol_version="1.0"
            )
        ],
        capabilities=AgentCapabilities(
            streaming=True, extensions=[AgentExtension(uri=EXTENSION)]
        ),
        default_input_modes=["application/json"],
        default_output_modes=["application/json"],
        skills=[
            AgentSkill(id="diagnose", name="diagnose", description="Brief in, Diagnosis out")
        ],
    )
    handler = DefaultRequestHandler(
        agent_executor=Diagnostician(), task_store=InMemoryTaskStore(), agent_card=card
    )
    ready = Route("/readyz", lambda request: PlainTextResponse("ready"))
    routes = create_agent_card_routes(card) + create_jsonrpc_routes(handler, "/rpc") + [ready]
    host, port = LISTEN.rsplit(":", 1)
    uvicorn.run(Starlette(routes=routes), host=host, port=int(port))


if __name__ == "__main__":
    main()
