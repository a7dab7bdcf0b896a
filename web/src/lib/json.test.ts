import { expect, test } from "vitest";
import { MOST_LAID_OUT, decode, hex, pretty, tokens } from "./json";

test("JSON is laid out", () => {
  expect(pretty('{"a":[1,{"b":null}],"c":"x"}')).toBe('{\n  "a": [\n    1,\n    {\n      "b": null\n    }\n  ],\n  "c": "x"\n}');
  expect(pretty(' [ ] ')).toBe("[]");
  expect(pretty('{"a":{},"b":[]}')).toBe('{\n  "a": {},\n  "b": []\n}');
});

test("values keep every byte", () => {
  const values = ["1.0", "12345678901234567890", "-0", "1e400", '"\\u0041\\n\\\\"', '"a: {[,]}"', "true"];
  expect(pretty(`[${values.join(",")}]`)).toBe(`[\n${values.map((value) => `  ${value}`).join(",\n")}\n]`);
});

test("keys are told from strings", () => {
  expect(tokens('{"a":"b"}')?.map((token) => token.kind)).toEqual(["sign", "space", "key", "sign", "string", "space", "sign"]);
});

test("what is no JSON is left alone", () => {
  for (const text of ["", "hello", '{"a":', "{'a': 1}", `"${"x".repeat(MOST_LAID_OUT)}"`]) expect(pretty(text)).toBeNull();
});

test("a text that was cut within a character is read up to it", () => {
  const whole = new TextEncoder().encode("aä€");
  expect(decode(whole)).toBe("aä€");
  expect([5, 4, 2].map((end) => decode(whole.subarray(0, end), true))).toEqual(["aä", "aä", "a"]);
  expect(decode(whole.subarray(0, 5))).toBeNull();
  expect(decode(new Uint8Array([0xff, 0xfe, 0x00]), true)).toBeNull();
  expect(decode(new Uint8Array())).toBe("");
});

test("bytes are shown as digits", () => {
  expect(hex(new Uint8Array([0x41, 0x00, 0xff]))).toBe(`000000  41 00 ff${" ".repeat(39)}  A..`);
  expect(hex(new Uint8Array(40)).split("\n")).toHaveLength(3);
  expect(hex(new Uint8Array(40), 16).split("\n")).toHaveLength(1);
});
