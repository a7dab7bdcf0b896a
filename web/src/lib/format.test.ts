import { describe, expect, test } from "vitest";
import { absolute, axisTimes, bytes, clipped, compact, count, duration, percent, plural, rate, relative, shortId, span } from "./format";

describe("numbers", () => {
  test("are grouped", () => {
    expect([0, 999, 1000, 1_204_332].map(count)).toEqual(["0", "999", "1,000", "1,204,332"]);
    expect(count(12_345_678_901_234_567_890n)).toBe("12,345,678,901,234,567,890");
  });

  test("are counted in words", () => {
    expect([plural(1, "row"), plural(0, "row"), plural(2n, "delivery", "deliveries")]).toEqual(["1 row", "0 rows", "2 deliveries"]);
  });

  test("become short", () => {
    expect([0, 0.5, 9.99, 42, 999, 1000, 12_400, 99_999, 100_000, 999_999, 3_100_000].map(compact)).toEqual([
      "0", "0.5", "9.99", "42", "999", "1k", "12.4k", "100k", "100k", "1M", "3.1M",
    ]);
  });

  test("are rates", () => {
    expect([0, 0.004, 0.25, 9.5, 12.34, 1204.4].map(rate)).toEqual(["0", "< 0.01", "0.25", "9.5", "12.3", "1,204"]);
  });

  test("are shares that never round to all or nothing", () => {
    expect([undefined, 0, 1, 0.5, 0.99, 0.9997, 0.999999, 0.00001, 0.004, 0.123].map(percent)).toEqual([
      "–", "0 %", "100 %", "50 %", "99 %", "99.97 %", "> 99.99 %", "< 0.01 %", "0.4 %", "12.3 %",
    ]);
  });

  test("are sizes", () => {
    expect([0, 1023, 1024, 1536, 1_048_576, 150 * 1024].map(bytes)).toEqual(["0 B", "1023 B", "1 KiB", "1.5 KiB", "1 MiB", "150 KiB"]);
  });
});

describe("times", () => {
  test("are durations", () => {
    expect([undefined, 0, 0.44, 12.4, 999, 1240, 59_000, 123_000].map(duration)).toEqual([
      "–", "0 ms", "0.4 ms", "12 ms", "999 ms", "1.24 s", "59 s", "2 min 3 s",
    ]);
  });

  test("are spans in two units", () => {
    expect([45, 180, 185, 7500, 86_400 * 3 + 14_400].map(span)).toEqual(["45 s", "3 min", "3 min 5 s", "2 h 5 min", "3 d 4 h"]);
  });

  test("are told from now", () => {
    const now = 1_000_000_000;
    const far = [0, -12_000, 12_000, -119_000, -3 * 60_000, 5 * 3_600_000, -49 * 3_600_000];
    expect(far.map((ms) => relative(now + ms, now))).toEqual([
      "just now", "12 s ago", "in 12 s", "119 s ago", "3 min ago", "in 5 h", "2 d ago",
    ]);
  });

  test("are written in full", () => {
    const at = new Date(2026, 10, 23, 5, 1, 4, 7).getTime();
    expect(absolute(at)).toBe("2026-11-23 05:01:04");
    expect(absolute(at, true)).toMatch(/^2026-11-23 05:01:04\.007 [+-]\d\d:\d\d$/);
  });
});

test("axes say as much of a time as tells the steps apart", () => {
  const at = new Date(2026, 10, 23, 5, 1, 4).getTime() / 1000;
  const midnight = new Date(2026, 10, 23).getTime() / 1000;
  expect([axisTimes([at], 10), axisTimes([at], 60), axisTimes([at, midnight], 3600), axisTimes([at], 86_400)]).toEqual([
    ["05:01:04"], ["05:01"], ["05:01", "11-23"], ["11-23"],
  ]);
});

test("ids keep both ends", () => {
  expect(shortId("0193a0b2-1111-7222-8333-444455556666")).toBe("0193a0b2…556666");
  expect(shortId("short")).toBe("short");
  expect([clipped("abcdef", 4), clipped("abc", 4)]).toEqual(["abc…", "abc"]);
});
