// Puts load on a server: publishes at a steady pace, and receives what that leads to. A process of its own, so that it takes nothing from who measures.
//   node load.mjs '{"url", "key", "namespace", "endpoints", "eventsPerSecond", "seconds", "wave"}'
// It says what it does in lines of JSON: {"ready"}, then, after a line on its input, {"received"} again and again, and {"done"} with all numbers.
import { createServer } from "node:http";
import { createInterface } from "node:readline";

const { url, key, namespace, endpoints, eventsPerSecond, seconds, wave = false } = JSON.parse(process.argv[2]);
const TICK_MS = 10;
const TELL_MS = 100;
/** Most requests under way: a server that falls behind is not buried. */
const MOST_UNDER_WAY = 32;
/** How long all that was published may take to arrive, once the last of it is. */
const DRAIN_MS = 120_000;

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const total = Math.round(eventsPerSecond * seconds);
let received = 0;

async function call(method, request) {
  const response = await fetch(`${url}/${method}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) },
    body: JSON.stringify(request),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method}: ${response.status} ${text}`);
  return text;
}

const receiver = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  // One in forty fails the first time, where it comes in waves: a picture of nothing but successes says little.
  const fails = wave && received % 40 === 39;
  request.resume().on("end", () => {
    received += 1;
    response.writeHead(fails ? 503 : 200).end();
  });
});
await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));
for (let n = 0; n < endpoints; n += 1) {
  const description = `Receiver ${n + 1}`;
  const target = `http://127.0.0.1:${receiver.address().port}/load/${n}`;
  await call("webhook.WebhookService/RegisterWebhook", {
    namespace, description, url: target, events: ["load.tick"], httpConfig: { retryBackoffSeconds: 1 },
  });
}
say({ ready: true });
await new Promise((resolve) => createInterface({ input: process.stdin }).once("line", resolve));

const began = performance.now();
let started = 0;
let published = 0;
let underWay = 0;
const telling = setInterval(() => say({ received, published }), TELL_MS);

/** How many events are to have been published by now. */
function wanted() {
  const passed = (performance.now() - began) / 1000;
  const swing = wave ? 0.5 * Math.sin(passed / 25) + 0.2 * Math.sin(passed / 7) : 0;
  return Math.min(total, Math.floor(eventsPerSecond * passed + (swing * eventsPerSecond * 7)));
}

await new Promise((resolve, reject) => {
  const pace = setInterval(() => {
    for (const due = wanted(); started < due && underWay < MOST_UNDER_WAY; started += 1) {
      underWay += 1;
      call("webhook.EventService/PushEvent", { namespace, event: "load.tick", payload: { tick: started, at: new Date().toISOString() } }).then(
        () => {
          underWay -= 1;
          published += 1;
          if (published === total) {
            clearInterval(pace);
            resolve();
          }
        },
        (error) => {
          clearInterval(pace);
          reject(error);
        },
      );
    }
  }, TICK_MS);
});
const publishedIn = performance.now() - began;

const end = performance.now() + DRAIN_MS;
while (received < total * endpoints && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, TELL_MS));
clearInterval(telling);
say({ done: true, published, received, publishedSeconds: publishedIn / 1000, seconds: (performance.now() - began) / 1000 });
receiver.close();
receiver.closeAllConnections();
process.stdin.destroy();
