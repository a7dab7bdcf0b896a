import { expect, test } from "vitest";
import { blank, change, conditionsOf, creation, faultsOf } from "./form";

const draft = { ...blank(), types: "order.*", labels: [{ name: "region", value: "eu" }] };

test("only what was changed is sent", () => {
  expect(change("id", draft, { ...draft })).toBeUndefined();
  const changed = change("id", draft, { ...draft, name: "Orders", template: "{{.event_id}}", templateEnabled: true });
  expect(changed).toEqual({
    subscriptionId: "id", name: "Orders", active: undefined, conditions: undefined, template: "{{.event_id}}", templateEnabled: true, fieldMap: undefined,
  });
});

test("conditions are sent together", () => {
  const changed = change("id", draft, { ...draft, types: "order.paid" });
  expect(changed?.conditions).toEqual({ eventTypes: ["order.paid"], labels: { region: "eu" }, match: "" });
  expect(conditionsOf({ ...draft, types: "a\n\n b,c" }).eventTypes).toEqual(["a", "b,c"]);
});

test("a template that is taken away is switched off", () => {
  const before = { ...draft, template: "{{.event_id}}", templateEnabled: true };
  const changed = change("id", before, { ...before, template: " " });
  expect([changed?.template, changed?.templateEnabled]).toEqual(["", false]);
});

test("what the server would refuse is told before", () => {
  expect(faultsOf(draft, "rpc")).toEqual({});
  expect(faultsOf({ ...draft, types: "" }, "tasks")).toEqual({});
  const wrong = { ...draft, types: "a\nb", match: "[]", fieldMap: "{", templateEnabled: true, timeout: "301" };
  expect(Object.keys(faultsOf(wrong, "rpc")).sort()).toEqual(["fieldMap", "match", "template", "timeout", "types"]);
});

test("a new one says what was said", () => {
  expect(creation(draft, "endpoint", "shop")).toMatchObject({ webhookId: "endpoint", eventName: "order.*", timeout: 0, labelFilters: { region: "eu" } });
});
