// An application publishes with its own transactions, through node-postgres: what docs/outbox.md shows.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, beforeEach, afterEach, test } from "node:test";
import pg from "pg";
import { shareDatabase } from "../lib/database.mjs";
import { startPostrider, subscribe } from "../lib/postrider.mjs";
import { startReceiver } from "../lib/receiver.mjs";

const secret = `whsec_${randomBytes(32).toString("base64")}`;
const PUBLISH = `
  SELECT postrider.publish($1, $2, $3::jsonb, labels => $4, ttl => $5, idempotency_key => $6) AS number`;

let shared, postrider, receiver, pool;

before(async () => {
  shared = await shareDatabase();
  postrider = await startPostrider(["--dev"], shared.settings);
});

after(async () => {
  assert.equal(await postrider?.stop(), 0, postrider?.talk());
  await shared?.drop();
});

beforeEach(async () => {
  receiver = await startReceiver(secret);
  receiver.subscription = await subscribe(postrider.url, { target_url: receiver.url, secret, event_types: "order.*" });
  pool = new pg.Pool({ connectionString: shared.applicationUrl });
});

afterEach(async () => {
  await pool.end();
  const gone = await fetch(`${postrider.url}/subscriptions/${receiver.subscription}`, { method: "DELETE" });
  assert.equal(gone.status, 204);
  await receiver.stop();
});

/** Does `work` in a transaction. */
async function inTransaction(work) {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    await work(client);
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

/** Publishes an event with a client's transaction. */
function publish(client, type, payload, { labels = {}, ttl = null, key = null } = {}) {
  return client.query(PUBLISH, ["default", type, payload, labels, ttl, key]);
}

const bodies = () => receiver.received.map((delivery) => delivery.body.toString("utf8"));

test("an order and its event are one", async () => {
  await inTransaction(async (client) => {
    await client.query("INSERT INTO orders VALUES (1, 9.90)");
    await publish(client, "order.created", { id: 1, total: "9.90" }, { labels: { region: "eu" }, ttl: "1 hour", key: "order-1" });
  });
  const again = inTransaction(async (client) => {
    await publish(client, "order.created", { id: 1, total: "0" });
    await client.query("INSERT INTO orders VALUES (1, 0)");
  });
  await assert.rejects(again, { code: "23505" });
  await inTransaction(async (client) => {
    // The same key is the same event.
    await publish(client, "order.created", { id: 1, total: "9.90" }, { key: "order-1" });
    await publish(client, "order.closed", { id: 1 });
  });
  await receiver.arrived(2);
  assert.deepEqual(bodies().map((body) => JSON.parse(body)), [{ id: 1, total: "9.90" }, { id: 1 }]);
  assert.ok(receiver.received.every((delivery) => delivery.standard === null && delivery.hub === null));
});

test("a text keeps its bytes", async () => {
  const text = '{"total":  9.90, "name": "Grüße"}';
  const given = [text, Buffer.from(text), JSON.stringify({ n: 3 })];
  for (const [index, payload] of given.entries()) {
    await pool.query("SELECT postrider.publish($1, $2, $3)", ["default", "order.created", payload]);
    await receiver.arrived(index + 1);
  }
  assert.deepEqual(bodies(), [text, text, '{"n":3}']);
});

test("what is wrong is said, and undoes the transaction", async () => {
  const wrong = inTransaction(async (client) => {
    await client.query("INSERT INTO orders VALUES (7, 1)");
    await publish(client, "order.created", "[7]");
  });
  await assert.rejects(wrong, (error) => error.code === "22023" && /must be an object/.test(error.message) && Boolean(error.hint));
  const { rows } = await pool.query("SELECT count(*)::int AS n FROM orders WHERE id = 7");
  assert.equal(rows[0].n, 0);
  await assert.rejects(pool.query("SELECT * FROM postrider.outbox"), { code: "42501" });
});
