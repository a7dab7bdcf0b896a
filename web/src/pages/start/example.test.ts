import { expect, test } from "vitest";
import { exampleFor } from "./example";

const wants = (eventTypes: string[], more: Partial<Parameters<typeof exampleFor>[0][number]> = {}): Parameters<typeof exampleFor>[0][number] => ({
  active: true, eventTypes, labels: {}, match: "", ...more,
});

test("an example is of a type that is wanted", () => {
  const type = (...eventTypes: string[]): string => exampleFor([wants(eventTypes)]).type;
  expect([type(), type("*"), type("order.*"), type("order.created", "user.*"), type("order.created", "*")]).toEqual([
    "hello.world", "hello.world", "order.hello", "order.created", "hello.world",
  ]);
  expect(exampleFor([]).type).toBe("hello.world");
});

test("it has the labels and the fields that are asked for", () => {
  const example = exampleFor([wants(["a"], { active: false }), wants(["b"], { labels: { region: "eu" }, match: '{"kind":"x"}' })]);
  expect(example).toEqual({ type: "b", labels: { region: "eu" }, payload: '{\n  "kind": "x"\n}' });
});
