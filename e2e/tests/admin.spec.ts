// What is scheduled, and who may call.
import { MASTER_KEY, expect, test } from "../lib/test";
import { inAllLooks } from "../lib/look";

test("a payload is scheduled and cancelled", async ({ page, place, open }) => {
  const { server, receiver } = place;
  const namespace = "scheduling";
  const { secret: key } = await server.api.makeKey("scheduler", namespace, ["read", "write"]);
  await server.api.endpoint(namespace, "Gets it later", receiver.url("ok", "scheduling"), ["reminder.due"]);
  await open(server, "#/scheduled", key);
  await page.getByRole("main").getByRole("link", { name: "Schedule a payload" }).first().click();
  await page.getByRole("button", { name: "Schedule it" }).click();
  const endpoint = page.getByRole("combobox", { name: "Endpoint" });
  await expect(endpoint).toHaveAttribute("aria-invalid", "true");
  await endpoint.fill("later");
  await page.getByRole("option", { name: /^Gets it later/ }).click();
  await expect(page.getByLabel("Subscription", { exact: true })).toContainText("reminder.due");
  await page.getByRole("button", { name: "In a day" }).click();
  await page.getByLabel("How often").selectOption("every week");
  await page.getByLabel(/^Payload/).fill('{"remind": "Ada"}');
  await page.getByRole("button", { name: "Schedule it" }).click();
  const dialog = page.getByRole("dialog", { name: "Scheduled webhook" });
  await expect(dialog.getByRole("group", { name: "Payload" })).toContainText('"Ada"');
  await expect(dialog).toContainText("every week");
  await dialog.getByRole("button", { name: /^Cancel …/ }).click();
  await page.getByRole("dialog", { name: "Cancel this scheduled delivery" }).getByRole("button", { name: "Cancel it" }).click();
  await expect(page.getByText("Nothing is scheduled")).toBeVisible();
  expect((await server.api.call("postrider.v1.ScheduleService/ListScheduled", { namespace }))["scheduled"] ?? []).toEqual([]);
});

test("a key is created, shown once, used and revoked", async ({ page, place, open }) => {
  const { server } = place;
  await open(server, "#/keys", MASTER_KEY);
  await page.getByRole("button", { name: "Create key" }).click();
  const dialog = page.getByRole("dialog", { name: "Create a key" });
  await expect(dialog.getByLabel("Name", { exact: true })).toBeFocused();
  await dialog.getByRole("button", { name: "Create" }).last().click();
  await expect(dialog.getByLabel("Name", { exact: true })).toHaveAttribute("aria-invalid", "true");
  await dialog.getByLabel("Name", { exact: true }).fill("from the page");
  await dialog.getByLabel(/^Namespace/).fill("made-by-hand");
  await dialog.getByRole("checkbox", { name: /^write/ }).check();
  await dialog.getByLabel("Expires").selectOption("in 7 days");
  await dialog.getByRole("button", { name: "Create" }).last().click();
  const once = page.getByRole("region", { name: "Key from the page created" });
  const secret = await once.locator("code").first().innerText();
  await inAllLooks(page, "key-made");
  const session = await server.api.as(secret).call("postrider.v1.OverviewService/GetSession");
  expect([session["namespace"], session["scopes"], session["keyName"]]).toEqual(["made-by-hand", ["read", "write"], "from the page"]);
  expect(Date.parse(session["keyExpiresAt"]) - Date.now()).toBeLessThan(7 * 86_400_000);
  await once.getByRole("button", { name: "I have kept it" }).click();
  await expect(once).toHaveCount(0);
  expect(await page.content()).not.toContain(secret);

  const row = page.getByRole("table", { name: /^API keys/ }).getByRole("row", { name: /from the page/ });
  await row.getByRole("button", { name: /^Revoke/ }).click();
  await page.getByRole("dialog", { name: "Revoke this key" }).getByRole("button", { name: "Revoke" }).click();
  await expect(row).toHaveCount(0);
  await expect(server.api.as(secret).call("postrider.v1.OverviewService/GetSession")).rejects.toThrow(/401/);
});
