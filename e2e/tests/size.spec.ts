// How much there is to load, and how long it takes from nothing.
import { readFileSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { expect, test } from "../lib/test";
import { binary, makeDirectory, startServer } from "../lib/server";
import { until } from "../lib/until";

const DIST = fileURLToPath(new URL("../../web/dist/", import.meta.url));

/** All scripts together, compressed. */
const MOST_SCRIPT_BYTES = 200_000;

test("all scripts are less than 200 kB together, and are those that the server has", async ({ place }) => {
  const names = readdirSync(`${DIST}assets`).filter((name) => name.endsWith(".js.gz"));
  expect(names.length).toBeGreaterThan(1);
  let sum = 0;
  for (const name of names) {
    const packed = readFileSync(`${DIST}assets/${name}`);
    sum += packed.length;
    const answer = await fetch(`${place.server.url}/assets/${name.slice(0, -".gz".length)}`);
    expect(answer.status, `${name}: build the binary again after the dashboard`).toBe(200);
    expect(answer.headers.get("cache-control")).toContain("immutable");
    expect(Buffer.from(await answer.arrayBuffer()).equals(gunzipSync(packed)), name).toBe(true);
  }
  console.log(`scripts: ${sum} bytes compressed, in ${names.length} files`);
  expect(sum).toBeLessThan(MOST_SCRIPT_BYTES);
});

test("the first page loads what it needs and no more", async ({ page, place, open, watch }) => {
  await open(place.server, "#/", place.filled.keys["reader"]);
  await expect(page.getByLabel("Health now")).toBeVisible();
  const scripts = watch.requests.filter((request) => request.resourceType() === "script");
  const all = readdirSync(`${DIST}assets`).filter((name) => name.endsWith(".js.gz"));
  expect(scripts.length).toBeLessThan(all.length);
});

/** How often it is measured. */
const ROUNDS = 3;

/** From starting the process until the overview is on the screen. A development build is told and not judged: it is not optimised. */
const MOST_SHOWN_MS = 1_000;

/** Whether the binary is optimised: Cargo names the directory that it builds into by the profile, and an installed one lies in no `debug`. */
const IS_RELEASE = path.basename(path.dirname(binary)) !== "debug";

test("from a cold server to the first page", async ({ page, receiver, watch }) => {
  const directory = await makeDirectory();
  const listening: number[] = [];
  const shown: number[] = [];
  try {
    // A store that has something: an empty one begins with its first steps.
    const before = await startServer({ dev: true, directory: directory.path });
    await before.api.endpoint("default", "Something", receiver.url("ok", "cold"), ["*"]);
    await before.api.push("default", "order.created", { order: 1 });
    await until("the delivery", () => before.api.count({ states: ["succeeded"] }), (count) => count === 1);
    await before.stop();
    await page.addInitScript(() => {
      const looking = new MutationObserver(() => {
        if (document.querySelector("dl[aria-label='Health now'] dd") === null) return;
        looking.disconnect();
        requestAnimationFrame(() => setTimeout(() => {
          document.documentElement.dataset["shownAt"] = `${Date.now()}`;
        }));
      });
      looking.observe(document, { childList: true, subtree: true });
    });
    for (let round = 0; round < ROUNDS; round += 1) {
      const server = await startServer({ dev: true, directory: directory.path });
      watch.own(server.url);
      await page.goto(`${server.url}/`, { waitUntil: "commit" });
      await expect(page.locator("html")).toHaveAttribute("data-shown-at", /\d+/);
      const at = Number(await page.locator("html").getAttribute("data-shown-at"));
      listening.push(server.listenedAt - server.startedAt);
      shown.push(at - server.startedAt);
      await page.goto("about:blank");
      await server.stop();
    }
    const size = (statSync(binary).size / 1_000_000).toFixed(1);
    console.log(
      `cold start of ${IS_RELEASE ? "an optimised" : "a development"} build of ${size} MB: listens after ${listening.join(", ")} ms, ` +
        `shows the overview after ${shown.join(", ")} ms from starting the process`,
    );
    // The quickest of them: others were held up by something else on this machine.
    if (IS_RELEASE) expect(Math.min(...shown), "milliseconds until the overview is there").toBeLessThan(MOST_SHOWN_MS);
  } finally {
    await directory.remove();
  }
});
