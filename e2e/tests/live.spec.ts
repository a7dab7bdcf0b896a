// The live list under load: a thousand deliveries a second, for half a minute; fewer where two nodes and a database share the machine too.
import path from "node:path";
import type { Page } from "@playwright/test";
import { type Load, startLoad } from "../lib/load";
import { binary } from "../lib/server";
import { expect, test } from "../lib/test";

const ENDPOINTS = 10;
const SECONDS = 30;
/** Events a second with one node, and with two. */
const RATE = { one: 100, two: 30 };
/** By how many times the last delivery of one node may come later than the last was due. A development build is not optimised: it may reach half the rate. */
const MOST_LATE = path.basename(path.dirname(binary)) === "debug" ? 2 : 1.25;

/** Most rows that a live list may have. */
const MOST_ROWS = 100;
/** By how much what is kept may grow in the last two fifths of the time, in bytes. Were nothing let go, it would be several times as much. */
const MOST_GROWTH = 4 << 20;
/** A click is answered within this, unless the machine itself takes that long without any load. */
const ANSWER_MS = 500;
/** But never later than this. */
const LATEST_ANSWER_MS = 2_000;
/** The share of the time in which frames are missing, beyond that of an empty page at the same time. */
const MOST_STALLED = 0.15;

/** What a page notes of itself, put there from the beginning on. */
interface Notes {
  /** Times between frames, in milliseconds. */
  gaps: number[];
  /** From each click to the frame that shows what it did. */
  clicks: number[];
}

declare global {
  interface Window {
    notes: Notes;
  }
}

