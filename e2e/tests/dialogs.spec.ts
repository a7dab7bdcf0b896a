// Every dialog that a button of a page opens, in light and dark, wide and narrow.
import { inAllLooks, settled } from "../lib/look";
import { MASTER_KEY, type Place, endpointOf, expect, test } from "../lib/test";

/** Dialogs that belong to a page: how they are opened. */
const DIALOGS: readonly { name: string; at: string | ((place: Place) => string); button: string | RegExp; title: string }[] = [
  { name: "session", at: "", button: "bootstrap", title: "This session" },
  { name: "shortcuts", at: "", button: "Keyboard shortcuts", title: "Keyboard shortcuts" },
  { name: "namespaces", at: "", button: /^Namespace/, title: "Namespace" },
  { name: "filter-deliveries", at: "deliveries", button: "Filter", title: "Filter deliveries" },
  { name: "retry-matching", at: "deliveries", button: /^Retry all/, title: "Retry all that match" },
  { name: "retry", at: ({ filled }) => `deliveries/${filled.deliveries["failed"]}`, button: "Retry", title: "Retry this delivery" },
  { name: "call-off", at: ({ filled }) => `deliveries/${filled.deliveries["retrying"]}`, button: "Cancel", title: "Cancel this delivery" },
  { name: "repush-matching", at: "events", button: /^Re-push all/, title: "Re-push all that match" },
  { name: "repush", at: ({ filled }) => `events/${filled.eventId}`, button: "Re-push", title: "Re-push this event" },
  { name: "pause", at: (place) => `endpoints/${endpointOf(place, "Warehouse")}`, button: "Pause", title: "Pause this endpoint" },
  { name: "endpoint-delete", at: (place) => `endpoints/${endpointOf(place, "Warehouse")}`, button: /^Delete/, title: "Delete this endpoint" },
  { name: "subscription-delete", at: ({ filled }) => `subscriptions/${filled.subscriptionId}`, button: /^Delete/, title: "Delete this subscription" },
  { name: "scheduled-take-back", at: "scheduled", button: /^Cancel …/, title: "Cancel this scheduled delivery" },
  { name: "key-new", at: "keys", button: "Create key", title: "Create a key" },
  { name: "key-revoke", at: "keys", button: /^Revoke …/, title: "Revoke this key" },
];

for (const { name, at, button, title } of DIALOGS) {
  test(`the dialog ${name}`, async ({ page, place, open }) => {
    await open(place.server, `#/${typeof at === "string" ? at : at(place)}`, MASTER_KEY);
    await page.getByRole("button", { name: button, exact: typeof button === "string" }).first().click();
    const dialog = page.getByRole("dialog", { name: title, exact: true });
    await expect(dialog).toBeVisible();
    await settled(page);
    await inAllLooks(page, `dialog-${name}`);
    await page.keyboard.press("Escape");
    await expect(dialog).toHaveCount(0);
  });
}
