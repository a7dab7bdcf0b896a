// Signing in: what a key may do here, and where it is kept.
import type { Page } from "@playwright/test";
import { MASTER_KEY, expect, test } from "../lib/test";
import { BILLING, SHOP } from "../lib/fill";
import { PHONE, inAllLooks } from "../lib/look";

const field = (page: Page) => page.getByLabel("API key");
const overview = (page: Page) => page.getByRole("heading", { level: 1, name: "Overview" });

/** Everything that the browser keeps for the page. */
function kept(page: Page): Promise<{ tab: Record<string, string>; device: Record<string, string>; cookies: string }> {
  return page.evaluate(() => ({ tab: { ...sessionStorage }, device: { ...localStorage }, cookies: document.cookie }));
}

async function signIn(page: Page, key: string): Promise<void> {
  await field(page).fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
}

test("a wrong key is refused, and nothing of it is kept", async ({ page, place, open, watch }) => {
  watch.expects(/401/);
  await open(place.server, "#/deliveries");
  await expect(page.getByRole("heading", { level: 1, name: "Sign in" })).toBeVisible();
  await expect(field(page)).toBeFocused();
  await expect(field(page)).toHaveAttribute("type", "password");
  await expect(field(page)).toHaveAttribute("autocomplete", "off");
  await inAllLooks(page, "sign-in");

  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(field(page)).toHaveAccessibleDescription(/Paste a key first/);
  await signIn(page, "two words");
  await expect(field(page)).toHaveAccessibleDescription(/no key/);
  await signIn(page, "pr_a-key-that-nobody-has");
  await expect(field(page)).toHaveAttribute("aria-invalid", "true");
  // Not that a request failed, but what is wrong.
  await expect(field(page)).toHaveAccessibleDescription(/API key/);
  await expect(field(page)).not.toHaveAccessibleDescription(/HTTP/);
  const { tab, device } = await kept(page);
  expect(Object.keys(tab)).toEqual([]);
  expect(JSON.stringify(device)).not.toContain("nobody-has");
  await inAllLooks(page, "sign-in-refused");

  // The page that was asked for is there after the right one.
  await signIn(page, MASTER_KEY);
  await expect(page.getByRole("heading", { level: 1, name: "Deliveries" })).toBeVisible();
});

test("the key stays in the tab and in one header", async ({ page, context, place, open, watch }) => {
  const { server, filled } = place;
  watch.expects(/401/);
  await open(server, "#/");
  await signIn(page, MASTER_KEY);
  await expect(overview(page)).toBeVisible();
  for (const hash of ["#/deliveries", `#/deliveries/${filled.deliveries["failed"]}`, "#/endpoints", "#/keys", "#/nodes"]) {
    await page.evaluate((to) => {
      location.hash = to;
    }, hash);
    await expect(page.getByRole("main").getByRole("heading", { level: 1 })).toBeVisible();
    await expect(page.locator(".skeleton")).toHaveCount(0);
    expect(page.url()).not.toContain(MASTER_KEY);
    expect(await page.content()).not.toContain(MASTER_KEY);
    // Neither does it stand in a field.
    expect(await page.locator("input, textarea").evaluateAll((all) => all.map((one) => (one as HTMLInputElement).value))).not.toContain(MASTER_KEY);
  }
  const { tab, device, cookies } = await kept(page);
  expect(tab).toEqual({ "postrider:/:key": MASTER_KEY });
  expect(JSON.stringify(device)).not.toContain(MASTER_KEY);
  expect(cookies).toBe("");
  expect(await context.cookies()).toEqual([]);
  expect(watch.console.filter((line) => line.includes(MASTER_KEY))).toEqual([]);
  expect(watch.requests.map((request) => request.url()).filter((url) => url.includes(MASTER_KEY))).toEqual([]);
  for (const request of watch.requests) {
    const { authorization, ...others } = request.headers();
    expect(JSON.stringify(others)).not.toContain(MASTER_KEY);
    const isCall = /\/(postrider\.v1|webhook)\./.test(request.url());
    if (!isCall) expect(authorization).toBeUndefined();
  }

  // Another tab does not know it.
  const other = await context.newPage();
  await other.goto(`${server.url}/`);
  await expect(field(other)).toBeVisible();
  await other.close();

  await page.reload();
  await expect(page.getByRole("heading", { level: 1, name: "Nodes" })).toBeVisible();
  await page.getByRole("button", { name: "bootstrap" }).click();
  await page.getByRole("dialog", { name: "This session" }).getByRole("button", { name: "Sign out" }).click();
  await expect(field(page)).toBeVisible();
  expect((await kept(page)).tab).toEqual({});
});

test("a row that is opened in a tab of its own needs no key again", async ({ page, context, place, open, watch }) => {
  watch.expects(/401/);
  const { server } = place;
  await open(server, "#/");
  await signIn(page, MASTER_KEY);
  await expect(overview(page)).toBeVisible();
  await page.goto(`${server.url}/#/deliveries?live=off`);
  const row = page.getByRole("table", { name: /^Deliveries/ }).locator("tbody tr").first();
  const opened = context.waitForEvent("page");
  await row.locator('td[data-title="Endpoint"]').click({ modifiers: ["ControlOrMeta"] });
  const tab = await opened;
  await expect(tab.getByRole("heading", { level: 1, name: / → / })).toBeVisible();
  await expect(page.getByRole("heading", { level: 1, name: "Deliveries" })).toBeVisible();
  await tab.close();
});

