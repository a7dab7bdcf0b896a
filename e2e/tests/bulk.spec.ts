// Many deliveries retried at once: counted first, followed, stopped.
import type { Page } from "@playwright/test";
import { MASTER_KEY, expect, test } from "../lib/test";
import { until } from "../lib/until";

/** A batch tries again up to a thousand a second: time enough to stop one of these. */
const ENDPOINTS = 10;
const EVENTS = 300;
const ALL = ENDPOINTS * EVENTS;

const dialog = (page: Page) => page.getByRole("dialog", { name: "Retry all that match" });
const panel = (page: Page) => page.getByRole("region", { name: "Bulk retry" });

test("the filtered deliveries are counted, retried, stopped, and retried to the end", async ({ page, site, open }) => {
  test.setTimeout(240_000);
  const { api } = site.server;
  const { receiver, server } = site;
  const namespace = "bulk";
  const failed = (): Promise<number> => api.count({ namespace, states: ["failed"] });
  for (let n = 0; n < ENDPOINTS; n += 1) {
    await api.endpoint(namespace, `Down ${n}`, receiver.url("fail", `bulk-${n}`), ["order.created"], { httpConfig: { maxRetries: 0 } });
  }
  for (let n = 0; n < EVENTS; n += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, m) => api.push(namespace, "order.created", { order: n + m })));
  }
  await until("all of them failed", failed, (count) => count === ALL, 120_000);
  for (let n = 0; n < ENDPOINTS; n += 1) receiver.mend(`bulk-${n}`);
  const own = await api.makeKey("bulk", namespace, ["read", "write"]);

  await open(server, "#/deliveries?state=failed", own.secret);
  await expect(page.getByRole("list", { name: "Filters of deliveries" })).toContainText("State: failed");
  await page.getByRole("button", { name: /^Retry all/ }).click();
  await expect(dialog(page)).toContainText(`${ALL.toLocaleString("en")} deliveries match.`);
  await expect(dialog(page)).toContainText("Nothing was done so far.");
  await page.keyboard.press("Escape");
  await expect(dialog(page)).toHaveCount(0);
  expect(await failed()).toBe(ALL);

  await page.getByRole("button", { name: /^Retry all/ }).click();
  await dialog(page).getByRole("button", { name: `Retry ${ALL.toLocaleString("en")}` }).click();
  await panel(page).getByRole("button", { name: "Stop" }).click();
  await expect(panel(page)).toContainText("cancelled");
  const bar = panel(page).getByRole("progressbar", { name: "Done" });
  const [, done = "", of] = /^([\d,]+) of ([\d,]+)$/.exec((await bar.getAttribute("aria-valuetext")) ?? "") ?? [];
  expect(of).toBe(ALL.toLocaleString("en"));
  expect(Number(done.replaceAll(",", ""))).toBeLessThan(ALL);
  // What was not reached stays as it was.
  const left = await until("the stopped batch at rest", failed, (count) => count === ALL - Number(done.replaceAll(",", "")));
  expect(left).toBeGreaterThan(0);

  await page.getByRole("button", { name: /^Retry all/ }).click();
  await dialog(page).getByRole("button", { name: /^Retry [\d,]+$/ }).click();
  // It is followed whatever page is shown, and found again after a reload.
  await expect(panel(page)).toBeVisible();
  await page.reload();
  await expect(panel(page)).toContainText("completed", { timeout: 60_000 });
  // Rows under the pointer stay where they are.
  await page.mouse.move(0, 0);
  await panel(page).getByRole("button", { name: "Dismiss" }).click();
  await expect(panel(page)).toHaveCount(0);
  await until("all of them succeeded", () => api.count({ namespace, states: ["succeeded"] }), (count) => count === ALL);
  // The live list of failed ones is empty by itself.
  await expect(page.getByText("Nothing matches")).toBeVisible();

  // The whole list comes page by page as it is scrolled, and only what is near the screen is in the document.
  await page.goto(`${server.url}/#/deliveries?live=off`);
  const rows = page.getByRole("table", { name: /^Deliveries/ }).locator("tbody tr");
  await expect(rows.first()).toBeVisible();
  const newest = await rows.first().getByRole("link").getAttribute("href");
  let most = 0;
  await expect(async () => {
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
    most = Math.max(most, await rows.count());
    await expect(page.getByText(`${ALL.toLocaleString("en")} deliveries shown`)).toBeAttached({ timeout: 500 });
  }).toPass({ timeout: 60_000 });
  expect(most, "rows in the document").toBeLessThan(1_000);
  await page.evaluate(() => scrollTo(0, 0));
  await expect(rows.first().getByRole("link")).toHaveAttribute("href", newest ?? "");
  await expect(rows.first()).toBeInViewport();
  expect(await rows.count()).toBeLessThan(1_000);
});

test("there is nothing to be retried where nothing matches", async ({ page, site, open }) => {
  await open(site.server, "#/deliveries?state=failed&type=no.such.type", MASTER_KEY);
  await page.getByRole("button", { name: /^Retry all/ }).click();
  await expect(dialog(page)).toContainText("0 deliveries match.");
  await expect(dialog(page).getByRole("button", { name: "Retry", exact: true })).toHaveAccessibleDescription("Nothing matches.");
});
