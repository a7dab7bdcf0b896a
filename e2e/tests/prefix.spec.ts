// Behind a proxy that has the server under a path of its own.
import { startProxy } from "../lib/proxy";
import { MASTER_KEY, expect, test } from "../lib/test";

test("everything works under a path prefix", async ({ page, place, open, watch }) => {
  watch.expects(/401/);
  const proxy = await startProxy(place.server.url, "/hooks");
  try {
    await open(proxy, "");
    await page.getByLabel("API key").fill(MASTER_KEY);
    await page.getByRole("button", { name: "Sign in" }).click();
    await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
    expect(await page.evaluate(() => Object.keys(sessionStorage))).toEqual(["postrider:/hooks/:key"]);

    await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Deliveries" }).click();
    await expect(page).toHaveURL(`${proxy.url}/#/deliveries`);
    // The stream comes through, too.
    await expect(page.getByText("The list is live")).toBeAttached();
    await expect(page.getByRole("table", { name: /^Deliveries/ }).getByRole("row").nth(1)).toBeVisible();
    await page.getByRole("table", { name: /^Deliveries/ }).locator("tbody").getByRole("link").first().click();
    await expect(page.getByRole("heading", { level: 1, name: / → / })).toBeVisible();
    await page.reload();
    await expect(page.getByRole("heading", { level: 1, name: / → / })).toBeVisible();

    // Links that leave the page stay below the prefix.
    await page.getByRole("button", { name: "bootstrap" }).click();
    const link = page.getByRole("dialog", { name: "This session" }).getByRole("link", { name: "REST API" });
    expect(await link.evaluate((one) => (one as HTMLAnchorElement).href)).toBe(`${proxy.url}/docs`);
    expect(proxy.strays).toEqual([]);
  } finally {
    watch.end();
    await page.close();
    await proxy.stop();
  }
});
