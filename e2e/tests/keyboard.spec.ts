// The dashboard without a mouse.
import type { Page } from "@playwright/test";
import { MASTER_KEY, expect, test } from "../lib/test";

const heading = (page: Page, name: string) => page.getByRole("heading", { level: 1, name, exact: true });

/** Whether the focus is in a dialog, or in the browser's own parts, which a dialog does not lock. */
const isHeld = (page: Page): Promise<boolean> =>
  page.evaluate(() => document.activeElement === document.body || document.activeElement?.closest("dialog") !== null);

test("from the skip link through a list into a delivery and back", async ({ page, place, open }) => {
  await open(place.server, "#/", MASTER_KEY);
  await expect(heading(page, "Overview")).toBeVisible();
  await page.keyboard.press("Tab");
  const skip = page.getByRole("link", { name: "Skip to the content" });
  await expect(skip).toBeFocused();
  await expect(skip).toBeInViewport();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("main")).toBeFocused();
  // The next stop is in the content.
  await page.keyboard.press("Tab");
  expect(await page.evaluate(() => document.activeElement?.closest("main") !== null)).toBe(true);

  await page.keyboard.press("g");
  await page.keyboard.press("d");
  await expect(heading(page, "Deliveries")).toBeFocused();
  const rows = page.getByRole("table", { name: /^Deliveries/ }).locator("tbody").getByRole("link");
  await expect(rows.first()).toBeVisible();
  await page.keyboard.press("j");
  await expect(rows.first()).toBeFocused();
  // What has the focus stays where it is.
  await expect(page.getByText("Held while you are on it").first()).toBeAttached();
  await page.keyboard.press("ArrowDown");
  await expect(rows.nth(1)).toBeFocused();
  await page.keyboard.press("k");
  await expect(rows.first()).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1, name: / → / })).toBeFocused();
  await page.goBack();
  await expect(heading(page, "Deliveries")).toBeFocused();
});

test("every page has a key", async ({ page, place, open }) => {
  await open(place.server, "#/", MASTER_KEY);
  await expect(heading(page, "Overview")).toBeVisible();
  await page.keyboard.press("?");
  const dialog = page.getByRole("dialog", { name: "Keyboard shortcuts" });
  await expect(dialog).toBeVisible();
  const rows = await dialog.getByRole("row").filter({ hasText: "Go to " }).all();
  const ways: { key: string; title: string }[] = [];
  for (const row of rows) {
    const keys = await row.locator("kbd").allInnerTexts();
    const told = await row.getByRole("cell").innerText();
    ways.push({ key: keys.at(-1) ?? "", title: told.replace("Go to ", "") });
  }
  await page.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);
  const links = await page.getByRole("navigation", { name: "Pages" }).getByRole("link").allInnerTexts();
  expect(ways.map(({ title }) => title).sort()).toEqual(links.map((text) => text.trim()).sort());
  expect(new Set(ways.map(({ key }) => key)).size).toBe(ways.length);
  // The last one first: going to where one is changes nothing.
  for (const { key, title } of ways.reverse()) {
    await page.keyboard.press("g");
    await page.keyboard.press(key);
    const link = page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: title, exact: true });
    await expect(link).toHaveAttribute("aria-current", "page");
    await expect(page.getByRole("main").getByRole("heading", { level: 1 })).toBeFocused();
  }
});

test("a dialog holds the focus, and gives it back", async ({ page, place, open }) => {
  await open(place.server, "#/deliveries", MASTER_KEY);
  const button = page.getByRole("button", { name: "Filter", exact: true });
  await button.focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "Filter deliveries" });
  await expect(dialog).toBeVisible();
  for (let n = 0; n < 30; n += 1) {
    await page.keyboard.press("Tab");
    expect(await isHeld(page)).toBe(true);
  }
  await page.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);
  await expect(button).toBeFocused();
});

test("a list is narrowed by keyboard alone", async ({ page, place, open }) => {
  await open(place.server, "#/deliveries?live=off", MASTER_KEY);
  const button = page.getByRole("button", { name: "Filter", exact: true });
  await button.focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "Filter deliveries" });
  await dialog.getByRole("checkbox", { name: "expired" }).focus();
  await page.keyboard.press("Space");
  const endpoint = dialog.getByRole("combobox", { name: /^Endpoint/ });
  await endpoint.focus();
  await page.keyboard.type("too late");
  // At first everything is offered, then what was typed.
  await expect(dialog.getByRole("listbox").getByRole("option")).toHaveCount(1);
  await expect(dialog.getByRole("option", { name: /^Too late/ })).toBeVisible();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await expect(endpoint).toHaveValue("Too late");
  await page.keyboard.press("Enter");
  await expect(dialog).toHaveCount(0);
  await expect(page).toHaveURL(/state=expired/);
  await expect(page).toHaveURL(/endpoint=[0-9a-f-]{36}/);
  await expect(page.getByText("1 delivery matches.")).toBeVisible();
  // A chip is taken away by its own button.
  await page.getByRole("button", { name: /^Remove the filter State/ }).press("Enter");
  await expect(page).not.toHaveURL(/state=/);
});

test("an endpoint that was typed and is none of them narrows nothing", async ({ page, place, open }) => {
  await open(place.server, "#/deliveries?live=off", MASTER_KEY);
  await page.getByRole("button", { name: "Filter", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Filter deliveries" });
  const endpoint = dialog.getByRole("combobox", { name: /^Endpoint/ });
  await endpoint.fill("nobody is called so");
  await endpoint.press("Enter");
  await expect(endpoint).toHaveAttribute("aria-invalid", "true");
  await expect(endpoint).toHaveAccessibleDescription(/Choose one of the list/);
  await dialog.getByRole("button", { name: "Apply" }).last().click();
  await expect(dialog).toBeVisible();
  // The only one that is found is meant.
  await endpoint.fill("too late");
  await endpoint.press("Enter");
  await expect(endpoint).toHaveValue("Too late");
  await endpoint.press("Enter");
  await expect(dialog).toHaveCount(0);
  await expect(page).toHaveURL(/endpoint=[0-9a-f-]{36}/);
  // Its chip says its name.
  await expect(page.getByRole("list", { name: "Filters of deliveries" })).toContainText("Endpoint: Too late");
});

test("shortcuts of single keys can be switched off", async ({ page, place, open }) => {
  await open(place.server, "#/", MASTER_KEY);
  await expect(heading(page, "Overview")).toBeVisible();
  await page.getByRole("button", { name: "bootstrap" }).click();
  const dialog = page.getByRole("dialog", { name: "This session" });
  await dialog.getByRole("switch", { name: "Shortcuts of single keys" }).click();
  await page.keyboard.press("Escape");
  await page.keyboard.press("g");
  await page.keyboard.press("d");
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(heading(page, "Overview")).toBeVisible();
});

test("letters that are typed go to no page", async ({ page, place, open }) => {
  await open(place.server, "#/", MASTER_KEY);
  await expect(heading(page, "Overview")).toBeVisible();
  await page.keyboard.press("/");
  await page.keyboard.type("gd?/");
  await expect(page.getByRole("searchbox")).toHaveValue("gd?/");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(heading(page, "Overview")).toBeVisible();
});