/** Has a page note its frames and clicks. */
async function observe(page: Page): Promise<void> {
  await page.evaluate(() => {
    const notes: Notes = { gaps: [], clicks: [] };
    window.notes = notes;
    let last: number | undefined;
    const frame = (now: number): void => {
      if (last !== undefined) notes.gaps.push(now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    addEventListener(
      "click",
      (event) => {
        // The frame comes, and then this: what was clicked is on the screen.
        requestAnimationFrame(() => setTimeout(() => notes.clicks.push(performance.now() - event.timeStamp)));
      },
      { capture: true },
    );
  });
}

/** What was noted since the last time. */
function taken(page: Page): Promise<Notes> {
  return page.evaluate(() => {
    const { gaps, clicks } = window.notes;
    return { gaps: gaps.splice(0), clicks: clicks.splice(0) };
  });
}

const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);
const stalled = (gaps: readonly number[]): number => sum(gaps.filter((gap) => gap > 100)) / Math.max(1, sum(gaps));
const worst = (values: readonly number[]): number => Math.max(0, ...values);
const ms = (value: number): string => `${Math.round(value)} ms`;

test("the live list stays quick and small under load", async ({ page, browser, dev, open, cluster }) => {
  test.setTimeout(300_000);
  const eventsPerSecond = cluster ? RATE.two : RATE.one;
  const all = ENDPOINTS * eventsPerSecond * SECONDS;
  const [warm, middle, step] = [all / 5, (all * 3) / 5, all / 10];
  // An empty page in a window of its own tells what the machine itself can do meanwhile.
  const other = await browser.newContext({ viewport: { width: 800, height: 600 } });
  const empty = await other.newPage();
  let load: Load | undefined;
  try {
    load = await startLoad({ url: dev.api.url, key: dev.key, namespace: "default", endpoints: ENDPOINTS, eventsPerSecond, seconds: SECONDS });
    await open(dev, "#/deliveries", dev.key);
    await expect(page.getByText("The list is live")).toBeAttached();
    await page.mouse.move(0, 0);
    await observe(page);
    await observe(empty);

    const hold = page.getByRole("button", { name: "Pause", exact: true });
    const goOn = page.getByRole("button", { name: "Resume", exact: true });
    const round = async (): Promise<void> => {
      await hold.click();
      await expect(goOn).toBeVisible();
      await goOn.click();
      await expect(hold).toBeVisible();
    };
    for (let n = 0; n < 4; n += 1) await round();
    const quiet = await taken(page);
    await taken(empty);

    const session = await page.context().newCDPSession(page);
    const used = async (): Promise<number> => {
      await session.send("HeapProfiler.collectGarbage");
      return (await session.send("Runtime.getHeapUsage")).usedSize;
    };
    const rows = page.getByRole("table", { name: /^Deliveries/ }).locator("tbody tr");
    /** What the page has of elements and listeners, be they in the document or not. */
    const parts = async (): Promise<{ nodes: number; jsEventListeners: number; rows: number }> => ({
      ...(await session.send("Memory.getDOMCounters")), rows: await rows.count(),
    });

    load.begin();
    await load.reached(warm);
    if (!cluster) await expect(page.getByText(/more were too fast to be shown$/)).toBeVisible();
    // From then on the list is full, and stays so: what is kept of it should not grow.
    await expect(rows).toHaveCount(MOST_ROWS, { timeout: (SECONDS * 1_000) / 2 });
    const heapBefore = await used();
    const seen = [await rows.count()];
    let [heapBetween, before] = [0, { nodes: 0, jsEventListeners: 0, rows: 0 }];
    for (let received = warm + step; received < all; received += step) {
      await load.reached(received);
      await round();
      seen.push(await rows.count());
      if (received === middle) [heapBetween, before] = [await used(), await parts()];
    }
    const report = await load.ended;
    const [busy, idle] = [await taken(page), await taken(empty)];
    const [heapAfter, after] = [await used(), await parts()];

    console.log(
      `live list: ${report.received} deliveries in ${report.seconds.toFixed(1)} s, published in ${report.publishedSeconds.toFixed(1)} s; ` +
        `clicks ${ms(worst(busy.clicks))} at worst, ${ms(worst(quiet.clicks))} without load; frames ${ms(worst(busy.gaps))} apart at worst, ` +
        `${ms(worst(idle.gaps))} on an empty page; stalled ${(stalled(busy.gaps) * 100).toFixed(1)} % of the time, ` +
        `there ${(stalled(idle.gaps) * 100).toFixed(1)} %; ` +
        `heap ${[heapBefore, heapBetween, heapAfter].map((size) => (size / (1 << 20)).toFixed(1)).join(", ")} MiB; ` +
        `${before.nodes}, ${after.nodes} nodes; ${before.jsEventListeners}, ${after.jsEventListeners} listeners; ${Math.max(...seen)} rows at most`,
    );
    expect(report.received).toBe(all);
    if (!cluster) expect(report.seconds, "seconds until the last was delivered").toBeLessThan(SECONDS * MOST_LATE);
    expect(busy.clicks.length).toBeGreaterThanOrEqual(10);
    const answer = Math.min(LATEST_ANSWER_MS, Math.max(ANSWER_MS, 10 * worst(quiet.clicks), 4 * worst(idle.gaps)));
    expect(worst(busy.clicks), "a click is answered").toBeLessThan(answer);
    expect(stalled(busy.gaps), "frames are there").toBeLessThan(stalled(idle.gaps) + MOST_STALLED);
    expect([...new Set([...seen, before.rows, after.rows])], "rows whenever it was looked").toEqual([MOST_ROWS]);
    expect(after.nodes / after.rows, "nodes for each row").toBeLessThan((before.nodes / before.rows) * 1.25);
    expect(after.jsEventListeners, "listeners").toBeLessThan(before.jsEventListeners * 1.25);
    expect(heapAfter - heapBetween, "bytes that are kept in the second window").toBeLessThan(MOST_GROWTH);

    // The newest are there in the end, as they are.
    const [newest] = await dev.api.deliveries({ namespace: "default" }, 1);
    await expect(rows.first().getByRole("link")).toHaveAttribute("href", `#/deliveries/${newest?.["deliveryId"]}`);
    await expect(rows.filter({ hasText: "succeeded" })).toHaveCount(await rows.count());
  } finally {
    load?.stop();
    await other.close();
  }
});

test("rows that are held or pointed at stay where they are", async ({ page, dev, receiver, open }) => {
  await dev.api.endpoint("default", "Watched", receiver.url("ok", "watched"), ["*"]);
  await dev.api.push("default", "first.one", {});
  await open(dev, "#/deliveries", dev.key);
  const rows = page.getByRole("table", { name: /^Deliveries/ }).locator("tbody tr");
  await expect(rows).toHaveCount(1);
  await rows.first().evaluate((row) => row.setAttribute("data-mark", "the first"));
  await dev.api.push("default", "second.one", {});
  await expect(rows).toHaveCount(2);
  await expect(rows.first()).toContainText("second.one");
  // A row keeps its element when others come above it, is not drawn where nobody sees it, and stands below the headings.
  await expect(rows.nth(1)).toHaveAttribute("data-mark", "the first");
  await expect(rows.nth(1)).toHaveCSS("content-visibility", "auto");
  const heading = await page.getByRole("columnheader", { name: "Last outcome" }).boundingBox();
  const outcome = await rows.nth(1).locator('td[data-title="Last outcome"]').boundingBox();
  expect(outcome?.x).toBeCloseTo(heading?.x ?? NaN, 0);
  expect(outcome?.width).toBeCloseTo(heading?.width ?? NaN, 0);

  await page.getByRole("button", { name: "Pause", exact: true }).click();
  await dev.api.push("default", "third.one", {});
  await expect(page.getByText("1 new one since then")).toBeVisible();
  await expect(rows).toHaveCount(2);
  await page.getByRole("button", { name: "Resume", exact: true }).click();
  await expect(rows).toHaveCount(3);

  await rows.first().hover();
  await dev.api.push("default", "fourth.one", {});
  await expect(page.getByText("1 new one since then")).toBeVisible();
  await expect(rows.first()).toContainText("third.one");
  await page.mouse.move(0, 0);
  await expect(rows.first()).toContainText("fourth.one");

  // What is hidden asks for nothing, and the list that is whole has them all.
  await page.getByRole("button", { name: "Live", exact: true }).click();
  await expect(page.getByText("4 deliveries match.")).toBeVisible();
  await expect(page).toHaveURL(/live=off/);
});
