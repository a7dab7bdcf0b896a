// Every method of the RPC API, called by clients that nobody here wrote: each tells each story of interop/rpc.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { clients } from "../lib/rpc/clients.mjs";
import { methods } from "../lib/rpc/contract.mjs";
import { startAnswering } from "../lib/rpc/receiver.mjs";
import { stories, tell } from "../lib/rpc/stories.mjs";
import { makeKey, startPostrider } from "../lib/postrider.mjs";

test("the stories call every method of the contract", () => {
  const called = new Set(stories().flatMap(({ steps }) => steps.map(({ call }) => call)));
  called.delete(undefined);
  assert.deepEqual([...called].sort(), [...methods].sort());
});

describe("RPC clients", () => {
  const masterKey = randomBytes(24).toString("hex");
  let postrider;
  before(async () => {
    postrider = await startPostrider(["--allow-network", "127.0.0.0/8"], { POSTRIDER_BOOTSTRAP_KEY: masterKey });
  });
  after(() => postrider.stop());

  for (const [name, clientOf] of Object.entries(clients)) {
    for (const story of stories()) {
      test(`${name}: ${story.about}`, async (t) => {
        const namespace = `${story.name}-${randomBytes(4).toString("hex")}`;
        const client = clientOf(postrider.url, await makeKey(postrider.url, masterKey, namespace));
        t.after(client.stop);
        const receiver = await startAnswering();
        t.after(receiver.stop);
        await tell(story, client, receiver, { namespace, receiver: receiver.url });
      });
    }
  }
});
