// One delivery: found by what stands in a log, told as a story, retried and cancelled.
import type { Page } from "@playwright/test";
import type { Api } from "../lib/api";
import { MASTER_KEY, expect, test } from "../lib/test";
import { until } from "../lib/until";

/** The one delivery of a namespace, once it is in this state. */
async function only(api: Api, namespace: string, state: string): Promise<string> {
  const [one] = await until(`a delivery that is ${state}`, () => api.deliveries({ namespace, states: [state] }), (all) => all.length === 1);
  return one?.["deliveryId"] ?? "";
}

const search = (page: Page) => page.getByRole("searchbox", { name: "Find by an id or key" });
const attempt = (page: Page, number: number) => page.getByRole("button", { name: new RegExp(`^Attempt ${number}\\b`) });

/** What a screen reader is told of the state. */
const state = (page: Page, is: string) => page.getByText(new RegExp(`^The delivery is ${is}, after`));

test("a failed delivery is found by its id, and retried until it succeeds", async ({ page, site, open }) => {
  const { server, receiver } = site;
  const namespace = "mending";
  await server.api.endpoint(namespace, "Mended meanwhile", receiver.url("fail", "mended"), ["order.created"], { httpConfig: { maxRetries: 0 } });
  await server.api.push(namespace, "order.created", { order: 7, note: "Größe: 42" }, { id: "order-7-of-mending" });
  const id = await only(server.api, namespace, "failed");

  await open(server, "#/", MASTER_KEY);
  await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
  await page.keyboard.press("/");
  await expect(search(page)).toBeFocused();
  await page.keyboard.type(id);
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(new RegExp(`#/deliveries/${id}$`));
  await expect(page.getByRole("heading", { level: 1, name: / → / })).toBeFocused();
  await expect(state(page, "failed")).toBeAttached();

  // The story says what was wrong.
  await expect(page.getByRole("heading", { name: "The event was accepted" })).toBeVisible();
  await expect(page.getByRole("heading", { name: "It matched a subscription" })).toBeVisible();
  await expect(page.getByText("event type is order.created")).toBeVisible();
  await expect(attempt(page, 1)).toHaveAttribute("aria-expanded", "true");
  await expect(attempt(page, 1)).toContainText("500");
  await expect(page.getByRole("group", { name: "Response body" })).toContainText("the database is away");
  await expect(page.getByRole("heading", { name: "Outcome" })).toBeVisible();
  await expect(page.getByText("No attempt is left: 1 of 1 were made.")).toBeVisible();

  receiver.mend("mended");
  await page.getByRole("button", { name: "Retry", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Retry this delivery" });
  await dialog.getByRole("button", { name: "Retry" }).click();
  await expect(dialog).toHaveCount(0);
  // The page goes on by itself.
  await expect(state(page, "succeeded")).toBeAttached();
  await expect(attempt(page, 2)).toContainText("200");
  await expect(page.getByText("Delivered; nothing more happens.", { exact: true })).toBeVisible();

  const [first, second] = await receiver.arrived("mended", 2);
  expect(second?.headers["idempotency-key"]).toBe(first?.headers["idempotency-key"]);
  expect(second?.headers["webhook-id"]).toBe(first?.headers["webhook-id"]);
  expect(JSON.parse(second?.body ?? "{}").payload).toEqual({ order: 7, note: "Größe: 42" });

  // What receivers and publishers log leads there, too.
  for (const text of [`${first?.headers["idempotency-key"]}`, `${first?.headers["webhook-id"]}`]) {
    await page.goto(`${server.url}/#/`);
    await search(page).fill(text);
    await search(page).press("Enter");
    await expect(page).toHaveURL(new RegExp(`#/deliveries/${id}$`));
  }
  await search(page).fill("order-7-of-mending");
  await search(page).press("Enter");
  await expect(page).toHaveURL(/#\/events\/[0-9a-f-]+$/);
  await search(page).fill("nothing-has-this-id");
  await search(page).press("Enter");
  await expect(page.getByText("Nothing is found")).toBeVisible();
});

test("the list is narrowed by an id or a key", async ({ page, site, open }) => {
  const { server, receiver } = site;
  const namespace = "sought";
  await server.api.endpoint(namespace, "One", receiver.url("ok", "sought-1"), ["order.created"]);
  await server.api.endpoint(namespace, "Other", receiver.url("fail", "sought-2"), ["order.created"], { httpConfig: { maxRetries: 0 } });
  const event = await server.api.push(namespace, "order.created", { order: 1 }, { id: "order-1-sought" });
  await server.api.push(namespace, "order.created", { order: 2 });
  await until("all deliveries at their end", () => server.api.count({ namespace, states: ["succeeded", "failed"] }), (count) => count === 4);
  const [failed] = await server.api.deliveries({ namespace, eventId: event, states: ["failed"] });
  const story = await server.api.story(failed?.["deliveryId"]);
  const rows = page.getByRole("table", { name: /^Deliveries/ }).locator("tbody tr");

  await open(server, "#/deliveries", MASTER_KEY);
  await page.getByRole("button", { name: "Filter", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Filter deliveries" });
  const field = dialog.getByLabel("Id or key");
  // A secret stands in no address.
  await field.fill("whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=");
  await field.press("Enter");
  await expect(field).toHaveAttribute("aria-invalid", "true");
  await field.fill("order-1-sought");
  await field.press("Enter");
  await expect(dialog).toHaveCount(0);
  await expect(rows).toHaveCount(2);
  await expect(page.getByRole("button", { name: /^Retry all/ })).toHaveAttribute("aria-disabled", "true");
  for (const text of [failed?.["deliveryId"], story["idempotencyKey"]]) {
    await page.goto(`${server.url}/#/deliveries?id=${encodeURIComponent(text)}`);
    await expect(rows).toHaveCount(1);
    await expect(rows.first()).toContainText("Other");
  }
  // The rest of the filter holds too.
  await page.goto(`${server.url}/#/deliveries?id=order-1-sought&state=succeeded`);
  await expect(rows).toHaveCount(1);
  await expect(rows.first()).toContainText("One");
  await page.goto(`${server.url}/#/deliveries?id=nobody-has-this`);
  await expect(page.getByText("Nothing matches")).toBeVisible();
});

test("an attempt shows its parts, headers, bodies and signature", async ({ page, context, site, open }) => {
  const { server, receiver } = site;
  const namespace = "parts";
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await server.api.endpoint(namespace, "Everything", receiver.url("large", "parts"), ["*"], {
    headers: { "X-Shop": "bakery" }, secretHeaders: { "X-Token": "a-token-of-the-bakery" }, httpConfig: { captureResponseBody: true },
  });
  await server.api.push(namespace, "bread.baked", { loaves: 12 });
  const id = await only(server.api, namespace, "succeeded");
  await open(server, `#/deliveries/${id}`, MASTER_KEY);

  const phases = page.getByRole("table", { name: "How long the parts of the exchange took" });
  await expect(phases.getByRole("rowheader", { name: "Total" })).toBeVisible();
  await expect(phases.locator("rect.track").first()).toBeVisible();
  // Of a large body a part is put on the screen, and more where somebody asks for it.
  const body = page.getByRole("group", { name: "Response body" });
  await expect(body).toContainText("the quick brown fox");
  const before = (await body.innerText()).length;
  await page.getByRole("button", { name: "Show more" }).click();
  await expect.poll(async () => (await body.innerText()).length).toBeGreaterThan(before);
  await page.getByRole("button", { name: "Raw", exact: true }).click();
  await expect(body).toContainText('{"lines":[{"line":0,');

  await page.getByRole("tab", { name: "Request" }).click();
  const headers = page.getByRole("group", { name: "Request headers" });
  await expect(headers).toContainText("bakery");
  await expect(headers).not.toContainText("a-token-of-the-bakery");
  await expect(page.getByRole("group", { name: "Request body" })).toContainText('"loaves": 12');
  await page.getByRole("button", { name: "Copy: Request body" }).click();
  await expect(page.getByText("Copied", { exact: true })).toBeAttached();
  const [sent] = await receiver.arrived("parts", 1);
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(sent?.body);
  expect(sent?.headers["x-token"]).toBe("a-token-of-the-bakery");

  // Arrow keys go from tab to tab.
  await page.getByRole("tab", { name: "Request" }).press("ArrowRight");
  await expect(page.getByRole("tab", { name: "Signature" })).toBeFocused();
  await expect(page.getByRole("heading", { name: "Standard Webhooks" })).toBeVisible();
  await expect(page.getByText("HMAC-SHA256", { exact: true })).toBeVisible();

  await page.getByRole("button", { name: "Copy as curl" }).click();
  await expect(page.getByRole("button", { name: "Copied" })).toBeVisible();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  expect(command).toContain(`curl -i -X POST ${receiver.url("large", "parts")}`);
  expect(command.toLowerCase()).toContain("x-shop: bakery");
  expect(command).not.toContain("a-token-of-the-bakery");
});

test("a delivery that waits is cancelled", async ({ page, site, open }) => {
  const { server, receiver } = site;
  const namespace = "called-off";
  const retries = { maxRetries: 3, retryBackoffSeconds: 3_600 };
  await server.api.endpoint(namespace, "Too slow to mend", receiver.url("fail", "off"), ["order.created"], { httpConfig: retries });
  await server.api.push(namespace, "order.created", { order: 8 });
  const id = await only(server.api, namespace, "retrying");
  await open(server, `#/deliveries/${id}`, MASTER_KEY);
  await expect(page.getByRole("heading", { name: "What comes next" })).toBeVisible();
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Cancel this delivery" });
  // It begins with what changes nothing.
  await expect(dialog.getByRole("button", { name: "Keep it" })).toBeFocused();
  await dialog.getByRole("button", { name: "Cancel delivery" }).click();
  await expect(state(page, "cancelled")).toBeAttached();
  await expect(page.getByText("Cancelled by a person.", { exact: true })).toBeVisible();
  await expect(page.getByRole("button", { name: "Cancel", exact: true })).toHaveAttribute("aria-disabled", "true");
});

test("a delivery that nobody has", async ({ page, site, open, watch }) => {
  watch.expects(/404/);
  await open(site.server, "#/deliveries/01a200f1-2ef5-7824-bb69-5d10f3bd1879", MASTER_KEY);
  await expect(page.getByRole("alert")).toContainText("not_found");
});
