"""Speaks to agents with the official A2A SDK, as a stranger would.

    a2a_check.py exchange [OPTIONS] INGRESS DIAGNOSTIC RESOLUTION TICKETING
    a2a_check.py sut [OPTIONS] SUT
    a2a_check.py cancel [OPTIONS] AGENT
    a2a_check.py approval [OPTIONS] DIAGNOSTIC RESOLUTION

`exchange` reads the four cards and does with each agent, over each interface of its card, all that
a client can do; `sut` does it with the agent of conformance kits. `cancel` cancels a task that is still running; the caller sees to it that a
diagnosis of db-server-01 takes its time. `approval` takes a diagnosis of db-server-01, which must
be ill, to the resolution agent, is asked for its approval and declines. The agents' base URLs are
arguments; a broken claim ends it.
"""

import argparse
import asyncio
from pathlib import Path

from a2a.client import A2ACardResolver
from a2a.helpers import get_data_parts, get_message_text, new_data_part
from a2a.types.a2a_pb2 import CancelTaskRequest, GetExtendedAgentCardRequest, GetTaskRequest, TaskState
import httpx

from a2a_agents import AGENTS, EXTENSION, SUT, brief, data_of, new_incident
from a2a_exchange import RUNNING, Exchange, client_of, send

BINDINGS = {("JSONRPC", "1.0"), ("HTTP+JSON", "1.0")}
LEGACY = {("JSONRPC", "0.3")}


async def read_card(http, url):
    card = await A2ACardResolver(http, url).get_agent_card()
    assert all(i.url.startswith(url) for i in card.supported_interfaces), card
    assert card.skills and all(skill.id and skill.description for skill in card.skills), card
    print(f"{card.name}: {', '.join(skill.id for skill in card.skills)}")
    return card


async def exchange(http, agents, args):
    has_push, has_legacy = args.push, args.has_legacy
    for agent, url in zip(agents, args.urls, strict=True):
        card = await read_card(http, url)
        offered = {(i.protocol_binding, i.protocol_version) for i in card.supported_interfaces}
        assert offered == (BINDINGS | LEGACY if has_legacy else BINDINGS), offered
        extensions = [extension.uri for extension in card.capabilities.extensions]
        assert agent is SUT or EXTENSION in extensions, card
        assert card.capabilities.streaming, card
        assert card.capabilities.push_notifications or not has_push, card
        for interface in card.supported_interfaces:
            await Exchange(http, card, interface, agent).everything(has_push)
            if card.capabilities.extended_agent_card:
                client = client_of(http, card, interface)
                extended = await client.get_extended_agent_card(GetExtendedAgentCardRequest())
                assert extended.name == card.name, extended
                assert len(extended.capabilities.extensions) > len(card.capabilities.extensions)


async def cancel(http, url):
    card = await read_card(http, url)
    for interface in card.supported_interfaces:
        client = client_of(http, card, interface)
        asked = brief(new_incident(), "DatabaseConnectionTimeout", "db-server-01")
        task = await send(client, [new_data_part(asked)], wait=False)
        assert task.status.state in RUNNING, task
        task = await client.cancel_task(CancelTaskRequest(id=task.id))
        assert task.status.state == TaskState.TASK_STATE_CANCELED, task
        again = await client.get_task(GetTaskRequest(id=task.id))
        assert again.status.state == TaskState.TASK_STATE_CANCELED, again
        print(f"{card.name}, {interface.protocol_binding}: {task.id} cancelled")


async def approval(http, diagnostic, resolution):
    card = await read_card(http, diagnostic)
    client = client_of(http, card, card.supported_interfaces[0])
    asked = brief(new_incident(), "DatabaseConnectionTimeout", "db-server-01")
    async with asyncio.timeout(60):
        # An alert fires before all that shows its cause is there.
        while not (diagnosis := await diagnosed(client, asked)).get("cause"):
            await asyncio.sleep(0.5)
    card = await read_card(http, resolution)
    for interface in card.supported_interfaces:
        client = client_of(http, card, interface)
        task = await asked_for_approval(client, asked, diagnosis)
        plan = get_data_parts(task.status.message.parts)[0]
        text = get_message_text(task.status.message)
        answer = {
            "type": "Approval",
            "plan_hash": text.split("plan_hash ")[1].split(",")[0],
            "approved": False,
            "by": "a stranger",
        }
        ended = await send(client, [new_data_part(answer)], task_id=task.id)
        assert ended.id == task.id, ended
        outcome = data_of(ended, "Outcome")
        assert outcome["result"] == "refused" and not outcome["steps"], outcome
        print(f"{card.name}, {interface.protocol_binding}: {plan['runbook']} was declined")
        waiting = await asked_for_approval(client, asked, diagnosis)
        gone = await client.cancel_task(CancelTaskRequest(id=waiting.id))
        assert gone.status.state == TaskState.TASK_STATE_CANCELED, gone


async def diagnosed(client, asked):
    return data_of(await send(client, [new_data_part(asked)]), "Diagnosis")


async def asked_for_approval(client, asked, diagnosis):
    task = await send(client, [new_data_part(asked), new_data_part(diagnosis)])
    assert task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED, task
    return task


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, count in (("exchange", 4), ("sut", 1), ("cancel", 1), ("approval", 2)):
        command = commands.add_parser(name)
        command.add_argument("urls", nargs=count)
        command.add_argument("--push", action="store_true", help="they send to 127.0.0.1")
        command.add_argument("--v0.3", action="store_true", dest="has_legacy", help="they speak it")
        command.add_argument("--token-file", type=Path, help="holds what they ask for")
    return parser.parse_args()


async def main():
    args = arguments()
    token = args.token_file and args.token_file.read_text().strip()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(timeout=60, headers=headers) as http:
        match args.command:
            case "exchange":
                await exchange(http, AGENTS, args)
            case "sut":
                await exchange(http, [SUT], args)
            case "cancel":
                await cancel(http, *args.urls)
            case "approval":
                await approval(http, *args.urls)


asyncio.run(main())
