import { expect, test } from "vitest";
import { parts } from "./phases";

test("parts follow each other and fill the whole", () => {
  const all = parts({ dns: 10, tcp: 20, tls: 30, firstByte: 30, total: 100 });
  expect(all.map((part) => part.took)).toEqual([10, 20, 30, 30, 10]);
  expect(all.map((part) => Math.round(part.from * 100))).toEqual([0, 10, 30, 60, 90]);
  expect(all.reduce((sum, part) => sum + part.share, 0)).toBeCloseTo(1);
});

test("what there was not says why", () => {
  const why = (phases: Parameters<typeof parts>[0]): string[] => parts(phases).filter((part) => part.took === undefined).map((part) => part.why);
  expect(why({ firstByte: 5, total: 5 })).toEqual(["kept connection", "kept connection", "kept connection"]);
  expect(why({ dns: 1, tcp: 1, firstByte: 3, total: 5 })).toEqual(["no TLS"]);
  expect(why({ tcp: 1, tls: 1, firstByte: 3, total: 5 })).toEqual(["an address"]);
  expect(why({ dns: 1, total: 3 })).toEqual(["not reached", "not reached", "not reached"]);
});

test("an exchange of no time has no parts that overflow", () => {
  expect(parts({ total: 0 }).every((part) => part.from === 0 && part.share === 0)).toBe(true);
  expect(parts({ firstByte: 10, total: 9.99 }).at(-1)?.kind).toBe("wait");
});