test("a key is kept on the device only where that was chosen", async ({ page, context, place, open, watch }) => {
  watch.expects(/401/);
  const key = place.filled.keys["writer"] ?? "";
  await open(place.server, "#/");
  await page.getByRole("switch", { name: "Keep it on this device" }).check();
  await signIn(page, key);
  await expect(overview(page)).toBeVisible();
  expect((await kept(page)).device["postrider:/:key"]).toBe(key);

  const other = await context.newPage();
  await other.goto(`${place.server.url}/`);
  await expect(overview(other)).toBeVisible();
  await other.getByRole("button", { name: "writer" }).click();
  await other.getByRole("dialog", { name: "This session" }).getByRole("button", { name: "Sign out" }).click();
  await expect(field(other)).toBeVisible();
  expect(JSON.stringify(await kept(other))).not.toContain(key);
});

test("a key that only reads can change nothing, and the page says why", async ({ page, place, open }) => {
  const { server, filled } = place;
  await open(server, "#/deliveries", filled.keys["reader"]);
  const again = page.getByRole("button", { name: /^Retry all/ });
  await expect(again).toHaveAttribute("aria-disabled", "true");
  await expect(again).toHaveAccessibleDescription("This key lacks the scope write.");
  await again.click({ force: true });
  await expect(page.getByRole("dialog")).toHaveCount(0);

  await page.goto(`${server.url}/#/deliveries/${filled.deliveries["failed"]}`);
  await expect(page.getByRole("button", { name: "Retry", exact: true })).toHaveAccessibleDescription("This key lacks the scope write.");
  // What only admins see is not offered to others.
  const pages = page.getByRole("navigation", { name: "Pages" });
  await expect(pages.getByRole("link", { name: "Deliveries" })).toBeVisible();
  await expect(pages.getByRole("link", { name: "Keys" })).toHaveCount(0);
  // A key of a namespace has no choice of another one.
  await expect(page.getByRole("complementary").getByText(SHOP, { exact: true })).toBeVisible();
  await expect(page.getByRole("button", { name: /^Namespace/ })).toHaveCount(0);
});

test("a key that is revoked while the page is open leads back to the entry", async ({ page, place, open, watch }) => {
  watch.expects(/401/);
  const { api } = place.server;
  const key = await api.makeKey("short-lived", SHOP, ["read"]);
  await open(place.server, "#/");
  await signIn(page, key.secret);
  await expect(overview(page)).toBeVisible();
  await api.call("postrider.v1.AdminService/RevokeKey", { keyId: key.id });
  // The overview asks again by itself.
  await expect(page.getByRole("heading", { level: 1, name: "Sign in" })).toBeVisible();
  await expect(field(page)).toHaveAccessibleDescription(/API key/);
  expect((await kept(page)).tab).toEqual({});
});

test("a key that is pasted where something is searched for stays out of the address", async ({ page, place, open }) => {
  await open(place.server, "#/endpoints", MASTER_KEY);
  const search = page.getByLabel("Name, URL or id");
  for (const secret of [MASTER_KEY, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]) {
    await search.fill(secret);
    await expect(page.getByText("That is an API key or a secret: it is not searched for.").last()).toBeVisible();
    await expect(search).toHaveValue("");
    expect(page.url()).not.toContain(secret);
  }
  await page.getByLabel("Find by an id or key").fill(MASTER_KEY);
  await page.keyboard.press("Enter");
  await expect(page.getByText(/^That is a key: it is not searched for\./)).toBeVisible();
  expect(page.url()).not.toContain(MASTER_KEY);
});

test("in development mode nobody asks for a key", async ({ page, dev, open }) => {
  await dev.api.endpoint("default", "Anybody", "http://127.0.0.1:9/", ["order.created"]);
  await open(dev, "#/");
  await expect(overview(page)).toBeVisible();
  await page.getByRole("button", { name: "No key" }).click();
  await expect(page.getByRole("dialog", { name: "This session" })).toContainText("development mode");
});

test("a key of all namespaces looks at one of them", async ({ page, place, open }) => {
  await open(place.server, "#/deliveries?live=off", MASTER_KEY);
  const table = page.getByRole("table", { name: /^Deliveries/ });
  await expect(table.getByRole("columnheader", { name: "Namespace" })).toBeVisible();
  await page.getByRole("button", { name: "Namespace: all" }).click();
  const dialog = page.getByRole("dialog", { name: "Namespace" });
  await dialog.getByLabel("Prefix").fill("bill");
  await expect(dialog.getByRole("button", { name: SHOP, exact: true })).toHaveCount(0);
  await dialog.getByRole("button", { name: BILLING, exact: true }).click();
  await expect(page.getByText("5 deliveries match.")).toBeVisible();
  await expect(table.getByRole("columnheader", { name: "Namespace" })).toHaveCount(0);
  // It is remembered.
  await page.reload();
  await expect(page.getByRole("button", { name: `Namespace: ${BILLING}` })).toBeVisible();
  await expect(page.getByText("5 deliveries match.")).toBeVisible();
});

test("signing in on a phone", async ({ page, place, open, watch }) => {
  watch.expects(/401/);
  await page.setViewportSize(PHONE);
  await open(place.server, "#/");
  await signIn(page, place.filled.keys["writer"] ?? "");
  await expect(overview(page)).toBeVisible();
});
