// What the libraries must refuse: anything that was changed after Postrider signed it; and what Postrider must
// refuse: anything that the publisher did not sign.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { Webhooks } from "@octokit/webhooks";
import { sign } from "@octokit/webhooks-methods";
import { Webhook } from "standardwebhooks";
import { ingest, recentLogs, startPostrider, subscribe, untilStatus, withLimit } from "../lib/postrider.mjs";
import { startReceiver } from "../lib/receiver.mjs";

const ARRIVAL_LIMIT_MS = 30_000;
const secret = `whsec_${randomBytes(32).toString("base64")}`;
const otherSecret = `whsec_${randomBytes(32).toString("base64")}`;
const body = '{"action":"opened","number":7,"title":"Grüße"}';

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
  await postrider?.stop();
});

const send = (signature) => ingest(postrider.url, subscription, Buffer.from(body), { type: "issues", signature });

test("what the publisher did not sign is a 401 and leaves nothing behind", async () => {
  const good = await sign(secret, body);
  const wrong = {
    "another secret": await sign(otherSecret, body),
    "another body": await sign(secret, `${body} `),
    "no prefix": good.slice("sha256=".length),
    "another algorithm": good.replace("sha256=", "sha1="),
    "cut short": good.slice(0, -2),
    "one digit changed": good.slice(0, -1) + (good.endsWith("0") ? "1" : "0"),
    empty: "",
    missing: undefined,
  };
  for (const [what, signature] of Object.entries(wrong)) {
    const answer = await send(signature);
    assert.equal(answer.status, 401, what);
    assert.deepEqual(Object.keys(answer.body), ["error"], what);
    assert.doesNotMatch(JSON.stringify(answer.body), new RegExp(good.slice("sha256=".length)), "the error gives the signature away");
  }
  const before = receiver.received.length;
  const accepted = await send(good);
  assert.equal(accepted.status, 202);
  await withLimit(receiver.arrived(before + 1), ARRIVAL_LIMIT_MS, "the signed event did not arrive");
  await untilStatus(postrider.url, accepted.body.delivery_task_id, "delivered");
  const logs = await recentLogs(postrider.url, subscription);
  assert.deepEqual(logs.body.map((log) => log.delivery_task_id), [accepted.body.delivery_task_id]);
  assert.equal(receiver.received.length, before + 1, "a refused event was delivered");
});

describe("the libraries notice", () => {
  let delivery;
  let text;
  const hub = (payload, signature, key = secret) => new Webhooks({ secret: key }).verify(payload, signature);
  const standard = (payload, headers, key = secret) => new Webhook(key).verify(payload, headers);

  before(async () => {
    const count = receiver.received.length + 1;
    assert.equal((await send(await sign(secret, body))).status, 202);
    await withLimit(receiver.arrived(count), ARRIVAL_LIMIT_MS, "the event did not arrive");
    delivery = receiver.received.at(-1);
    text = delivery.body.toString("utf8");
  });

  test("nothing wrong with what was delivered", async () => {
    assert.equal(await hub(text, delivery.headers["x-hub-signature-256"]), true);
    assert.deepEqual(standard(text, delivery.headers), JSON.parse(body));
  });

  test("every single byte that is changed", async () => {
    for (let index = 0; index < text.length; index += 1) {
      const changed = text.slice(0, index) + (text[index] === "x" ? "y" : "x") + text.slice(index + 1);
      assert.equal(await hub(changed, delivery.headers["x-hub-signature-256"]), false, `byte ${index}`);
      assert.throws(() => standard(changed, delivery.headers), /No matching signature/, `byte ${index}`);
    }
  });

  test("another id, another time, an old time and another secret", async () => {
    const changed = (name, value) => ({ ...delivery.headers, [name]: value });
    const time = Number(delivery.headers["webhook-timestamp"]);
    assert.throws(() => standard(text, changed("webhook-id", `${delivery.headers["webhook-id"]}0`)), /No matching signature/);
    assert.throws(() => standard(text, changed("webhook-timestamp", String(time + 1))), /No matching signature/);
    assert.throws(() => standard(text, changed("webhook-timestamp", String(time - 301))), /too old/);
    assert.throws(() => standard(text, delivery.headers, otherSecret), /No matching signature/);
    assert.equal(await hub(text, delivery.headers["x-hub-signature-256"], otherSecret), false);
  });
});
