// The first minute: an empty store, an endpoint, an event, its delivery.
import { Webhook } from "standardwebhooks";
import { inAllLooks } from "../lib/look";
import { expect, test } from "../lib/test";

test("the first steps lead from an empty store to a delivery that is verified", async ({ page, dev, receiver, open }) => {
  const began = performance.now();
  await open(dev, "#/");
  await expect(page.getByRole("heading", { level: 1, name: "First steps" })).toBeVisible();
  const url = page.getByLabel("URL", { exact: true });
  await url.fill("example.com");
  await page.getByRole("button", { name: "Create endpoint" }).click();
  await expect(url).toHaveAttribute("aria-invalid", "true");
  await url.fill(receiver.url("ok", "first"));
  await page.getByRole("button", { name: "Create endpoint" }).click();
  const once = page.getByRole("region", { name: "Endpoint created" });
  const secret = await once.locator("code").first().innerText();
  await page.getByRole("button", { name: "Send the event" }).click();
  await expect(page.getByText("The event is delivered.")).toBeAttached();
  const elapsed = performance.now() - began;
  console.log(`first steps: a delivery within ${(elapsed / 1000).toFixed(1)} s of opening the page`);
  expect(elapsed).toBeLessThan(60_000);
  await expect(page.getByText(/^Delivered, .* after the event was accepted\. The receiver answered 200\.$/)).toBeVisible();
  await expect(page.getByRole("button", { name: /^Attempt 1\b/ })).toHaveAttribute("aria-expanded", "true");
  const [request] = await receiver.arrived("first", 1);
  new Webhook(secret).verify(request?.body ?? "", (request?.headers ?? {}) as Record<string, string>);
  expect(JSON.parse(request?.body ?? "{}").payload).toEqual({ hello: "world" });
  await once.getByRole("button", { name: "I have kept it" }).click();
  expect(await page.content()).not.toContain(secret);
  await inAllLooks(page, "start-done");

  // They can be left, and come back to as they were.
  await page.getByRole("main").getByRole("link", { name: "To the overview" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
  await page.getByRole("link", { name: "First steps" }).first().click();
  await expect(page).toHaveURL(/#\/start$/);
  await expect(page.getByText("The event is delivered.")).toBeAttached();
  await page.getByRole("button", { name: "Start over" }).click();
  await expect(page.getByLabel("URL", { exact: true })).toBeVisible();
});

test("the first steps show a failure, and that nothing is lost", async ({ page, dev, receiver, open }) => {
  await open(dev, "#/");
  await expect(page.getByRole("heading", { level: 1, name: "First steps" })).toBeVisible();
  await inAllLooks(page, "start-endpoint");
  await page.getByLabel("URL", { exact: true }).fill(receiver.url("fail", "first-fails"));
  await page.getByRole("button", { name: "Create endpoint" }).click();
  await expect(page.getByRole("region", { name: "Endpoint created" })).toBeVisible();
  await inAllLooks(page, "start-event");
  await page.getByRole("button", { name: "Send the event" }).click();
  await expect(page.getByText(/^The delivery has failed so far:/)).toBeAttached();
  await inAllLooks(page, "start-failed");
  receiver.mend("first-fails");
  await page.getByRole("button", { name: "Retry now" }).click();
  await expect(page.getByText("The event is delivered.")).toBeAttached();
});

test("who has put the first steps aside sees the empty overview, and empty pages", async ({ page, dev, open }) => {
  test.setTimeout(240_000);
  await open(dev, "#/");
  await page.getByRole("main").getByRole("link", { name: "To the overview" }).click();
  await expect(page.getByText("Nothing has happened here yet")).toBeVisible();
  await inAllLooks(page, "overview-empty");
  for (const [hash, says] of [
    ["deliveries", "There are no deliveries yet"],
    ["events", "There are no events yet"],
    ["dead-letters", "There are no dead letters"],
    ["endpoints", "There are no endpoints yet"],
    ["subscriptions", "There are no subscriptions yet"],
    ["event-types", "There are no event types yet"],
    ["scheduled", "Nothing is scheduled"],
  ] as const) {
    await page.goto(`${dev.url}/#/${hash}`);
    await expect(page.getByText(says)).toBeVisible();
    await inAllLooks(page, `${hash}-empty`);
  }
});
