// Speaks to agents with the official A2A SDK for JavaScript, as a stranger would.
//
//     a2a_check.mjs exchange [OPTIONS] INGRESS DIAGNOSTIC RESOLUTION TICKETING
//     a2a_check.mjs sut [OPTIONS] SUT
//     a2a_check.mjs cancel [OPTIONS] AGENT
//     a2a_check.mjs approval [OPTIONS] DIAGNOSTIC RESOLUTION
//
// Options: --push (they send to 127.0.0.1), --v0.3 (they speak it), --token-file FILE. The same
// claims as a2a_check.py makes with the SDK for Python; a broken claim ends it. Run from a directory
// whose node_modules hold what package.json names.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { Task } from '@a2a-js/sdk';
import { DefaultAgentCardResolver } from '@a2a-js/sdk/client';

import { AGENTS, EXTENSION, SUT, brief, dataOf, newIncident } from './agents.mjs';
import { Exchange, clientOf, data, get, send } from './exchange.mjs';

const BINDINGS = ['JSONRPC 1.0', 'HTTP+JSON 1.0'];
const LEGACY = ['JSONRPC 0.3'];

const { values, positionals } = parseArgs({
  options: {
    push: { type: 'boolean', default: false },
    'v0.3': { type: 'boolean', default: false },
    'token-file': { type: 'string' },
  },
  allowPositionals: true,
});
const tokenFile = values['token-file'];
const token = tokenFile && (await readFile(tokenFile, 'utf8')).trim();

/** `fetch`, with the token where there is one. */
function fetchImpl(url, init = {}) {
  const headers = new Headers(init.headers);
  if (token) headers.set('authorization', `Bearer ${token}`);
  return fetch(url, { signal: AbortSignal.timeout(60_000), ...init, headers });
}

async function readCard(url) {
  const card = await new DefaultAgentCardResolver({ fetchImpl }).resolve(url);
  assert(card.supportedInterfaces.every((offered) => offered.url.startsWith(url)));
  assert(card.skills.length && card.skills.every((skill) => skill.id && skill.description));
  console.log(`${card.name}: ${card.skills.map((skill) => skill.id).join(', ')}`);
  return card;
}

async function exchange(agents, urls) {
  assert.equal(urls.length, agents.length);
  for (const [index, agent] of agents.entries()) {
    const card = await readCard(urls[index]);
    const named = card.supportedInterfaces.map((i) => `${i.protocolBinding} ${i.protocolVersion}`);
    assert.deepEqual(new Set(named), new Set(values['v0.3'] ? [...BINDINGS, ...LEGACY] : BINDINGS));
    const extensions = card.capabilities.extensions ?? [];
    assert(agent === SUT || extensions.some(({ uri }) => uri === EXTENSION));
    assert(card.capabilities.streaming);
    assert(card.capabilities.pushNotifications || !values.push);
    for (const offered of card.supportedInterfaces) {
      const client = await clientOf(card, offered, fetchImpl);
      await new Exchange(client, offered, agent).everything(values.push);
      if (card.capabilities.extendedAgentCard) {
        const extended = await client.getAgentCard();
        assert.equal(extended.name, card.name);
        assert(extended.capabilities.extensions.length > extensions.length);
      }
    }
  }
}

const cancelled = async (client, id) => {
  const task = Task.toJSON(await client.cancelTask({ tenant: '', id }));
  assert.equal(task.status.state, 'TASK_STATE_CANCELED');
  assert.equal((await get(client, id)).status.state, 'TASK_STATE_CANCELED');
};

/** A diagnosis of db-server-01 takes its time, the caller sees to it. */
async function cancel(url) {
  const card = await readCard(url);
  for (const offered of card.supportedInterfaces) {
    const client = await clientOf(card, offered, fetchImpl);
    const asked = brief(newIncident(), 'DatabaseConnectionTimeout', 'db-server-01');
    const task = await send(client, [data(asked)], { wait: false });
    assert(['TASK_STATE_SUBMITTED', 'TASK_STATE_WORKING'].includes(task.status.state));
    await cancelled(client, task.id);
    console.log(`${card.name}, ${offered.protocolBinding}: ${task.id} cancelled`);
  }
}

/** Takes a diagnosis of db-server-01, which must be ill, to an agent that asks before it acts. */
async function approval(diagnostic, resolution) {
  const first = await readCard(diagnostic);
  const asked = brief(newIncident(), 'DatabaseConnectionTimeout', 'db-server-01');
  const diagnosing = await clientOf(first, first.supportedInterfaces[0], fetchImpl);
  const diagnosed = async () => dataOf(await send(diagnosing, [data(asked)]), 'Diagnosis');
  const deadline = AbortSignal.timeout(60_000);
  let diagnosis = await diagnosed();
  // An alert fires before all that shows its cause is there.
  while (!diagnosis.cause) {
    await setTimeout(500, undefined, { signal: deadline });
    diagnosis = await diagnosed();
  }
  const card = await readCard(resolution);
  for (const offered of card.supportedInterfaces) {
    const client = await clientOf(card, offered, fetchImpl);
    const ask = async () => {
      const task = await send(client, [data(asked), data(diagnosis)]);
      assert.equal(task.status.state, 'TASK_STATE_INPUT_REQUIRED', JSON.stringify(task));
      return task;
    };
    const task = await ask();
    const question = task.status.message.parts.find((part) => part.text).text;
    const plan_hash = question.match(/plan_hash (\S+),/)[1];
    const answer = { type: 'Approval', plan_hash, approved: false, by: 'a stranger' };
    const ended = await send(client, [data(answer)], { taskId: task.id });
    assert.equal(ended.id, task.id);
    assert.equal(dataOf(ended, 'Outcome').result, 'refused');
    console.log(`${card.name}, ${offered.protocolBinding}: ${task.id} was declined`);
    await cancelled(client, (await ask()).id);
  }
}

const [command, ...urls] = positionals;
const commands = {
  exchange: (...urls) => exchange(AGENTS, urls),
  sut: (url) => exchange([SUT], [url]),
  cancel,
  approval,
};
assert(command in commands, `one of ${Object.keys(commands)}`);
await commands[command](...urls);
