"""Speaks to the three MCP servers with the official Python SDK, in both protocol generations.

    mcp_check.py LOG_ANALYZER SYSTEM_MONITOR DEPLOYMENT_SYSTEM

The arguments are the servers' endpoints. Only reading tools are called, and one change without a
grant, which must be refused. A broken claim ends it.
"""

import asyncio
from datetime import datetime, timedelta, timezone
import sys

from mcp.client import Client

TOOLS = {
    "log-analyzer": {"search", "patterns"},
    "system-monitor": {"query", "query_range", "snapshot", "rank"},
    "deployment-system": {
        "run_playbook",
        "restart_service",
        "scale",
        "update_config",
        "rollback",
        "status",
    },
}


async def call(client, tool, arguments):
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, f"{tool}: {result}"
    assert isinstance(result.structured_content, dict), f"{tool}: {result}"
    return result.structured_content


async def refused(client, tool, arguments, why):
    """The server says no, in a result or as a protocol error, and names what is wrong."""
    try:
        result = await client.call_tool(tool, arguments)
    except Exception as error:  # the SDK's error types differ between the generations
        said = str(error)
    else:
        assert result.is_error, f"{tool} was not refused: {result}"
        said = str(result)
    assert why in said, f"{tool}: {said}"


async def check_logs(client):
    found = await call(client, "search", {"source": "db-server-01", "limit": 5})
    assert found["lines"] and found["lines"][0]["source"] == "db-server-01", found
    await call(client, "patterns", {"source": "db-server-01"})
    await refused(client, "search", {"source": "db-server-01", "limit": "many"}, "limit")


async def check_metrics(client):
    found = await call(client, "query", {"query": "max(db_connection_pool_size)"})
    assert found["samples"], found
    found = await call(client, "snapshot", {"target": "db-server-01"})
    assert found["signals"], found
    await refused(client, "query", {"query": "max("}, "unclosed")


async def check_deployment(client):
    found = await call(client, "status", {"target": "db-server-01"})
    assert found["target"]["healthy"], found
    before = found["target"]["state"]
    deadline = datetime.now(timezone.utc) + timedelta(seconds=20)
    change = {
        "target": "db-server-01",
        "parameters": {},
        "idempotency_key": "python-check",
        "deadline": deadline.isoformat().replace("+00:00", "Z"),
    }
    await refused(client, "restart_service", change, "grant")
    after = (await call(client, "status", {"target": "db-server-01"}))["target"]["state"]
    assert after.get("generation") == before.get("generation"), (before, after)


async def check(url, name, mode, deep):
    async with Client(url, mode=mode) as client:
        assert client.server_info.name == name, client.server_info
        tools = (await client.list_tools()).tools
        names = {tool.name for tool in tools}
        assert TOOLS[name] <= names, names
        assert all(tool.description and tool.output_schema for tool in tools), tools
        await deep(client)
        print(f"{name}: {client.protocol_version}: {', '.join(sorted(names))}")


async def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    checks = (check_logs, check_metrics, check_deployment)
    for url, name, deep in zip(sys.argv[1:], TOOLS, checks):
        for mode in ("auto", "legacy"):
            await check(url, name, mode, deep)


asyncio.run(main())
