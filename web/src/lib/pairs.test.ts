import { expect, test } from "vitest";
import { faultOf, fromLine, inLine, isSame, toMap, toPairs } from "./pairs";

test("rows and maps become each other", () => {
  expect(toPairs({ tier: "gold", region: "eu" })).toEqual([{ name: "region", value: "eu" }, { name: "tier", value: "gold" }]);
  expect(toMap([{ name: " region ", value: "eu" }, { name: "", value: "" }])).toEqual({ region: "eu" });
});

test("wrong rows are told", () => {
  expect(faultOf([{ name: "", value: "" }, { name: "a", value: "" }])).toBeUndefined();
  expect(faultOf([{ name: " ", value: "x" }])).toContain("has no name");
  expect(faultOf([{ name: "A", value: "1" }, { name: "a", value: "2" }])).toBeUndefined();
  expect(faultOf([{ name: "A", value: "1" }, { name: "a", value: "2" }], true)).toContain("twice");
});

test("the order of rows says nothing", () => {
  const a = [{ name: "a", value: "1" }, { name: "b", value: "2" }];
  expect(isSame(a, [...a].reverse())).toBe(true);
  expect(isSame(a, [...a, { name: "", value: "" }])).toBe(true);
  expect(isSame(a, [{ name: "a", value: "1" }])).toBe(false);
});

test("a line is read as it is written", () => {
  expect(inLine({ tier: "gold", region: "eu=1" })).toBe("region=eu=1, tier=gold");
  expect(fromLine("region=eu=1, tier = gold,, plain")).toEqual({ region: "eu=1", tier: "gold", plain: "" });
});
