import { expect, test } from "vitest";
import { address, asked, parse, to } from "./hash";

test("an address leads to the place that it was made for", () => {
  const hash = address(["event-types", "order/created ä"], { state: ["failed", "expired"], type: "a&b", none: undefined, empty: "" });
  const place = parse(hash);
  expect(place.path).toEqual(["event-types", "order/created ä"]);
  expect(place.query.getAll("state")).toEqual(["failed", "expired"]);
  expect([...place.query.keys()]).toEqual(["state", "state", "type"]);
  expect(place.query.get("type")).toBe("a&b");
});

test("whatever stands in the address bar is read", () => {
  for (const hash of ["", "#", "#/", "#//"]) expect(parse(hash).path).toEqual([]);
  expect(parse("#/deliveries/%E0%A4%A?x").path).toEqual(["deliveries", "%E0%A4%A"]);
  expect(parse("#deliveries?a=%zz").query.get("a")).toBe("%zz");
});

test("a query can be changed in part", () => {
  const query = parse("#/a?b=1&b=2&c=3").query;
  expect(asked(query)).toEqual({ b: ["1", "2"], c: ["3"] });
  expect(address(["a"], { ...asked(query), c: undefined })).toBe("#/a?b=1&b=2");
});

test("pages have addresses", () => {
  expect([to.overview(), to.delivery("1"), to.find("a b")]).toEqual(["#/", "#/deliveries/1", "#/find?text=a+b"]);
});
