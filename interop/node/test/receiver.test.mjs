// The receiver itself: if it accepted everything, the other tests would prove nothing.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { sign } from "@octokit/webhooks-methods";
import { Webhook } from "standardwebhooks";
import { startReceiver } from "../lib/receiver.mjs";

const secret = `whsec_${randomBytes(32).toString("base64")}`;
const body = '{"hello":"wörld"}';

test("accepts what the libraries sign, refuses what they did not", async (t) => {
  const receiver = await startReceiver(secret);
  t.after(receiver.stop);
  const now = new Date();
  const signed = {
    "webhook-id": "message-1",
    "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
    "webhook-signature": new Webhook(secret).sign("message-1", now, body),
    "x-hub-signature-256": await sign(secret, body),
    "x-postrider-event": "issues",
    "x-postrider-delivery-id": "delivery-1",
  };
  const post = async (changes, sentBody = body) => {
    const headers = Object.entries({ ...signed, ...changes }).filter(([, value]) => value !== undefined);
    const response = await fetch(receiver.url, { method: "POST", headers, body: sentBody });
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await post({}), 200);
  assert.equal(await post({}, `${body} `), 400);
  assert.equal(await post({ "webhook-id": "message-2" }), 400);
  assert.equal(await post({ "webhook-signature": undefined }), 400);
  assert.equal(await post({ "x-hub-signature-256": undefined }), 400);
  assert.equal(await post({ "x-hub-signature-256": await sign(`${secret}x`, body) }), 400);
  await receiver.arrived(6);
  assert.deepEqual(receiver.received.map((delivery) => delivery.answered), [200, 400, 400, 400, 400, 400]);
  assert.deepEqual(receiver.emitted.map((event) => [event.name, event.payload]), [
    ["issues", JSON.parse(body)],
    ["issues", JSON.parse(body)],
    ["issues", JSON.parse(body)],
  ]);
});
