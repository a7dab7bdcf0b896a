// How a page looks, and how sound it is for whoever does not see it.
import { AxeBuilder } from "@axe-core/playwright";
import { type Page, expect, test } from "@playwright/test";
import { fileURLToPath } from "node:url";

const SCREENSHOTS = fileURLToPath(new URL("../screenshots/", import.meta.url));

/** Most of a page that a picture shows, in pixels. */
const MOST_HEIGHT = 2_000;

export const WIDE = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };
/** The narrowest that there are. */
export const NARROW = { width: 360, height: 740 };

/** Waits until everything that was asked for is there, and nothing moves. */
export async function settled(page: Page): Promise<void> {
  await expect(page.locator(".skeleton")).toHaveCount(0);
  await expect(page.locator(".spinner")).toHaveCount(0);
  await page.evaluate(async () => {
    await document.fonts.ready;
    await Promise.allSettled(document.getAnimations().map((animation) => animation.finished));
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  });
}

/** Rows are alike: those behind the first ones are left out. */
const MORE_ROWS = "tbody tr:nth-child(n+21), tbody + tbody";

/** From now on the browser draws what it leaves out because nobody sees it: of those parts it tells how they were before theme and width changed. */
async function drawn(page: Page): Promise<void> {
  await page.evaluate(() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync("* { content-visibility: visible !important }");
    document.adoptedStyleSheets = [sheet];
  });
  await settled(page);
}

/** Fails with every rule of axe that the page breaks, and where; of a page behind a dialog nothing is looked at. */
export async function sound(page: Page, what: string): Promise<void> {
  await drawn(page);
  // The page has no frames: axe needs no further page to put their results together. What passes is not described, which takes most of the time.
  const axe = new AxeBuilder({ page }).setLegacyMode().options({ resultTypes: ["violations"] });
  if ((await page.locator(MORE_ROWS).count()) > 0) axe.exclude(MORE_ROWS);
  if ((await page.locator("dialog[open]").count()) > 0) axe.include("dialog[open]");
  const { violations } = await axe.analyze();
  const told = violations.map(({ id, impact, help, nodes }) => {
    const places = nodes.slice(0, 5).map((node) => `    ${node.target.join(" ")}\n      ${(node.failureSummary ?? "").replaceAll("\n", "\n      ")}`);
    return `${id} (${impact}): ${help}\n${places.join("\n")}`;
  });
  expect(told, `${what}: what axe finds`).toEqual([]);
}

/** Takes a picture, for people to look at. */
export async function picture(page: Page, name: string): Promise<void> {
  await drawn(page);
  // From its top: what sticks there would lie in the middle of the picture. A dialog keeps its focus.
  await page.evaluate(() => {
    scrollTo(0, 0);
    const focused = document.activeElement;
    if (focused instanceof HTMLElement && focused.matches(".skip")) focused.blur();
  });
  const { width, height } = await page.evaluate(() => ({ width: innerWidth, height: document.documentElement.scrollHeight }));
  // Those with two nodes are apart: several tests run in both ways, at the same time.
  const folder = test.info().project.name.startsWith("two nodes") ? "two-nodes/" : "";
  const path = `${SCREENSHOTS}${folder}${name}.png`;
  // A dialog lies over what is seen of the page.
  if ((await page.locator("dialog[open]").count()) > 0) await page.screenshot({ path });
  else await page.screenshot({ path, fullPage: true, clip: { x: 0, y: 0, width, height: Math.min(height, MOST_HEIGHT) } });
}

/** Fails where the page is wider than the screen. */
export async function fits(page: Page, what: string): Promise<void> {
  const over = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const wide = [...document.querySelectorAll("body *")].filter((element) => element.getBoundingClientRect().right > width + 1);
    return [`${document.documentElement.scrollWidth} of ${width}`, ...wide.slice(0, 5).map((element) => element.outerHTML.slice(0, 160))];
  });
  expect(over, `${what}: what is wider than the screen`).toEqual([]);
}

/** How a page is looked at: each theme once, and both widths; with PICTURES=all every one of both in a picture. */
const LOOKS = [
  { size: "wide", theme: "light", viewport: WIDE, isChecked: true },
  { size: "wide", theme: "dark", viewport: WIDE, isChecked: false },
  { size: "phone", theme: "dark", viewport: PHONE, isChecked: true },
  { size: "phone", theme: "light", viewport: PHONE, isChecked: false },
] as const;

const IS_ALL = process.env["PICTURES"] === "all";

/** Light on a wide screen and dark on a phone: a picture, axe, and whether it fits; the latter on the narrowest screen too. */
export async function inAllLooks(page: Page, name: string): Promise<void> {
  for (const { size, theme, viewport, isChecked } of LOOKS) {
    if (!isChecked && !IS_ALL) continue;
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme: theme });
    await expect(page.locator("html")).toHaveAttribute("data-theme", theme);
    await settled(page);
    const what = `${name}-${size}-${theme}`;
    await picture(page, what);
    if (isChecked) await sound(page, what);
    await fits(page, what);
  }
  await page.setViewportSize(NARROW);
  await settled(page);
  await fits(page, `${name}-narrow`);
  await page.setViewportSize(WIDE);
  await page.emulateMedia({ colorScheme: "light" });
}
