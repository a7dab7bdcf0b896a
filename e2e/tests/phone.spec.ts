// The dashboard on a telephone.
import { MASTER_KEY, expect, test } from "../lib/test";
import { NARROW, PHONE, fits, picture, settled, sound } from "../lib/look";

test.use({ viewport: PHONE, hasTouch: true, isMobile: true });

test("a menu in place of the side, cards in place of rows", async ({ page, place, open }) => {
  await open(place.server, "#/deliveries?live=off", MASTER_KEY);
  await expect(page.getByRole("complementary")).toHaveCount(0);
  const rows = page.getByRole("table", { name: /^Deliveries/ }).locator("tbody tr");
  await expect(rows.first()).toBeVisible();
  await settled(page);
  await fits(page, "deliveries on a phone");
  // A card: one thing below the other, each with what it is.
  await expect(rows.first()).toHaveCSS("display", "grid");
  const [endpoint, outcome] = [rows.first().locator('td[data-title="Endpoint"]'), rows.first().locator('td[data-title="Last outcome"]')];
  expect((await outcome.boundingBox())?.y ?? 0).toBeGreaterThan((await endpoint.boundingBox())?.y ?? Infinity);

  await page.getByRole("button", { name: "Menu" }).tap();
  const menu = page.getByRole("dialog", { name: "Postrider" });
  await expect(menu).toBeVisible();
  await settled(page);
  await picture(page, "menu-phone-light");
  await sound(page, "the menu");
  for (const link of await menu.getByRole("navigation").getByRole("link").all()) {
    expect((await link.boundingBox())?.height ?? 0, "a finger finds it").toBeGreaterThanOrEqual(44);
  }
  await menu.getByRole("link", { name: "Overview" }).tap();
  await expect(menu).toHaveCount(0);
  await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();

  // A tap anywhere on a card opens it.
  await page.goto(`${place.server.url}/#/deliveries?live=off`);
  await rows.first().locator('td[data-title="Endpoint"]').tap();
  await expect(page.getByRole("heading", { level: 1, name: / → / })).toBeVisible();
  await page.setViewportSize(NARROW);
  await settled(page);
  await fits(page, "a delivery on the narrowest phone");
});
