// One agent over one of its interfaces, with the official SDK: everything a client can do.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

import { ListTasksRequest, SendMessageRequest, StreamResponse, Task } from '@a2a-js/sdk';
import {
  ClientFactory,
  ClientFactoryOptions,
  JsonRpcTransportFactory,
  RestTransportFactory,
} from '@a2a-js/sdk/client';

import { newIncident } from './agents.mjs';
import { CREDENTIALS, Receiver, TOKEN, isEnd } from './receiver.mjs';

const ENDED = ['COMPLETED', 'FAILED', 'CANCELED', 'REJECTED'].map((state) => `TASK_STATE_${state}`);

/** A client that knows no interface but this one. */
export function clientOf(card, offered, fetchImpl) {
  const options = { fetchImpl, legacyCompat: { enabled: true } };
  const factory = new ClientFactory(
    ClientFactoryOptions.createFrom(ClientFactoryOptions.default, {
      transports: [new JsonRpcTransportFactory(options), new RestTransportFactory(options)],
    }),
  );
  return factory.createFromAgentCard({ ...card, supportedInterfaces: [offered] });
}

export const text = (value) => ({ text: value });
export const data = (value) => ({ data: value, mediaType: 'application/json' });

function request(parts, { wait = true, contextId, taskId, push, prefix = '' } = {}) {
  return SendMessageRequest.fromJSON({
    message: { messageId: prefix + randomUUID(), role: 'ROLE_USER', parts, contextId, taskId },
    configuration: { returnImmediately: !wait, taskPushNotificationConfig: push },
  });
}

/** Sends a message and returns its task as the JSON it is. */
export async function send(client, parts, options) {
  const answer = await client.sendMessage(request(parts, options));
  assert(answer.status, JSON.stringify(answer));
  return Task.toJSON(answer);
}

export const get = async (client, id, historyLength) =>
  Task.toJSON(await client.getTask({ tenant: '', id, historyLength }));

async function untilEnded(client, task) {
  while (!ENDED.includes(task.status.state)) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    task = await get(client, task.id);
  }
  return task;
}

const refused = (call, reason) =>
  assert.rejects(call, (error) => {
    assert.equal(error.reason, reason, error);
    return true;
  });

/** What is said to one agent over one interface. */
export class Exchange {
  constructor(client, offered, agent) {
    Object.assign(this, { client, agent });
    this.isLegacy = offered.protocolVersion.startsWith('0.');
    this.name = `${agent.name}, ${offered.protocolBinding} ${offered.protocolVersion}`;
  }

  async everything(hasPush) {
    const task = await this.blocking();
    await this.immediate();
    await this.stream();
    await this.secondTurn(task);
    await this.refusals(task);
    if (hasPush) {
      await this.push();
      await this.pushConfigs(task);
    }
  }

  asked(incident) {
    return this.agent.data(incident).map(data);
  }

  send(parts, options) {
    return send(this.client, parts, { prefix: this.agent.prefix, ...options });
  }

  async blocking() {
    const incident = newIncident();
    const task = await this.send(this.asked(incident));
    assert(ENDED.includes(task.status.state), JSON.stringify(task));
    this.agent.holds(task, incident);
    console.log(`${this.name}: ${task.id} ${task.status.state}`);
    const again = await get(this.client, task.id);
    assert.deepEqual(again.status, task.status);
    assert.equal(again.history[0].role, 'ROLE_USER');
    if (!this.isLegacy) assert(!(await get(this.client, task.id, 0)).history?.length);
    return task;
  }

  async immediate() {
    const incident = newIncident();
    const task = await this.send(this.asked(incident), { wait: false });
    this.agent.holds(await untilEnded(this.client, task), incident);
  }

  async stream() {
    const incident = newIncident();
    const events = [];
    const asked = request(this.asked(incident), { prefix: this.agent.prefix });
    for await (const event of this.client.sendMessageStream(asked)) {
      events.push(StreamResponse.toJSON(event));
    }
    const last = events.at(-1).statusUpdate;
    assert(events[0].task && ENDED.includes(last?.status.state), JSON.stringify(events));
    const task = await get(this.client, events[0].task.id);
    assert.deepEqual(last.status, task.status);
    const streamed = events.flatMap((event) => event.artifactUpdate?.artifact.artifactId ?? []);
    const made = (task.artifacts ?? []).map((artifact) => artifact.artifactId);
    assert.deepEqual(new Set(streamed), new Set(made));
    this.agent.holds(task, incident);
  }

  /** The next message in the same context is a task of its own beside the first. */
  async secondTurn(first) {
    const { contextId } = first;
    const second = await this.send([text(this.agent.text)], { contextId });
    assert.equal(second.contextId, contextId);
    assert.notEqual(second.id, first.id);
    if (this.isLegacy) return;
    const list = (more) => this.client.listTasks(ListTasksRequest.fromJSON({ contextId, ...more }));
    const ids = ({ tasks }) => tasks.map((task) => task.id);
    const listed = await list({});
    assert.deepEqual(ids(listed), [second.id, first.id]);
    assert(listed.tasks.every((task) => !task.artifacts.length));
    const newest = await list({ pageSize: 1, includeArtifacts: true });
    assert.equal(newest.totalSize, 2);
    const pageToken = newest.nextPageToken;
    const oldest = await list({ pageSize: 1, includeArtifacts: true, pageToken });
    assert.deepEqual(ids(oldest), [first.id]);
    assert.equal(oldest.tasks[0].artifacts.length, first.artifacts?.length ?? 0);
    assert.equal(oldest.nextPageToken, '');
  }

  async refusals({ id }) {
    const parts = [text(this.agent.text)];
    await refused(this.client.cancelTask({ tenant: '', id }), 'TASK_NOT_CANCELABLE');
    await refused(this.send(parts, { taskId: id }), 'UNSUPPORTED_OPERATION');
    await refused(get(this.client, 'nobody-knows-this'), 'TASK_NOT_FOUND');
  }

  /** Every event of a task is posted in order, and the last one says how it ended. */
  async push() {
    const receiver = await Receiver.open();
    try {
      const authentication = { scheme: 'Bearer', credentials: CREDENTIALS };
      const push = { id: 'mine', url: receiver.url, token: TOKEN, authentication };
      const task = await this.send(this.asked(newIncident()), { push });
      const posted = await receiver.until(isEnd);
      for (const { headers } of posted) {
        assert.equal(headers.authorization, `Bearer ${CREDENTIALS}`);
        assert.equal(headers['x-a2a-notification-token'], TOKEN);
      }
      if (!this.isLegacy) assert.deepEqual(posted.at(-1).body.statusUpdate.status, task.status);
    } finally {
      receiver.close();
    }
  }

  async pushConfigs({ id: taskId }) {
    const known = { tenant: '', taskId, id: randomUUID() };
    const config = { ...known, url: 'http://127.0.0.1:65000/nobody', token: '' };
    const made = await this.client.createTaskPushNotificationConfig(config);
    assert.deepEqual([made.id, made.url], [config.id, config.url]);
    assert.equal((await this.client.getTaskPushNotificationConfig(known)).url, config.url);
    const every = { tenant: '', taskId, pageSize: 0, pageToken: '' };
    const listed = async () => (await this.client.listTaskPushNotificationConfig(every)).configs;
    assert.deepEqual((await listed()).map((config) => config.id), [known.id]);
    await this.client.deleteTaskPushNotificationConfig(known);
    assert.deepEqual(await listed(), []);
  }
}
