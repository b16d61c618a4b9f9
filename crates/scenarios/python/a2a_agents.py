"""What a stranger asks each of the four agents, and what must come back."""

from dataclasses import dataclass
from typing import Any, Callable
import uuid

from a2a.helpers import get_data_parts, new_data_part, new_text_part

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
                "source": "stranger",
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
        "description": "Reported by the check of an official SDK",
        "severity": "warning",
        "status": "investigating",
    }


def new_incident():
    return f"inc_{uuid.uuid4().hex}"


def data_of(task, kind):
    """The newest data part of this type among a task's artifacts."""
    found = [
        data
        for artifact in task.artifacts
        for data in get_data_parts(artifact.parts)
        if data.get("type") == kind
    ]
    assert found, f"no {kind} in {task}"
    return found[-1]


@dataclass(frozen=True)
class Agent:
    name: str
    # A question in plain text.
    text: str
    # The data parts of an incident, and what the finished task must hold of them.
    data: Callable[[str], list[dict]]
    holds: Callable[[Any, str], None]
    # What its message ids begin with.
    prefix: str = ""

    def text_parts(self):
        return [new_text_part(self.text)]

    def data_parts(self, incident):
        return [new_data_part(data) for data in self.data(incident)]


def holds_incident(task, incident):
    told = [data for artifact in task.artifacts for data in get_data_parts(artifact.parts)]
    assert told and told[0]["incidents"], task


def holds_diagnosis(task, incident):
    assert data_of(task, "Diagnosis")["incident_id"] == incident, task


def holds_outcome(task, incident):
    outcome = data_of(task, "Outcome")
    assert outcome["result"] == "no_runbook" and not outcome["steps"], outcome


def holds_ticket(task, incident):
    assert data_of(task, "Ticket")["key"], task


def holds_text(task, incident):
    assert task.artifacts[0].parts[0].text == "Streamed text content", task


# The agent of conformance kits, which does what message ids say.
SUT = Agent(
    "tck-sut",
    "hello",
    lambda incident: [brief(incident)],
    holds_text,
    prefix="tck-stream-artifact-text-",
)
AGENTS = (
    Agent("ingress", "list incidents", lambda incident: [brief(incident)], holds_incident),
    Agent(
        "diagnostic-agent",
        "why is db-server-01 slow?",
        lambda incident: [brief(incident)],
        holds_diagnosis,
    ),
    Agent(
        "resolution-agent",
        "what can you do?",
        lambda incident: [brief(incident), diagnosis(incident)],
        holds_outcome,
    ),
    Agent(
        "ticketing-agent",
        "where do the tickets stand?",
        lambda incident: [ticket_update(incident)],
        holds_ticket,
    ),
)
