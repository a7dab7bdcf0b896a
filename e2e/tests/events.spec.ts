// Events: pushed by hand, told, and re-pushed; their types.
import type { Page } from "@playwright/test";
import { expect, test } from "../lib/test";
import { inAllLooks } from "../lib/look";

const SCHEMA = { type: "object", required: ["order_id"], properties: { order_id: { type: "string" }, total: { type: "number" } } };

const payload = (page: Page) => page.getByLabel(/^Payload/);

test("an event is pushed by hand, told, and re-pushed", async ({ page, place, open }) => {
  const { server, receiver } = place;
  const { api } = server;
  const namespace = "pushing";
  const { secret: key } = await api.makeKey("pusher", namespace, ["read", "write"]);
  await api.call("webhook.EventService/RegisterEvent", { name: "order.created", namespace, schema: SCHEMA });
  await api.endpoint(namespace, "Gets all", receiver.url("slow", "pushing"), ["order.*"]);
  const { id } = await api.endpoint(namespace, "Gets those of the US", receiver.url("ok", "pushing-us"), []);
  await api.call("webhook.SubscriptionService/CreateSubscription", { namespace, webhookId: id, eventName: "order.created", labelFilters: { region: "us" } });
  const resting = await api.endpoint(namespace, "Rests", receiver.url("ok", "pushing-rests"), ["order.created"]);
  await api.call("postrider.v1.EndpointService/SetEndpointStatus", { endpointId: resting.id, status: "paused" });

  await open(server, "#/events", key);
  await page.getByRole("main").getByRole("link", { name: "Push a test event" }).first().click();
  await expect(page.getByRole("heading", { level: 1, name: "Push a test event" })).toBeFocused();
  // The sample of the type is there as soon as it is named.
  await page.getByLabel(/^Event type/).fill("order.created");
  await expect(payload(page)).toHaveValue(/"order_id"/);
  await payload(page).fill('{"order_id": ');
  await expect(payload(page)).toHaveAttribute("aria-invalid", "true");
  await page.getByRole("button", { name: "Push it" }).click();
  await expect(page).toHaveURL(/#\/events\/push/);
  await payload(page).fill('{"order_id": "A-1", "total": 12345678901234567890}');
  await page.getByRole("button", { name: "Add one label" }).click();
  await page.getByLabel("Name of label 1").fill("region");
  await page.getByLabel("Value of label 1").fill("eu");
  await page.getByRole("button", { name: "Push it" }).click();

  await expect(page.getByRole("heading", { level: 1, name: "order.created" })).toBeFocused();
  await expect(page).toHaveURL(/#\/events\/[0-9a-f-]{36}$/);
  await expect(page.getByRole("main")).toContainText("region=eu");
  await expect(page.getByRole("group", { name: "Payload of the event" })).toContainText("12345678901234567890");
  // The page goes on by itself.
  await expect(page.getByText(/^1 delivery: 1 delivered, 0 waiting/)).toBeVisible();
  await expect(page.getByRole("region", { name: "Matched, and were skipped" })).toContainText("Rests");
  const others = page.getByRole("region", { name: "Why others got nothing" });
  await expect(others).toContainText("Gets those of the US");
  await expect(others.getByRole("listitem").filter({ hasText: "Does not hold:" }).last()).toContainText('label region is "us"');
  // Every digit is there.
  const [sent] = await receiver.arrived("pushing", 1);
  expect(sent?.body).toContain('{"order_id": "A-1", "total": 12345678901234567890}');

  const first = page.url();
  await page.getByRole("button", { name: "Re-push" }).click();
  await page.getByRole("dialog", { name: "Re-push this event" }).getByRole("button", { name: "Re-push" }).click();
  await expect(page).not.toHaveURL(first);
  await expect(page.getByText(/^1 delivery: 1 delivered/)).toBeVisible();

  // Changed on the way: what does not fit the schema is told, and delivered all the same.
  await page.getByRole("link", { name: /^Edit and push/ }).click();
  await expect(payload(page)).toHaveValue(/A-1/);
  await payload(page).fill('{"total": "much"}');
  await page.getByRole("button", { name: "Push it" }).click();
  await expect(page.getByRole("heading", { name: "The event is accepted, and does not fit the schema of its type" })).toBeFocused();
  await inAllLooks(page, "event-push-warnings");
  await page.getByRole("link", { name: /^To the event/ }).click();
  await expect(page.getByText("does not fit its schema")).toBeVisible();
});

test("events are narrowed and re-pushed together", async ({ page, place, open }) => {
  const { server, receiver } = place;
  const namespace = "repushing";
  const { secret: key } = await server.api.makeKey("repusher", namespace, ["read", "write"]);
  for (let n = 0; n < 20; n += 1) await server.api.push(namespace, "order.created", { n }, { labels: { region: n % 2 === 0 ? "eu" : "us" } });
  await server.api.endpoint(namespace, "Came later", receiver.url("ok", "repushing"), ["order.created"]);

  await open(server, "#/events", key);
  const rows = page.getByRole("table", { name: /^Events/ }).locator("tbody tr");
  await expect(rows).toHaveCount(20);
  await page.getByRole("button", { name: "Filter", exact: true }).click();
  await page.getByRole("dialog", { name: "Filter events" }).getByLabel("Labels").fill("region=eu");
  await page.getByRole("dialog", { name: "Filter events" }).getByRole("button", { name: "Apply" }).last().click();
  await expect(rows).toHaveCount(10);
  await page.getByRole("button", { name: /^Re-push all/ }).click();
  const dialog = page.getByRole("dialog", { name: "Re-push all that match" });
  await expect(dialog).toContainText("10 events match.");
  await dialog.getByRole("button", { name: "Re-push 10" }).click();
  await expect(page.getByRole("region", { name: "Bulk re-push" })).toContainText("completed");
  expect((await receiver.arrived("repushing", 10)).length).toBe(10);
  await page.getByRole("button", { name: "Refresh" }).click();
  await expect(rows).toHaveCount(20);
});

test("an event type is registered, changed, switched off and deleted", async ({ page, place, open, watch }) => {
  watch.expects(/40[09]/);
  const { server } = place;
  const namespace = "types";
  const { secret: key } = await server.api.makeKey("typist", namespace, ["read", "write"]);
  const push = (): Promise<string> => server.api.push(namespace, "ticket.sold", { seat: "A1" });
  await open(server, "#/event-types", key);
  await page.getByRole("main").getByRole("link", { name: "Register a type" }).first().click();
  await page.getByLabel(/^Name( optional)?$/).fill("ticket.sold");
  const schema = page.getByLabel(/^Schema/);
  await schema.fill('{"type": ');
  await expect(schema).toHaveAttribute("aria-invalid", "true");
  // What is JSON and no schema is refused by the server.
  await schema.fill('{"type": "seat"}');
  await page.getByRole("button", { name: "Register", exact: true }).click();
  await expect(page.getByRole("main").locator('[aria-invalid="true"], [role="alert"]').first()).toBeVisible();
  await inAllLooks(page, "event-type-refused");
  await schema.fill(JSON.stringify({ type: "object", required: ["seat"], properties: { seat: { type: "string" } } }));
  await page.getByRole("button", { name: "Register", exact: true }).click();
  await expect(page.getByRole("heading", { level: 1, name: "ticket.sold" })).toBeVisible();
  await expect(page.getByRole("group", { name: "Sample payload" })).toContainText('"seat"');

  await page.getByRole("link", { name: "Edit", exact: true }).click();
  await page.getByLabel(/^What it means/).fill("Somebody has a seat.");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByText("Somebody has a seat.")).toBeVisible();

  await page.getByRole("button", { name: "Deactivate" }).click();
  await page.getByRole("dialog", { name: "Deactivate this event type" }).getByRole("button", { name: "Deactivate" }).click();
  await expect(page.getByRole("button", { name: "Activate", exact: true })).toBeVisible();
  await expect(push()).rejects.toThrow(/failed_precondition/);
  await page.getByRole("button", { name: "Activate", exact: true }).click();
  await page.getByRole("dialog", { name: "Activate this event type" }).getByRole("button", { name: "Activate", exact: true }).click();
  await expect(page.getByRole("button", { name: "Deactivate" })).toBeVisible();
  expect(await push()).not.toBe("");

  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByRole("dialog", { name: "Delete this event type" }).getByRole("button", { name: "Delete" }).click();
  await expect(page).toHaveURL(/#\/event-types$/);
  await expect(page.getByText("There are no event types yet")).toBeVisible();
});
