// Light and dark, motion, and what is left of the page without either.
import { MASTER_KEY, expect, test } from "../lib/test";
import { settled } from "../lib/look";

test("the theme follows the system until somebody chooses", async ({ page, place, open }) => {
  await open(place.server, "#/", MASTER_KEY);
  const root = page.locator("html");
  await expect(root).toHaveAttribute("data-theme", "light");
  await page.emulateMedia({ colorScheme: "dark" });
  await expect(root).toHaveAttribute("data-theme", "dark");
  await page.getByRole("button", { name: "bootstrap" }).click();
  const dialog = page.getByRole("dialog", { name: "This session" });
  await dialog.getByRole("button", { name: "Light" }).click();
  await expect(root).toHaveAttribute("data-theme", "light");
  await expect(dialog.getByRole("button", { name: "Light" })).toHaveAttribute("aria-pressed", "true");
  await page.reload();
  await expect(root).toHaveAttribute("data-theme", "light");
  await page.getByRole("button", { name: "bootstrap" }).click();
  await dialog.getByRole("button", { name: "System" }).click();
  await expect(root).toHaveAttribute("data-theme", "dark");
  await page.emulateMedia({ colorScheme: "light" });
  await expect(root).toHaveAttribute("data-theme", "light");
});

test("whoever wants less motion gets none", async ({ page, place, open }) => {
  await open(place.server, "#/deliveries", MASTER_KEY);
  await settled(page);
  /** Everything that takes time to change or moves, in seconds. */
  const moving = (): Promise<string[]> =>
    page.evaluate(() => {
      const longest = (list: string): number => Math.max(...list.split(",").map((text) => Number.parseFloat(text) * (text.trim().endsWith("ms") ? 0.001 : 1)));
      return [...document.querySelectorAll("*")]
        .filter((element) => {
          const { transitionDuration, animationDuration, animationName } = getComputedStyle(element);
          return longest(transitionDuration) > 0.001 || (animationName !== "none" && longest(animationDuration) > 0.001);
        })
        .map((element) => element.outerHTML.slice(0, 80));
    });
  expect(await moving()).toEqual([]);
  await page.emulateMedia({ reducedMotion: "no-preference" });
  expect(await moving()).not.toEqual([]);
});
