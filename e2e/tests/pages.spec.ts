// Every page over the filled store: it shows what is there, in light and dark, wide and narrow, and axe finds nothing.
import { type Page, expect } from "@playwright/test";
import { SHOP } from "../lib/fill";
import { inAllLooks, settled } from "../lib/look";
import { MASTER_KEY, type Place, endpointOf, test } from "../lib/test";

interface Look {
  /** What its pictures are called. */
  name: string;
  /** Where it is, behind `#/`. */
  at: string | ((place: Place) => string);
  heading: string | RegExp;
  /** What it must show. */
  shows: (page: Page, place: Place) => Promise<void>;
  /** Whether it is for who sees all namespaces. */
  master?: true;
}

const table = (page: Page, name: RegExp) => page.getByRole("table", { name });
const figure = (page: Page, title: string) =>
  page.getByLabel("Health now").locator("> div").filter({ has: page.getByText(title, { exact: true }) }).locator("dd").first();
const say = (count: number): string => count.toLocaleString("en");

const PAGES: readonly Look[] = [
  {
    name: "overview",
    at: "",
    heading: "Overview",
    shows: async (page, { server }) => {
      const now = await server.api.call("postrider.v1.OverviewService/GetOverview", { namespace: SHOP });
      await expect(figure(page, "Dead letters")).toHaveText(say(Number(now["openDeadLetters"])));
      await expect(figure(page, "Endpoints")).toHaveText(say(Number(now["endpoints"].total)));
      await expect(table(page, /^Failing endpoints/).getByRole("link", { name: "Old marketplace" })).toBeVisible();
      await expect(page.getByRole("img", { name: /^Throughput, a second\./ })).toBeVisible();
      await page.getByText("As a table: Throughput").click();
      await expect(page.getByRole("group", { name: "Throughput, a second as a table" }).getByRole("columnheader", { name: "Deliveries" })).toBeVisible();
      await page.getByRole("group", { name: "Range" }).getByRole("button", { name: "15 min" }).click();
      await expect(page).toHaveURL(/range=15m/);
    },
  },
  {
    name: "deliveries-live",
    at: "deliveries",
    heading: "Deliveries",
    shows: async (page) => {
      await expect(page.getByText("The list is live")).toBeAttached();
      await expect(table(page, /^Deliveries/).locator("tbody tr").nth(49)).toBeVisible();
    },
  },
  {
    name: "deliveries",
    at: "deliveries?live=off&state=failed&state=retrying",
    heading: "Deliveries",
    shows: async (page, { server }) => {
      const count = await server.api.count({ namespace: SHOP, states: ["failed", "retrying"] });
      await expect(page.getByText(`${say(count)} deliveries match.`)).toBeVisible();
      await expect(page.getByRole("list", { name: "Filters of deliveries" }).getByRole("listitem")).toHaveCount(2);
      await expect(table(page, /^Deliveries/).getByRole("row", { name: /Nobody home/ }).first()).toContainText("connection refused");
    },
  },
  ...["pending", "sending", "retrying", "succeeded", "failed", "expired", "cancelled"].map(
    (state): Look => ({
      name: `delivery-${state}`,
      at: ({ filled }) => `deliveries/${filled.deliveries[state]}`,
      heading: / → /,
      shows: async (page, { server, filled }) => {
        await expect(page.getByText(new RegExp(`^The delivery is ${state}, after`))).toBeAttached();
        const { next } = await server.api.story(filled.deliveries[state] ?? "");
        const isSteady = ["succeeded", "failed", "expired", "cancelled"].includes(state);
        await expect(page.getByRole("heading", { name: isSteady ? "Outcome" : "What comes next" })).toBeVisible();
        if (isSteady) await expect(page.getByText(next)).toBeVisible();
      },
    }),
  ),
  {
    name: "find-nothing",
    at: "find?text=nothing-has-this-id",
    heading: "Find",
    shows: async (page) => expect(page.getByText("Nothing is found")).toBeVisible(),
  },
  {
    name: "events",
    at: "events",
    heading: "Events",
    shows: async (page) => {
      const first = table(page, /^Events/).getByRole("row", { name: /order\.refunded/ }).first();
      await expect(first).toContainText("failed");
      await expect(first).toContainText("region=us");
    },
  },
  {
    name: "events-broken",
    at: "events?schema=broken",
    heading: "Events",
    shows: async (page) => expect(table(page, /^Events/).locator("tbody tr")).toHaveCount(4),
  },
  {
    name: "event",
    at: ({ filled }) => `events/${filled.eventId}`,
    heading: "order.refunded",
    shows: async (page) => {
      await expect(page.getByRole("group", { name: "Payload of the event" })).toContainText('"reason": "broken"');
      await expect(page.getByRole("main")).toContainText("clerk=Ada");
      await expect(table(page, /^Deliveries of this event/).getByRole("row", { name: /Plain text behind TLS/ })).toContainText("tls error");
      await expect(page.getByRole("heading", { name: "Why others got nothing" })).toBeVisible();
    },
  },
  {
    name: "event-push",
    at: "events/push?type=order.created",
    heading: "Push a test event",
    shows: async (page) => expect(page.getByLabel(/^Payload/)).toHaveValue(/"order_id"/),
  },
  {
    name: "dead-letters",
    at: "dead-letters",
    heading: "Dead letters",
    shows: async (page) => {
      for (const code of ["connector_5xx", "connector_4xx", "delivery_timeout", "tls_error", "endpoint_gone"]) {
        await expect(page.getByRole("region", { name: new RegExp(`\\b${code}\\b`) })).toContainText("What to do:");
      }
      await expect(page.getByRole("region", { name: /connector_5xx/ })).toContainText("120");
    },
  },
  {
    name: "dead-letters-list",
    at: "dead-letters?view=list",
    heading: "Dead letters",
    shows: async (page) => expect(table(page, /^Dead letters/).getByRole("checkbox").first()).toBeVisible(),
  },
  {
    name: "dead-letters-cause",
    at: (place) => `dead-letters?code=connector_5xx&endpoint=${endpointOf(place, "Customer care")}`,
    heading: "Dead letters",
    shows: async (page) => expect(page.getByText("120 dead letters match.")).toBeVisible(),
  },
  {
    name: "replays-none",
    at: "dead-letters/jobs",
    heading: "Replays",
    shows: async (page) => expect(page.getByText("Nothing was replayed so far")).toBeVisible(),
  },
  {
    name: "endpoints",
    at: "endpoints",
    heading: "Endpoints",
    shows: async (page) => {
      await expect(page.getByText("18 endpoints.")).toBeVisible();
      await expect(table(page, /^Endpoints/).getByRole("row", { name: /On holiday/ })).toContainText("paused");
      await expect(table(page, /^Endpoints/).getByRole("row", { name: /Old marketplace/ })).toContainText("disabled");
    },
  },
  {
    name: "endpoint-unhealthy",
    at: (place) => `endpoints/${endpointOf(place, "Customer care")}`,
    heading: "Customer care",
    shows: async (page) => {
      const doing = page.getByRole("region", { name: "Health", exact: true });
      await expect(doing).toContainText("unhealthy");
      await expect(doing.getByRole("link", { name: "120 that nobody dealt with" })).toBeVisible();
      await expect(page.getByRole("region", { name: "Signing" })).toContainText("newest");
    },
  },
  {
    name: "endpoint-disabled",
    at: (place) => `endpoints/${endpointOf(place, "Old marketplace")}`,
    heading: "Old marketplace",
    shows: async (page) => expect(page.getByRole("button", { name: "Enable" })).toBeVisible(),
  },
  {
    name: "endpoint-healthy",
    at: (place) => `endpoints/${endpointOf(place, "Warehouse")}`,
    heading: "Warehouse",
    shows: async (page) => expect(table(page, /^Subscriptions/).getByRole("row", { name: /Paid in Europe/ })).toBeVisible(),
  },
  {
    name: "endpoint-new",
    at: "endpoints/new",
    heading: "New endpoint",
    shows: async (page) => expect(page.getByLabel(/^URL/)).toBeVisible(),
  },
  {
    name: "endpoint-edit",
    at: (place) => `endpoints/${endpointOf(place, "Black hole")}/edit`,
    heading: "Edit the endpoint",
    shows: async (page) => expect(page.getByLabel(/^Timeout/)).toHaveValue("1"),
  },
  {
    name: "subscriptions",
    at: "subscriptions",
    heading: "Subscriptions",
    shows: async (page) => {
      await expect(table(page, /^Subscriptions/).getByRole("row", { name: /Paid in Europe/ })).toContainText("region");
      await expect(table(page, /^Subscriptions/).getByRole("row", { name: /New customers/ })).toContainText("Items");
    },
  },
  {
    name: "subscription-template",
    at: ({ filled }) => `subscriptions/${filled.subscriptionId}`,
    heading: "Paid in Europe",
    shows: async (page) => {
      await expect(page.getByRole("group", { name: "Template" })).toContainText("is paid");
      await expect(page.getByText(/^Would have matched 30 of [\d,]+$/)).toBeVisible();
      await expect(page.getByRole("group", { name: "Body of example 1" })).toContainText("is paid");
      await page.getByRole("tab", { name: /^Would not/ }).click();
      await expect(page.getByText("Does not hold:").first()).toBeAttached();
    },
  },
  {
    name: "subscription-binding",
    at: ({ filled }) => `subscriptions/${filled.bindingId}`,
    heading: "New customers",
    shows: async (page) => {
      await expect(page.getByRole("group", { name: "Field map" })).toContainText("full_name");
      await expect(page.getByRole("group", { name: "Body of example 1" })).toContainText('"full_name"');
    },
  },
  {
    name: "subscription-new",
    at: (place) => `subscriptions/new?endpoint=${endpointOf(place, "Warehouse")}&type=order.*`,
    heading: "New subscription",
    shows: async (page) => expect(page.getByText(/^Would have matched [\d,]+ of [\d,]+$/)).toBeVisible(),
  },
  {
    name: "subscription-edit",
    at: ({ filled }) => `subscriptions/${filled.subscriptionId}/edit`,
    heading: "Edit the subscription",
    shows: async (page) => expect(page.getByLabel(/^Template/)).toHaveValue(/is paid/),
  },
  {
    name: "event-types",
    at: "event-types",
    heading: "Event types",
    shows: async (page) => {
      await expect(table(page, /^Event types/).getByRole("row", { name: /order\.created/ })).toContainText("A customer has ordered something.");
      await expect(table(page, /^Event types/).getByRole("row", { name: /order\.archived/ })).toContainText("inactive");
    },
  },
  {
    name: "event-type",
    at: "event-types/order.created",
    heading: "order.created",
    shows: async (page) => {
      await expect(page.getByRole("group", { name: "Schema" })).toContainText('"order_id"');
      await expect(page.getByRole("group", { name: "Sample payload" })).toContainText('"currency"');
    },
  },
  {
    name: "event-type-new",
    at: "event-types/-/new",
    heading: "Register an event type",
    shows: async (page) => expect(page.getByLabel(/^Schema/)).toBeVisible(),
  },
  {
    name: "event-type-edit",
    at: "event-types/order.paid/edit",
    heading: "Edit order.paid",
    shows: async (page) => expect(page.getByLabel("Value of entry 1")).toHaveValue("payments"),
  },
  {
    name: "scheduled",
    at: "scheduled",
    heading: "Scheduled",
    shows: async (page) => {
      const rows = table(page, /^Scheduled webhooks/).locator("tbody tr");
      await expect(rows).toHaveCount(3);
      await expect(rows.last()).toContainText("completed");
    },
  },
  {
    name: "scheduled-one",
    at: ({ filled }) => `scheduled?id=${filled.scheduledId}`,
    heading: "Scheduled",
    shows: async (page) => {
      await expect(page.getByRole("dialog", { name: "Scheduled webhook" }).getByRole("group", { name: "Payload" })).toContainText('"A-1"');
    },
  },
  {
    name: "scheduled-new",
    at: ({ filled }) => `scheduled/new?subscription=${filled.subscriptionId}`,
    heading: "Schedule a payload",
    shows: async (page, { filled }) => expect(page.getByLabel("Subscription", { exact: true })).toHaveValue(filled.subscriptionId),
  },
  {
    name: "keys",
    at: "keys",
    heading: "Keys",
    master: true,
    shows: async (page) => {
      const rows = table(page, /^API keys/);
      await expect(rows.getByRole("row", { name: /bootstrap/ })).toContainText("this session");
      await expect(rows.getByRole("row", { name: /leaked/ })).toHaveCount(0);
      await page.getByRole("button", { name: "Revoked and expired ones too" }).click();
      await expect(rows.getByRole("row", { name: /leaked/ })).toContainText("revoked");
    },
  },
  {
    name: "nodes",
    at: "nodes",
    heading: "Nodes and settings",
    master: true,
    shows: async (page) => {
      await expect(table(page, /^Nodes/).getByText("answers you")).toBeVisible();
      await expect(table(page, /^Settings/).getByRole("row", { name: /allow_networks/ })).toContainText("127.0.0.0/8");
      expect(await page.content()).not.toContain(MASTER_KEY);
    },
  },
  {
    name: "nodes-of-a-namespace",
    at: "nodes",
    heading: "Nodes and settings",
    shows: async (page) => expect(page.getByText("Nodes and settings belong to no namespace")).toBeVisible(),
  },
  {
    name: "nowhere",
    at: "no/such/page",
    heading: "No such page",
    shows: async (page) => expect(page.getByRole("link", { name: "To the overview" })).toBeVisible(),
  },
];

for (const { name, at, heading, shows, master } of PAGES) {
  test(`the page ${name}`, async ({ page, place, open }) => {
    const hash = typeof at === "string" ? at : at(place);
    await open(place.server, `#/${hash}`, master === true ? MASTER_KEY : place.filled.keys["manager"]);
    await expect(page.getByRole("main").getByRole("heading", { level: 1, name: heading })).toBeVisible();
    await expect(page).toHaveTitle(/ – Postrider$/);
    await shows(page, place);
    await settled(page);
    await inAllLooks(page, name);
  });
}
