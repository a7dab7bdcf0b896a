import { expect, test } from "vitest";
import { readObject, written } from "./object";

test("an object is read", () => {
  const read = readObject(' {"a": [1, 2.50, -3e2], "b": {"c": null}} ');
  expect(read).toEqual({ ok: true, value: { a: [1, 2.5, -300], b: { c: null } } });
  expect(read.ok && written(read.value)).toBe('{\n  "a": [\n    1,\n    2.5,\n    -300\n  ],\n  "b": {\n    "c": null\n  }\n}');
});

test("what is none is told", () => {
  const error = (text: string): string => {
    const read = readObject(text);
    return read.ok ? "" : read.error;
  };
  expect(error('{"a": }')).toContain("no JSON");
  expect(error("")).toContain("no JSON");
  for (const text of ["[]", "null", "7", '"a"']) expect(error(text)).toContain("no object");
});

test("numbers that would be changed on their way are not taken", () => {
  for (const number of ["9007199254740993", "12345678901234567890", "1e999", "-1e999"]) {
    const read = readObject(`{"a": ${number}}`);
    expect(read.ok ? "" : read.error).toContain(number);
  }
  for (const number of ["9007199254740992", "-900719925474099", "1.0", "0.1", "1e3", "-0"]) expect(readObject(`{"a": ${number}}`).ok).toBe(true);
  expect(readObject('{"a": "9007199254740993"}').ok).toBe(true);
});
