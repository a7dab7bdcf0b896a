// Charts that show something: the overview after a wave of load, and the picture of the README.
import { SHOP } from "../lib/fill";
import { startLoad } from "../lib/load";
import { inAllLooks, settled } from "../lib/look";
import { expect, test } from "../lib/test";

const PICTURE = new URL("../screenshots/dashboard.png", import.meta.url).pathname;

/** How long there is something to do. The charts show a quarter of an hour: 13 make the picture of the README. */
const MINUTES = Number(process.env["PICTURE_MINUTES"] ?? "0.5");

test.use({ viewport: { width: 1280, height: 920 } });

test("the overview after a wave of load", async ({ page, place, open }) => {
  test.setTimeout((MINUTES + 5) * 60_000);
  const { server, filled } = place;
  const load = await startLoad({
    url: server.api.url, key: server.key, namespace: SHOP, endpoints: 3, eventsPerSecond: 12, seconds: Math.round(MINUTES * 60), wave: true,
  });
  try {
    load.begin();
    await load.ended;
    await open(server, "#/?range=15m", filled.keys["manager"]);
    const chart = page.getByRole("img", { name: /^Throughput, a second\./ });
    await expect(chart).toBeVisible();
    // The step that the wave ended in is not shown before it is over.
    await page.getByText("As a table: Throughput").click();
    const table = page.getByRole("group", { name: "Throughput, a second as a table" });
    await expect(async () => {
      const rates = (await table.getByRole("cell").allInnerTexts()).map((text) => Number(text.replaceAll(",", "")));
      expect(Math.max(...rates.filter((rate) => !Number.isNaN(rate)))).toBeGreaterThan(1);
    }).toPass({ timeout: 90_000 });
    await page.getByText("As a table: Throughput").click();
    await page.evaluate(() => scrollTo(0, 0));
    await settled(page);
    await page.screenshot({ path: PICTURE });
    await inAllLooks(page, "overview-busy");
  } finally {
    load.stop();
  }
});
