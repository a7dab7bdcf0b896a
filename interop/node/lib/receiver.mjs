// A receiver such as a user would write: Node's own HTTP server, and published libraries that verify.
import { createServer } from "node:http";
import { Webhooks } from "@octokit/webhooks";
import { Webhook } from "standardwebhooks";

/**
 * Listens on a free port of the loopback address.
 *
 * Every request is kept in `received`, in order, with what each library said of it. `answer(delivery)` chooses
 * the status; by default a delivery that both libraries accept gets 200 and any other 400.
 */
export async function startReceiver(secret, answer = defaultAnswer) {
  const hub = new Webhooks({ secret });
  const standard = new Webhook(secret);
  const emitted = [];
  hub.onAny((event) => { emitted.push(event); });
  const received = [];
  const waiting = [];
  const server = createServer((request, response) => {
    readBody(request)
      .then(async (body) => {
        const delivery = await judge(hub, standard, request, body);
        const status = answer(delivery, received.length);
        delivery.answered = status;
        received.push(delivery);
        response.writeHead(status).end();
        for (const waiter of waiting) waiter();
      })
      .catch((error) => response.destroy(error));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/hooks?from=postrider`,
    received,
    emitted,
    arrived: (count) => until(() => received.length >= count, waiting),
    stop: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }),
  };
}

const defaultAnswer = (delivery) => (delivery.hub === null && delivery.standard === null ? 200 : 400);

async function judge(hub, standard, request, body) {
  const text = body.toString("utf8");
  const { headers } = request;
  return {
    method: request.method,
    path: request.url,
    headers,
    body,
    hub: await refusal(() => hub.verifyAndReceive({
      id: headers["x-postrider-delivery-id"],
      name: headers["x-postrider-event"],
      signature: headers["x-hub-signature-256"],
      payload: text,
    })),
    standard: await refusal(() => standard.verify(text, headers)),
  };
}

/** Why a library refused, or null if it did not. */
async function refusal(verify) {
  try {
    await verify();
    return null;
  } catch (error) {
    return String(error);
  }
}

async function readBody(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

/** Waits until `holds()`; asked again whenever something arrives. */
function until(holds, waiting) {
  return new Promise((resolve) => {
    const look = () => {
      if (!holds()) return false;
      resolve();
      return true;
    };
    if (look()) return;
    const waiter = () => {
      if (look()) waiting.splice(waiting.indexOf(waiter), 1);
    };
    waiting.push(waiter);
  });
}
