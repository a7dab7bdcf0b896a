import { expect, test } from "vitest";
import { Gathered, merge, refresh } from "./rows";

const row = (deliveryId: string, state = "pending"): { deliveryId: string; state: string } => ({ deliveryId, state });

test("what is new comes on top, what is known changes where it is", () => {
  const rows = merge([row("b"), row("a")], [row("d"), row("c"), row("a", "failed")], 10);
  expect(rows).toEqual([row("d"), row("c"), row("b"), row("a", "failed")]);
});

test("there are never more than are allowed, nor one twice", () => {
  let rows: { deliveryId: string; state: string }[] = [];
  for (let number = 0; number < 1000; number += 1) rows = merge(rows, [row(`${number}`), row(`${number - 1}`, "succeeded")], 50);
  expect(rows).toHaveLength(50);
  expect(rows[0]).toEqual(row("999"));
  expect(rows[1]).toEqual(row("998", "succeeded"));
  expect(new Set(rows.map((one) => one.deliveryId)).size).toBe(50);
});

test("while rows are held nothing moves", () => {
  const held = refresh([row("b"), row("a")], [row("c"), row("b", "failed")]);
  expect(held.rows).toEqual([row("b", "failed"), row("a")]);
  expect(held.others).toEqual([row("c")]);
});

test("however much comes before the next drawing, what is shown misses no change", () => {
  const gathered = new Gathered<{ deliveryId: string; state: string }>();
  const isShown = (id: string): boolean => id === "a" || id === "b";
  const all = (): boolean => true;
  const dropped = gathered.add([row("1"), row("a", "sending")], isShown, all, 3);
  for (let number = 2; number < 100; number += 1) dropped.push(...gathered.add([row(`${number}`)], isShown, all, 3));
  gathered.add([row("a", "succeeded")], isShown, all, 3);
  // What there was no room for is told, each once.
  expect(dropped.map((one) => Number(one.deliveryId))).toEqual(Array.from({ length: 96 }, (_, at) => at + 1));
  expect(gathered.isEmpty).toBe(false);
  expect(gathered.takeAll()).toEqual([row("99"), row("98"), row("97"), row("a", "succeeded")]);
  expect(gathered.isEmpty).toBe(true);
  expect(gathered.takeAll()).toEqual([]);
});

test("what comes to leave takes no place of what is new", () => {
  const gathered = new Gathered<{ deliveryId: string; state: string }>();
  const isShown = (id: string): boolean => id === "a";
  const fits = (one: { state: string }): boolean => one.state === "failed";
  expect(gathered.add([row("1", "failed"), row("2", "failed")], isShown, fits, 2)).toEqual([]);
  // One that is shown is told to leave, one that is not shown yet leaves at once, and others were never there.
  const left = [row("a", "pending"), row("2", "pending"), ...Array.from({ length: 50 }, (_, at) => row(`other ${at}`, "pending"))];
  expect(gathered.add(left, isShown, fits, 2)).toEqual([]);
  expect(gathered.takeAll()).toEqual([row("1", "failed"), row("a", "pending")]);
});
