// A subscription is tried on what really happened before it is saved.
import { expect, test } from "../lib/test";
import { inAllLooks } from "../lib/look";

test("a filter and a template are previewed while they are typed", async ({ page, place, open, watch }) => {
  watch.expects(/400/);
  const { server, receiver } = place;
  const { api } = server;
  const namespace = "previewing";
  const { secret: key } = await api.makeKey("previewer", namespace, ["read", "write"]);
  const { id } = await api.endpoint(namespace, "Wants some", receiver.url("ok", "previewing"), []);
  for (let n = 0; n < 100; n += 1) {
    const region = n % 4 === 0 ? "eu" : "us";
    await api.push(namespace, n < 40 ? "order.created" : "order.paid", { order_id: `B-${n}` }, { labels: { region } });
  }

  await open(server, `#/endpoints/${id}`, key);
  await page.getByRole("link", { name: "New subscription" }).click();
  const preview = page.getByRole("region", { name: "Preview" });
  const type = page.getByLabel("Event type", { exact: true });
  await type.fill("order.created");
  await expect(preview.getByText("Would have matched 40 of 100", { exact: true })).toBeVisible();
  await type.fill("order.*");
  await expect(preview.getByText("Would have matched 100 of 100", { exact: true })).toBeVisible();
  await page.getByRole("button", { name: "Add one label" }).click();
  await page.getByLabel("Name of label 1").fill("region");
  await page.getByLabel("Value of label 1").fill("eu");
  await expect(preview.getByText("Would have matched 25 of 100", { exact: true })).toBeVisible();
  await preview.getByRole("tab", { name: "Would not (5)" }).click();
  await expect(preview.getByRole("listitem").filter({ hasText: 'label region is "eu"' }).last()).toContainText("Does not hold:");

  // What is wrong with a template is told at it, and nothing is saved.
  const template = page.getByLabel(/^Template/);
  await page.getByRole("switch", { name: "A template makes the body" }).check();
  await template.fill('{"text": {{.payload.order_id | nofunction}}}');
  await expect(template).toHaveAttribute("aria-invalid", "true");
  await inAllLooks(page, "subscription-template-wrong");
  await template.fill('{"text": {{printf "New: %v" .payload.order_id | json}}}');
  await expect(template).not.toHaveAttribute("aria-invalid", "true");
  await preview.getByRole("tab", { name: "Would be sent (5)" }).click();
  await expect(preview.getByRole("group", { name: "Body of example 1" })).toContainText('"New: B-96"');
  await inAllLooks(page, "subscription-preview");
  // Nothing of it was sent, and nothing is there before it is saved.
  expect(receiver.received("previewing").length).toBe(0);

  await page.getByRole("button", { name: "Create subscription" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Subscription to order.*" })).toBeVisible();
  await api.push(namespace, "order.created", { order_id: "B-200" }, { labels: { region: "us" } });
  await api.push(namespace, "order.created", { order_id: "B-201" }, { labels: { region: "eu" } });
  const [sent, ...others] = await receiver.arrived("previewing", 1);
  expect(JSON.parse(sent?.body ?? "{}")).toEqual({ text: "New: B-201" });
  expect(others).toEqual([]);

  await page.getByRole("link", { name: "Edit", exact: true }).click();
  await page.getByLabel(/^Name( optional)?$/).fill("Orders of Europe");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Orders of Europe" })).toBeVisible();
  await page.getByRole("button", { name: "Deactivate" }).click();
  await expect(page.getByRole("button", { name: "Activate", exact: true })).toBeVisible();
  await page.getByRole("button", { name: /^Delete/ }).click();
  await page.getByRole("dialog", { name: "Delete this subscription" }).getByRole("button", { name: "Delete it" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Wants some" })).toBeVisible();
  await expect(page.getByText("It has none, and gets nothing")).toBeVisible();
});
