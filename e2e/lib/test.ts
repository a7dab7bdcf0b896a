// What tests begin with: a browser that is watched, and servers.
import { type Page, test as base, expect } from "@playwright/test";
import { Api } from "./api";
import { startCluster } from "./cluster";
import { type Filled, fill } from "./fill";
import { type Receiver, startReceiver } from "./receiver";
import { MASTER_KEY, type Server, startServer } from "./server";
import { until } from "./until";
import { Watch } from "./watch";

/** A server and the receiver of what it sends. Tests that change something do it in namespaces of their own. */
export interface Site {
  server: Server;
  receiver: Receiver;
}

/** One whose store is filled. */
export interface Place extends Site {
  filled: Filled;
}

/** The id of an endpoint by its name. */
export const endpointOf = ({ filled }: Place, name: string): string => filled.endpoints[name]?.id ?? "";

interface ForTest {
  /** What the browser does besides; it ends the test with a failure if there was something. */
  watch: Watch;
  /** Opens the dashboard at an address behind `#`. With a key it is signed in already. */
  open: (server: { url: string }, hash: string, key?: string) => Promise<void>;
  /** A server in development mode with an empty store; two nodes that want a key where it is about those. */
  dev: Server;
  /** A receiver for it. */
  receiver: Receiver;
}

export interface ForWorker {
  /** Whether there are two nodes over PostgreSQL in place of one server with the embedded store. */
  cluster: boolean;
  site: Site;
  place: Place;
}

export const test = base.extend<ForTest, ForWorker>({
  cluster: [false, { option: true, scope: "worker" }],

  site: [
    async ({ cluster }, use) => {
      const receiver = await startReceiver();
      const server = await (cluster ? startCluster() : startServer());
      await use({ server, receiver });
      await server.stop();
      await receiver.stop();
    },
    { scope: "worker", timeout: 120_000 },
  ],

  place: [
    async ({ site }, use) => {
      await use({ ...site, filled: await fill(site.server.api, site.receiver) });
    },
    { scope: "worker", timeout: 180_000 },
  ],

  watch: [
    async ({ context }, use) => {
      const watch = new Watch(context);
      await use(watch);
      expect(watch.problems, "what the browser complains of").toEqual([]);
    },
    { auto: true },
  ],

  open: async ({ page, watch, cluster }, use) => {
    await use(async (server, hash, key) => {
      watch.own(server.url);
      // What was made at the other node is known here within a second.
      if (cluster && key !== undefined) await until("the key at this node", () => isAccepted(server.url, key), (accepted) => accepted);
      if (key !== undefined) await signedIn(page, server.url, key);
      await page.goto(`${server.url}/${hash}`);
    });
  },

  dev: async ({ watch, cluster }, use) => {
    const server = await (cluster ? startCluster() : startServer({ dev: true }));
    await use(server);
    watch.end();
    await server.stop();
  },

  receiver: async ({}, use) => {
    const receiver = await startReceiver();
    await use(receiver);
    await receiver.stop();
  },
});

/** Whether a node lets in who has the key. */
async function isAccepted(url: string, key: string): Promise<boolean> {
  return new Api(url, key).call("postrider.v1.OverviewService/GetSession").then(
    () => true,
    () => false,
  );
}

/** Puts the key where the page keeps it while the tab is open. The entry of a key has tests of its own. */
export async function signedIn(page: Page, url: string, key: string = MASTER_KEY): Promise<void> {
  const { pathname } = new URL(`${url}/`);
  await page.addInitScript(
    ([name, value]) => {
      // Other pages, such as the blank one that a tab begins with, keep nothing.
      if (location.protocol.startsWith("http")) sessionStorage.setItem(name, value);
    },
    [`postrider:${pathname}:key`, key] as const,
  );
}

export { MASTER_KEY, expect };
