// GitHub's own payloads go in, signed by Octokit's library, and must come out byte for byte, with signatures
// that Octokit's and Standard Webhooks' libraries accept.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { sign } from "@octokit/webhooks-methods";
import { awkward, githubEvents, spellings } from "../lib/payloads.mjs";
import { ingest, readDelivery, startPostrider, subscribe, untilStatus, withLimit } from "../lib/postrider.mjs";
import { startReceiver } from "../lib/receiver.mjs";

const SENDERS = 16;
const ARRIVAL_LIMIT_MS = 120_000;
const secret = `whsec_${randomBytes(32).toString("base64")}`;

let postrider;
let receiver;
let subscription;

before(async () => {
  postrider = await startPostrider();
  receiver = await startReceiver(secret);
  subscription = await subscribe(postrider.url, { target_url: receiver.url, secret });
});

after(async () => {
  await receiver?.stop();
  const how = await postrider?.stop();
  assert.ok(how === undefined || how === 0, `the server ended with ${how}`);
});

describe("payloads come out as they went in", () => {
  for (const [name, spell] of Object.entries(spellings)) {
    test(`every example of every GitHub event, spelt ${name}`, async () => {
      const events = githubEvents();
      assert.ok(events.length > 300, `only ${events.length} examples: has the package changed?`);
      await roundTrip(events.map(({ type, value }) => ({ type, text: spell(value) })));
    });
  }

  test("legal JSON that parsers and writers are known to change", async () => {
    await roundTrip(awkward.map((text) => ({ type: "awkward.json", text })));
  });
});

/** Sends all of `messages`, waits for all of them, and compares what each party knows. */
async function roundTrip(messages) {
  const first = receiver.received.length;
  const sent = await sendAll(messages);
  const all = receiver.arrived(first + messages.length);
  await withLimit(all, ARRIVAL_LIMIT_MS, `of ${messages.length} only ${receiver.received.length - first} arrived`);
  const arrived = new Map(receiver.received.slice(first).map((delivery) => [delivery.headers["x-postrider-delivery-id"], delivery]));
  assert.equal(receiver.received.length, first + messages.length, "something arrived twice");
  assert.equal(arrived.size, messages.length, "deliveries share an id");
  const messageIds = new Set([...arrived.values()].map((delivery) => delivery.headers["webhook-id"]));
  assert.equal(messageIds.size, messages.length, "deliveries share a webhook-id");
  for (const message of sent) {
    const delivery = arrived.get(message.id);
    assert.ok(delivery, `${message.type} ${message.id} did not arrive`);
    assertArrived(message, delivery);
    assertRecorded(message, await untilStatus(postrider.url, message.id, "delivered"));
  }
}

/** Several senders at once, as a busy publisher would. */
async function sendAll(messages) {
  const queue = messages.entries();
  const sent = [];
  const send = async () => {
    for (const [, { type, text }] of queue) {
      const answer = await ingest(postrider.url, subscription, Buffer.from(text), { type, signature: await sign(secret, text) });
      assert.equal(answer.status, 202, `${type}: ${JSON.stringify(answer.body)} for ${text.slice(0, 200)}`);
      assert.equal(answer.headers.get("location"), `/deliveries/${answer.body.delivery_task_id}`);
      sent.push({ type, text, id: answer.body.delivery_task_id });
    }
  };
  await Promise.all(Array.from({ length: SENDERS }, send));
  return sent;
}

function assertArrived(message, delivery) {
  assert.equal(delivery.hub, null, `@octokit/webhooks refused ${message.type}`);
  assert.equal(delivery.standard, null, `standardwebhooks refused ${message.type}`);
  assert.equal(delivery.method, "POST");
  assert.equal(delivery.path, "/hooks?from=postrider");
  assert.equal(delivery.headers["content-type"], "application/json");
  assert.equal(delivery.headers["x-postrider-event"], message.type);
  assert.equal(delivery.headers["x-postrider-attempt"], "1");
  assert.ok(delivery.body.equals(Buffer.from(message.text)), `${message.type} ${message.id} was changed on its way`);
}

function assertRecorded(message, { task, logs }) {
  assert.equal(task.id, message.id);
  assert.equal(task.subscription_id, subscription);
  assert.equal(task.payload, message.text);
  assert.equal(task.attempt_count, 1);
  assert.ok(task.last_attempt_at);
  assert.equal(logs.length, 1);
  const [log] = logs;
  assert.equal(log.delivery_task_id, message.id);
  assert.equal(log.subscription_id, subscription);
  assert.equal(log.target_url, receiver.url);
  assert.equal(log.attempt_number, 1);
  assert.equal(log.outcome, "success");
  assert.equal(log.http_status, 200);
  assert.equal(log.error_details, null);
}

test("Octokit's dispatcher saw every event under its own name", () => {
  assert.equal(receiver.emitted.length, receiver.received.length);
  const types = (list) => list.toSorted();
  assert.deepEqual(
    types(receiver.emitted.map((event) => event.name)),
    types(receiver.received.map((delivery) => delivery.headers["x-postrider-event"])),
  );
});

test("an unknown delivery is a 404 with one key", async () => {
  for (const id of ["01890a5d-ac96-774b-bcce-b302099a8057", "not-a-uuid"]) {
    const answer = await readDelivery(postrider.url, id);
    assert.equal(answer.status, 404);
    assert.deepEqual(Object.keys(answer.body), ["error"]);
  }
});
