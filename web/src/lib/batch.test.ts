import { expect, test, vi } from "vitest";
import type { BatchJobStatus } from "../gen/webhook/webhook_pb";

vi.mock("./api", () => ({ api: {} }));
/** What the tab keeps. */
const tab = new Map<string, string | null>();
vi.mock("./storage", () => ({ keep: (_: string, name: string, value: string | null) => void tab.set(name, value), recall: (_: string, name: string) => tab.get(name) ?? null }));
vi.stubGlobal("document", { hidden: false });

const { Batch } = await import("./batch.svelte");

const is = (status: string, total: number, processed: number): BatchJobStatus => ({ status, total, processed, failed: 0 }) as BatchJobStatus;

/** Everything that waits for nothing but answers. */
const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

test("what is too much for one batch is done by several, each begun once with what is left", async () => {
  const begun: string[] = [];
  const rests: Record<string, { id: string; rest: string }> = { r1: { id: "two", rest: "r2" }, r2: { id: "three", rest: "" } };
  const batch = new Batch("test", {
    status: async () => is("completed", 10, 10),
    cancel: async () => undefined,
    next: async (rest) => {
      begun.push(rest);
      return rests[rest] ?? { id: "", rest: "" };
    },
  });
  const ended = vi.fn();
  batch.ended = ended;
  batch.follow("one", "r1", 25);
  expect(batch.done).toEqual({ total: 25, processed: 0, failed: 0 });
  await vi.waitFor(() => expect(batch.isRunning).toBe(false));
  expect(begun).toEqual(["r1", "r2"]);
  expect(batch.done).toEqual({ total: 30, processed: 30, failed: 0 });
  expect(ended).toHaveBeenCalledTimes(1);
});

test("nothing is left behind the token: that is the end", async () => {
  const batch = new Batch("test", { status: async () => is("completed", 10, 10), cancel: async () => undefined, next: async () => ({ id: "", rest: "" }) });
  batch.follow("one", "r1", 12);
  await settled();
  await vi.waitFor(() => expect(batch.isRunning).toBe(false));
  expect([batch.isHeld, batch.done]).toEqual([false, { total: 10, processed: 10, failed: 0 }]);
});

test("who stops it while the next batch is being begun stops that one too", async () => {
  let come: (next: { id: string; rest: string }) => void = () => undefined;
  const cancelled: string[] = [];
  const batch = new Batch("test", {
    status: async (id) => is(cancelled.includes(id) ? "cancelled" : "completed", 10, id === "one" ? 10 : 3),
    cancel: async (id) => void cancelled.push(id),
    next: () => new Promise((resolve) => void (come = resolve)),
  });
  batch.follow("one", "r1", 30);
  await settled();
  expect(batch.isRunning).toBe(true);
  await batch.cancel();
  come({ id: "two", rest: "r2" });
  await vi.waitFor(() => expect(batch.isRunning).toBe(false));
  expect(cancelled).toContain("two");
  expect([batch.isHeld, batch.done]).toEqual([false, { total: 20, processed: 13, failed: 0 }]);
});

test("where the next batch cannot be begun it waits for somebody to go on", async () => {
  let fails = true;
  const batch = new Batch("test", {
    status: async () => is("completed", 10, 10),
    cancel: async () => undefined,
    next: async () => {
      if (fails) throw new Error("away");
      return { id: "two", rest: "" };
    },
  });
  batch.follow("one", "r1", 20);
  await vi.waitFor(() => expect(batch.isHeld).toBe(true));
  expect(batch.problem).toBeDefined();
  fails = false;
  await batch.goOn();
  await vi.waitFor(() => expect(batch.isRunning).toBe(false));
  expect([batch.problem, batch.done]).toEqual([undefined, { total: 20, processed: 20, failed: 0 }]);
});

test("what was stopped begins nothing more after the page was loaded anew", async () => {
  const next = vi.fn(async () => ({ id: "two", rest: "" }));
  let status = "processing";
  const calls = { status: async () => is(status, 10, 10), cancel: () => new Promise<void>(() => undefined), next };
  const batch = new Batch("stopped", calls);
  batch.follow("one", "r1", 20);
  await settled();
  // The page goes before the server has answered, and the batch ends by itself meanwhile.
  void batch.cancel();
  status = "completed";
  const anew = new Batch("stopped", calls);
  const ended = vi.fn();
  anew.ended = ended;
  anew.resume();
  await vi.waitFor(() => expect(ended).toHaveBeenCalledTimes(1));
  expect([next.mock.calls.length, anew.isHeld, anew.isRunning]).toEqual([0, false, false]);
});
