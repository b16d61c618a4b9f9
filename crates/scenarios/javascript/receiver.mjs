// A receiver of push notifications, for checks.

import { once } from 'node:events';
import { createServer } from 'node:http';

export const TOKEN = 'the receiver knows this token';
export const CREDENTIALS = 'the receiver knows these credentials';

/** Takes what is posted to `url`, in order, until it is closed. */
export class Receiver {
  #posted = [];
  #arrived = () => {};

  static async open() {
    const receiver = new Receiver();
    receiver.server = createServer((request, response) => receiver.#take(request, response));
    await once(receiver.server.listen(0, '127.0.0.1'), 'listening');
    receiver.url = `http://127.0.0.1:${receiver.server.address().port}/push`;
    return receiver;
  }

  async #take(request, response) {
    let text = '';
    for await (const piece of request) text += piece;
    this.#posted.push({ headers: request.headers, body: JSON.parse(text) });
    response.writeHead(204).end();
    this.#arrived();
  }

  /** Every notification up to the one that is the last, with its headers. */
  async until(isLast, patience = 20_000) {
    const deadline = AbortSignal.timeout(patience);
    while (!this.#posted.some(({ body }) => isLast(body))) {
      await new Promise((resolve, reject) => {
        this.#arrived = resolve;
        deadline.onabort = () => reject(new Error(`only ${JSON.stringify(this.#posted)}`));
      });
    }
    return this.#posted;
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

/** Whether a notification, in the shape of either protocol version, ends its task. */
export function isEnd(body) {
  const state = (body.statusUpdate ?? body).status?.state ?? '';
  const name = state.toLowerCase().replace('task_state_', '');
  return ['completed', 'failed', 'canceled', 'rejected'].includes(name);
}
