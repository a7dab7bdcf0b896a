import { defineConfig } from "@playwright/test";
import { DATABASE } from "./lib/cluster";
import type { ForWorker } from "./lib/test";

/** Debian's, unless another one is named: the packages of the tests bring no browser. */
const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

/** What is measured is measured alone, after everything else: server, receiver and browser share two cores. */
const MEASURED = ["live.spec.ts", "size.spec.ts"];

/** What differs between the stores, and with several nodes. */
const CLUSTER = ["bulk.spec.ts", "delivery.spec.ts", "letters.spec.ts"];

export default defineConfig<object, ForWorker>({
  testDir: "tests",
  outputDir: "results",
  workers: 2,
  fullyParallel: false,
  retries: 0,
  forbidOnly: process.env["CI"] === "true",
  timeout: 120_000,
  // A stop in case something hangs; a run takes much less.
  globalTimeout: 25 * 60_000,
  expect: { timeout: 20_000 },
  reporter: [["list"], ["./lib/summary.ts"]],
  use: {
    browserName: "chromium",
    launchOptions: { executablePath },
    viewport: { width: 1440, height: 900 },
    colorScheme: "light",
    // What moves is looked at where it is meant: everywhere else it would be in the way.
    contextOptions: { reducedMotion: "reduce" },
    locale: "en-GB",
    timezoneId: "UTC",
    actionTimeout: 20_000,
    navigationTimeout: 30_000,
    // A trace is in the way of what is measured, and takes time: it is made where somebody looks for a fault.
    trace: process.env["TRACE"] === "1" ? "retain-on-failure" : "off",
    screenshot: "only-on-failure",
  },
  projects: [
    { name: "one", testIgnore: MEASURED },
    ...(DATABASE === "" ? [] : [{ name: "two nodes", testMatch: CLUSTER, use: { cluster: true } }]),
    { name: "measured", testMatch: MEASURED, workers: 1, dependencies: DATABASE === "" ? ["one"] : ["one", "two nodes"] },
    ...(DATABASE === "" ? [] : [{ name: "two nodes, measured", testMatch: ["live.spec.ts"], use: { cluster: true }, workers: 1, dependencies: ["measured"] }]),
  ],
});
