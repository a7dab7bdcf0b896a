import { expect, test } from "vitest";
import { payloadFault, withField } from "./payload";

test("a payload is an object", () => {
  for (const fine of ["{}", "", "  ", '{"a": 1.0}', "\n{}\n"]) expect(payloadFault(fine)).toBeUndefined();
  for (const other of ["[]", "1", "null", '"a"']) expect(payloadFault(other)).toContain("object");
  expect(payloadFault("{")).toContain("no JSON");
});

test("its bytes stay as they are", () => {
  expect(withField({ event: "a" }, "payload", ' {"n": 12345678901234567890, "m":1.0} ')).toBe('{"event":"a","payload":{"n": 12345678901234567890, "m":1.0}}');
  expect(withField({}, "payload", "")).toBe('{"payload":{}}');
  expect(JSON.parse(withField({ a: undefined, b: [1] }, "payload", "{}"))).toEqual({ b: [1], payload: {} });
});
