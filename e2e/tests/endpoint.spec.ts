// An endpoint from its making to its end: settings, tests, pauses, secrets.
import type { Page } from "@playwright/test";
import { Webhook } from "standardwebhooks";
import type { Received } from "../lib/receiver";
import { expect, test } from "../lib/test";
import { inAllLooks } from "../lib/look";
import { until } from "../lib/until";

/** What the endpoint's page says of its status, beside its name. */
const status = (page: Page, is: string) => page.getByRole("main").locator("header").getByText(is, { exact: true });

/** Whether a receiver that has this secret takes a request, by a library of the standard. */
function verifies(secret: string, request: Received | undefined): boolean {
  try {
    new Webhook(secret).verify(request?.body ?? "", (request?.headers ?? {}) as Record<string, string>);
    return true;
  } catch {
    return false;
  }
}

test("an endpoint is made, tested, changed and deleted", async ({ page, place, open, watch }) => {
  watch.expects(/40[049]/);
  const { server, receiver } = place;
  const namespace = "making";
  const { secret: key } = await server.api.makeKey("maker", namespace, ["read", "write"]);
  await server.api.endpoint(namespace, "There before", receiver.url("ok", "before"), ["order.paid"]);
  await open(server, "#/endpoints", key);
  await page.getByRole("link", { name: "New endpoint" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "New endpoint" })).toBeFocused();

  // What is missing is told at the field, which gets the focus.
  const url = page.getByLabel(/^URL/);
  await page.getByRole("button", { name: "Create endpoint" }).click();
  await expect(url).toHaveAttribute("aria-invalid", "true");
  await expect(url).toBeFocused();
  // What the server refuses is told there, too.
  await url.fill(receiver.url("ok", "before"));
  await page.getByRole("button", { name: "Create endpoint" }).click();
  await expect(url).toHaveAttribute("aria-invalid", "true");
  await inAllLooks(page, "endpoint-new-refused");
  await url.fill(receiver.url("ok", "made"));
  await page.getByLabel(/^Name( optional)?$/).fill("Made by hand");
  await page.getByLabel(/^Event types/).fill("order.created\norder.paid");
  await page.getByRole("button", { name: "Create endpoint" }).click();
  const once = page.getByRole("region", { name: "Endpoint created" });
  const secret = await once.locator("code").innerText();
  expect(secret).toMatch(/^whsec_/);
  await inAllLooks(page, "endpoint-made");
  // Who goes without the secret is asked first.
  const asked = page.waitForEvent("dialog");
  await page.keyboard.press("g");
  const pressed = page.keyboard.press("d");
  await (await asked).dismiss();
  await pressed;
  await expect(page).toHaveURL(/#\/endpoints\/new$/);
  await expect(once).toContainText(secret);
  await page.getByRole("link", { name: "To the endpoint" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Made by hand" })).toBeFocused();
  expect(await page.content()).not.toContain(secret);

  await page.getByRole("button", { name: "Send a test" }).click();
  const probe = page.getByRole("dialog", { name: "Send a test" });
  await probe.getByRole("button", { name: "Send it" }).click();
  await expect(probe).toContainText("The receiver took it.");
  await expect(probe.getByRole("table", { name: "How long the parts of the exchange took" })).toBeVisible();
  await inAllLooks(page, "endpoint-test");
  const [request] = await receiver.arrived("made", 1);
  expect(verifies(secret, request)).toBe(true);
  await page.keyboard.press("Escape");

  await page.getByRole("link", { name: "Edit", exact: true }).click();
  await page.getByLabel(/^Name( optional)?$/).fill("Changed by hand");
  await page.getByLabel(/^Timeout/).fill("500");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByLabel(/^Timeout/)).toHaveAttribute("aria-invalid", "true");
  await page.getByLabel(/^Timeout/).fill("5");
  await page.getByRole("button", { name: "Add one secret header" }).click();
  await page.getByLabel("Name of secret header 1").fill("X-Token");
  await page.getByLabel("Value of secret header 1").fill("a-token-of-making");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Changed by hand" })).toBeVisible();
  const settings = page.getByRole("region", { name: "How it is called" });
  await expect(settings).toContainText("5 s");
  await expect(settings).toContainText(/x-token/i);
  expect(await page.content()).not.toContain("a-token-of-making");
  await server.api.push(namespace, "order.created", {});
  const [, second] = await receiver.arrived("made", 2);
  expect(second?.headers["x-token"]).toBe("a-token-of-making");

  await page.getByRole("button", { name: /^Delete/ }).click();
  const dialog = page.getByRole("dialog", { name: "Delete this endpoint" });
  await expect(dialog.getByRole("button", { name: "Delete it" })).toHaveAttribute("aria-disabled", "true");
  await dialog.getByLabel(/^Type Changed by hand to confirm/).fill("Changed by hand");
  await dialog.getByRole("button", { name: "Delete it" }).click();
  await expect(page).toHaveURL(/#\/endpoints$/);
  await expect(page.getByRole("table", { name: /^Endpoints/ }).getByRole("link", { name: "There before" })).toBeVisible();
  await expect(page.getByRole("table", { name: /^Endpoints/ }).getByRole("link", { name: "Changed by hand" })).toHaveCount(0);
});

test("an endpoint is paused and resumed, and enabled after the server has disabled it", async ({ page, place, open }) => {
  const { server, receiver } = place;
  const namespace = "pausing";
  const { secret: key } = await server.api.makeKey("pauser", namespace, ["read", "write"]);
  const { id } = await server.api.endpoint(namespace, "Comes and goes", receiver.url("gone", "pausing"), ["order.created"], { httpConfig: { maxRetries: 0 } });
  await open(server, `#/endpoints/${id}`, key);
  await page.getByRole("button", { name: "Pause", exact: true }).click();
  await page.getByRole("dialog", { name: "Pause this endpoint" }).getByRole("button", { name: "Pause" }).click();
  await expect(status(page, "paused")).toBeVisible();
  await server.api.push(namespace, "order.created", { while: "paused" });
  expect(await server.api.count({ namespace })).toBe(0);

  await page.getByRole("button", { name: "Resume" }).click();
  await expect(status(page, "active")).toBeVisible();
  await server.api.push(namespace, "order.created", { while: "active" });
  // It answers 410: the server sends nothing there any more. The page hears of it by itself.
  await expect(status(page, "disabled")).toBeVisible();
  await expect(page.getByText("endpoint_gone").first()).toBeVisible();
  receiver.mend("pausing");
  await page.getByRole("button", { name: "Enable" }).click();
  await expect(status(page, "active")).toBeVisible();
  await server.api.push(namespace, "order.created", { while: "enabled" });
  const came = await receiver.arrived("pausing", 2);
  expect(came.map(({ body }) => JSON.parse(body).payload.while)).toEqual(["active", "enabled"]);
});

test("a secret is rotated: both sign for a while, and the new one is shown once", async ({ page, place, open }) => {
  const { server, receiver } = place;
  const namespace = "rotating";
  const { secret: key } = await server.api.makeKey("rotator", namespace, ["read", "write"]);
  const { id, secret: old } = await server.api.endpoint(namespace, "Careful", receiver.url("ok", "rotating"), ["order.created"]);
  const pushed = async (count: number): Promise<Received | undefined> => {
    await server.api.push(namespace, "order.created", { count });
    return (await receiver.arrived("rotating", count))[count - 1];
  };
  expect(verifies(old, await pushed(1))).toBe(true);

  await open(server, `#/endpoints/${id}`, key);
  await page.getByRole("button", { name: /^Rotate the secret/ }).click();
  const dialog = page.getByRole("dialog", { name: "Rotate the signing secret" });
  await inAllLooks(page, "endpoint-rotate");
  await dialog.getByLabel("The one before signs too for").selectOption("1 hour");
  await dialog.getByRole("button", { name: "Rotate it" }).click();
  const fresh = await dialog.getByRole("region", { name: "The new secret" }).locator("code").innerText();
  expect(fresh).toMatch(/^whsec_/);
  expect(fresh).not.toBe(old);
  await inAllLooks(page, "endpoint-rotated");
  // Neither Esc nor a click beside it loses it.
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await page.mouse.click(5, 5);
  await expect(dialog).toContainText(fresh);
  await dialog.getByRole("button", { name: "I have kept it" }).click();
  await expect(dialog).toHaveCount(0);
  expect(await page.content()).not.toContain(fresh);
  await page.reload();
  const signing = page.getByRole("region", { name: "Signing" });
  await expect(signing).toContainText("signs too");
  expect(await page.content()).not.toContain(fresh);

  const both = await pushed(2);
  expect([verifies(old, both), verifies(fresh, both)]).toEqual([true, true]);

  await signing.getByRole("button", { name: /^End the rotation/ }).click();
  await page.getByRole("dialog", { name: "End the rotation" }).getByRole("button", { name: "End it" }).click();
  await expect(signing).not.toContainText("signs too");
  const last = await pushed(3);
  expect([verifies(old, last), verifies(fresh, last)]).toEqual([false, true]);
});

test("endpoints are found by their names and narrowed by their health", async ({ page, place, open }) => {
  const { server, filled } = place;
  await open(server, "#/endpoints", filled.keys["reader"]);
  const table = page.getByRole("table", { name: /^Endpoints/ });
  await expect(table.getByRole("link", { name: "Order archive" })).toBeVisible();
  await expect(table.getByRole("row", { name: /Customer care/ }).getByRole("img", { name: /0 deliveries succeeded, 120 failed/ })).toBeVisible();
  await page.getByRole("searchbox", { name: "Name, URL or id" }).fill("market");
  await expect(page.getByText("1 endpoint.")).toBeVisible();
  await expect(table.getByRole("link", { name: "Old marketplace" })).toBeVisible();
  await page.goto(`${server.url}/#/endpoints?health=unhealthy`);
  await expect(table.getByRole("link", { name: "Customer care" })).toBeVisible();
  await expect(table.getByRole("link", { name: "Order archive" })).toHaveCount(0);
  const unhealthy = await until(
    "endpoints by health",
    () => server.api.call("postrider.v1.EndpointService/ListEndpoints", { namespace: "shop", health: "unhealthy" }),
    ({ total }) => Number(total) > 0,
  );
  await expect(page.getByText(`${unhealthy["total"]} endpoints.`)).toBeVisible();
  await expect(page.getByRole("button", { name: "New endpoint" })).toHaveAttribute("aria-disabled", "true");
});
