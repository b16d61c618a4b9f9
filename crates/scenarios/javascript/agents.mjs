// What a stranger asks each of the four agents, and what must come back.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

export const EXTENSION = 'https://firebreak.dev/a2a/extensions/incident/v1';
const AT = '2026-01-31T12:00:00Z';

/** An incident with one alert, usually on a server that no other incident of the test has. */
export function brief(incident, alert = 'CertificateExpiresSoon', server = 'edge-server-09') {
  return {
    type: 'Brief',
    incident: { id: incident, title: `${alert} on ${server}`, severity: 'warning', opened_at: AT },
    alerts: [
      {
        source: 'stranger',
        fingerprint: randomUUID().replaceAll('-', ''),
        status: 'firing',
        name: alert,
        severity: 'warning',
        labels: { alertname: alert, server },
        annotations: {},
        starts_at: AT,
      },
    ],
  };
}

/** A cause that no runbook mends: the resolution agent must say so and do nothing. */
function diagnosis(incident) {
  return {
    type: 'Diagnosis',
    incident_id: incident,
    cause: 'edge.certificate_expires',
    summary: 'the certificate expires',
    target: 'edge-server-09',
    confidence: 0.9,
    evidence: [],
    started_at: AT,
    finished_at: AT,
  };
}

function ticketUpdate(incident) {
  return {
    type: 'TicketUpdate',
    incident_id: incident,
    title: 'Certificate of edge-server-09 expires',
    description: 'Reported by the check of an official SDK',
    severity: 'warning',
    status: 'investigating',
  };
}

export const newIncident = () => `inc_${randomUUID().replaceAll('-', '')}`;

const told = (task) => (task.artifacts ?? []).flatMap((made) => made.parts.map((part) => part.data));

/** The newest data part of this type among a task's artifacts. */
export function dataOf(task, type) {
  const found = told(task).filter((data) => data?.type === type);
  assert(found.length, `no ${type} in ${JSON.stringify(task)}`);
  return found.at(-1);
}

// The agent of conformance kits, which does what message ids say.
export const SUT = {
  name: 'tck-sut',
  prefix: 'tck-stream-artifact-text-',
  text: 'hello',
  data: (incident) => [brief(incident)],
  holds: (task) => assert.equal(task.artifacts[0].parts[0].text, 'Streamed text content'),
};

// Of each agent: a question in plain text, the data parts of an incident, and what the finished
// task must hold of them.
export const AGENTS = [
  {
    name: 'ingress',
    text: 'list incidents',
    data: (incident) => [brief(incident)],
    holds: (task) => assert(told(task)[0]?.incidents, JSON.stringify(task)),
  },
  {
    name: 'diagnostic-agent',
    text: 'why is db-server-01 slow?',
    data: (incident) => [brief(incident)],
    holds: (task, incident) => assert.equal(dataOf(task, 'Diagnosis').incident_id, incident),
  },
  {
    name: 'resolution-agent',
    text: 'what can you do?',
    data: (incident) => [brief(incident), diagnosis(incident)],
    holds: (task) => assert.equal(dataOf(task, 'Outcome').result, 'no_runbook'),
  },
  {
    name: 'ticketing-agent',
    text: 'where do the tickets stand?',
    data: (incident) => [ticketUpdate(incident)],
    holds: (task) => assert(dataOf(task, 'Ticket').key),
  },
];
