// Dead letters: by their cause, replayed and dismissed, one, some and all.
import type { Page } from "@playwright/test";
import type { Api } from "../lib/api";
import { expect, test } from "../lib/test";
import { inAllLooks } from "../lib/look";
import { until } from "../lib/until";

const act = (page: Page, does: "Replay" | "Dismiss") => page.getByRole("dialog", { name: `${does} dead letters` });

async function letters(api: Api, namespace: string): Promise<number> {
  return Number((await api.call("postrider.v1.DeadLetterService/ListDeadLetterGroups", { namespace }))["total"] ?? 0);
}

test("dead letters are replayed by their cause, and dismissed one by one and all together", async ({ page, site, open }) => {
  const { server, receiver } = site;
  const { api } = server;
  const namespace = "letters";
  const { secret: key } = await api.makeKey("reader of letters", namespace, ["read", "write"]);
  await api.endpoint(namespace, "Fails", receiver.url("fail", "letters-fail"), ["order.created"], { httpConfig: { maxRetries: 0 } });
  await api.endpoint(namespace, "Refuses", receiver.url("refuse", "letters-refuse"), ["order.created"]);
  for (let n = 0; n < 6; n += 1) await api.push(namespace, "order.created", { n });
  await until("twelve dead letters", () => letters(api, namespace), (count) => count === 12);

  await open(server, "#/dead-letters", key);
  const failed = page.getByRole("region", { name: /connector_5xx/ });
  await expect(failed).toContainText("What to do:");
  await expect(page.getByRole("region", { name: /connector_4xx/ })).toContainText("6 dead letters");
  receiver.mend("letters-fail");
  await failed.getByRole("row", { name: /Fails/ }).getByRole("button", { name: /^Replay/ }).click();
  await expect(act(page, "Replay")).toContainText("6 dead letters");
  await expect(act(page, "Replay")).toContainText("Nothing was done so far.");
  await inAllLooks(page, "dead-letters-replay");
  expect(await letters(api, namespace)).toBe(12);
  await act(page, "Replay").getByRole("button", { name: "Replay 6" }).click();
  await expect(page.getByRole("region", { name: "Replaying dead letters" })).toContainText("completed");
  await expect(failed).toHaveCount(0);
  await until("what was replayed", () => api.count({ namespace, states: ["succeeded"] }), (count) => count === 6);

  await page.getByRole("button", { name: "One by one" }).click();
  await expect(page.getByText("6 dead letters match.")).toBeVisible();
  const table = page.getByRole("table", { name: /^Dead letters/ });
  const ticks = table.locator("tbody").getByRole("checkbox");
  await expect(ticks).toHaveCount(6);
  await ticks.nth(0).check();
  await ticks.nth(1).check();
  await expect(page.getByText("2 selected")).toBeVisible();
  await page.getByRole("button", { name: /^Dismiss them/ }).click();
  await act(page, "Dismiss").getByRole("button", { name: "Dismiss 2" }).click();
  await expect(page.getByText("4 dead letters match.")).toBeVisible();
  await table.getByRole("button", { name: "Dismiss it" }).first().click();
  await act(page, "Dismiss").getByRole("button", { name: "Dismiss 1" }).click();
  await expect(page.getByText("3 dead letters match.")).toBeVisible();
  await page.getByRole("button", { name: /^Dismiss all/ }).click();
  await act(page, "Dismiss").getByRole("button", { name: "Dismiss 3" }).click();
  await expect(page.getByText("There are no dead letters")).toBeVisible();
  expect(await letters(api, namespace)).toBe(0);
  // They are dealt with, and their deliveries as they were.
  expect(await api.count({ namespace, states: ["failed"] })).toBe(6);
});

test("a replay is slow, stopped and resumed", async ({ page, site, open }) => {
  const { server, receiver } = site;
  const { api } = server;
  const namespace = "slow-letters";
  const { secret: key } = await api.makeKey("patient", namespace, ["read", "write"]);
  await api.endpoint(namespace, "Fails slowly", receiver.url("fail", "slow-letters"), ["order.created"], { httpConfig: { maxRetries: 0 } });
  for (let n = 0; n < 30; n += 1) await api.push(namespace, "order.created", { n });
  await until("thirty dead letters", () => letters(api, namespace), (count) => count === 30);
  receiver.mend("slow-letters");

  await open(server, "#/dead-letters", key);
  await page.getByRole("button", { name: /^Replay all/ }).first().click();
  await act(page, "Replay").getByLabel("Rate limit, per second").fill("2");
  await act(page, "Replay").getByRole("button", { name: "Replay 30" }).click();
  const panel = page.getByRole("region", { name: "Replaying dead letters" });
  await expect(panel.getByRole("progressbar")).not.toHaveAttribute("aria-valuetext", "0 of 30");
  await panel.getByRole("button", { name: "Stop" }).click();
  await expect(panel).toContainText("cancelled");
  const left = await letters(api, namespace);
  expect(left).toBeGreaterThan(0);
  expect(left).toBeLessThan(30);

  await page.getByRole("link", { name: "Replays" }).click();
  const row = page.getByRole("table", { name: /^Replays/ }).locator("tbody tr");
  await expect(row).toContainText("cancelled");
  await inAllLooks(page, "replays");
  await row.getByRole("button", { name: "Resume" }).click();
  await expect(row).toContainText("running");
  await until("more replayed", () => letters(api, namespace), (count) => count < left);
  await row.getByRole("button", { name: "Stop" }).click();
  await expect(row).toContainText("cancelled");
});
