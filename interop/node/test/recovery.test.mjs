// A receiver that fails at first gets the same delivery again: recognisable, and signed anew.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { sign } from "@octokit/webhooks-methods";
import { ingest, readDelivery, startPostrider, subscribe, untilDelivery, untilStatus, withLimit } from "../lib/postrider.mjs";
import { startReceiver } from "../lib/receiver.mjs";

// The Tasks API's first gap is 10 s.
const FIRST_GAP_MS = 10_000;
const RETRY_LIMIT_MS = 60_000;
const secret = `whsec_${randomBytes(24).toString("base64")}`;
const body = '{ "order" : 1 }';

test("a retry is the same message with a fresh signature", async (t) => {
  const postrider = await startPostrider();
  t.after(postrider.stop);
  const receiver = await startReceiver(secret, (_, earlier) => (earlier === 0 ? 500 : 200));
  t.after(receiver.stop);
  const subscription = await subscribe(postrider.url, { target_url: receiver.url, secret });
  // Before the first attempt, however slow this process is.
  const begunAt = performance.now();
  const accepted = await ingest(postrider.url, subscription, Buffer.from(body), { type: "order.created", signature: await sign(secret, body) });
  const id = accepted.body.delivery_task_id;

  await withLimit(receiver.arrived(1), RETRY_LIMIT_MS, "the first attempt did not arrive");
  const waiting = await untilDelivery(postrider.url, id, ({ logs }) => logs.some((log) => log.outcome === "failed_attempt"));
  assert.equal(waiting.task.status, "pending", "a delivery that waits for its retry is pending");
  assert.equal(waiting.task.attempt_count, 1);
  await withLimit(receiver.arrived(2), RETRY_LIMIT_MS, "the retry did not arrive");
  assert.ok(performance.now() - begunAt >= FIRST_GAP_MS, "the retry came before its time");

  const [first, second] = receiver.received;
  for (const delivery of [first, second]) {
    assert.equal(delivery.hub, null);
    assert.equal(delivery.standard, null);
    assert.ok(delivery.body.equals(Buffer.from(body)));
  }
  for (const name of ["webhook-id", "idempotency-key", "x-postrider-idempotency-key", "x-postrider-delivery-id", "x-postrider-event-id"]) {
    assert.ok(first.headers[name], `${name} is missing`);
    assert.equal(second.headers[name], first.headers[name], `${name} differs between attempts`);
  }
  assert.deepEqual([first, second].map((delivery) => delivery.headers["x-postrider-attempt"]), ["1", "2"]);
  assert.ok(Number(second.headers["webhook-timestamp"]) > Number(first.headers["webhook-timestamp"]), "the retry was not signed anew");

  const { task, logs } = await untilStatus(postrider.url, id, "delivered");
  assert.equal(task.attempt_count, 2);
  assert.deepEqual(logs.map((log) => [log.attempt_number, log.outcome, log.http_status]), [[1, "failed_attempt", 500], [2, "success", 200]]);
  assert.ok(logs[0].error_details, "a failed attempt says why");
  assert.equal((await readDelivery(postrider.url, id)).body.task.payload, body);
});
