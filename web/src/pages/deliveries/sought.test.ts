import { expect, test, vi } from "vitest";
import type { Filter } from "./filter";
import { deliveriesOf } from "./sought";

const FILTER: Filter = {
  namespace: "shop", states: [], category: "", errorCode: "", endpointId: "", subscriptionId: "", eventId: "", eventType: "", createdFrom: undefined,
  createdBefore: undefined,
};
const row = (deliveryId: string, state = "failed") => ({ deliveryId, state, category: "", errorCode: "tls_error", endpointId: "", subscriptionId: "", eventId: "e1", eventType: "" });
const event = (id: string) => ({ kind: "event", id, deliveryId: "" });
const signal = new AbortController().signal;

/** A server that finds this, a page at a time. */
function ledger(...pages: { findings: object[]; nextPageToken: string }[]) {
  return {
    find: vi.fn(async ({ pageToken }: { pageToken?: string }) => pages[Number(pageToken || 0)]),
    explainDelivery: vi.fn(async ({ deliveryId }: { deliveryId?: string }) => ({ delivery: row(deliveryId ?? "") })),
    listDeliveries: vi.fn(async ({ pageToken }: { pageToken?: string }) =>
      pageToken === "" ? { deliveries: [row("d1"), row("d2")], nextPageToken: "more" } : { deliveries: [row("d3")], nextPageToken: "" },
    ),
  };
}

const ask = (server: ReturnType<typeof ledger>, filter = FILTER, token = "") => deliveriesOf(server as never, "text", filter, token, signal);

test("a delivery is found by its own id, and by that of its attempt", async () => {
  for (const finding of [{ kind: "delivery", id: "d1", deliveryId: "" }, { kind: "attempt", id: "a1", deliveryId: "d1" }]) {
    const page = await ask(ledger({ findings: [finding], nextPageToken: "" }));
    expect([page.rows.map(({ deliveryId }) => deliveryId), page.next]).toEqual([["d1"], ""]);
  }
});

test("an event narrows the list, which is walked on", async () => {
  const server = ledger({ findings: [{ kind: "event", id: "e1", deliveryId: "" }], nextPageToken: "" });
  const first = await ask(server);
  expect(first.rows.map(({ deliveryId }) => deliveryId)).toEqual(["d1", "d2"]);
  const second = await ask(server, FILTER, first.next);
  expect([second.rows.map(({ deliveryId }) => deliveryId), second.next]).toEqual([["d3"], ""]);
  expect(server.find).toHaveBeenCalledTimes(1);
  expect(server.listDeliveries.mock.calls.map(([request]) => (request as unknown as { filter: Filter }).filter.eventId)).toEqual(["e1", "e1"]);
});

test("what is not found yet is looked for further back", async () => {
  const server = ledger({ findings: [], nextPageToken: "1" }, { findings: [{ kind: "delivery", id: "d9", deliveryId: "" }], nextPageToken: "" });
  const first = await ask(server);
  expect(first.rows).toEqual([]);
  const second = await ask(server, FILTER, first.next);
  expect([second.rows.map(({ deliveryId }) => deliveryId), second.next]).toEqual([["d9"], ""]);
});

test("the rest of the filter holds too", async () => {
  const found = { findings: [{ kind: "delivery", id: "d1", deliveryId: "" }], nextPageToken: "" };
  expect((await ask(ledger(found), { ...FILTER, states: ["succeeded"] })).rows).toEqual([]);
  expect((await ask(ledger(found), { ...FILTER, errorCode: "connection_refused" })).rows).toEqual([]);
  expect((await ask(ledger(found), { ...FILTER, errorCode: "tls_error" })).rows).toHaveLength(1);
  expect((await ask(ledger({ findings: [event("e1")], nextPageToken: "" }), { ...FILTER, eventId: "e2" })).rows).toEqual([]);
});

/** A server with events of some keys, each with two deliveries: `a1` and `a2` of `a`. */
function events(keys: Readonly<Record<string, string>>, findings = Object.keys(keys).map(event), nextPageToken = "") {
  return {
    find: vi.fn(async ({ pageToken }: { pageToken?: string }) => {
      if (pageToken === "") return { findings, nextPageToken };
      return { findings: ["a1", "z1"].map((id) => ({ kind: "delivery", id, deliveryId: "" })), nextPageToken: "" };
    }),
    explainDelivery: vi.fn(async ({ deliveryId }: { deliveryId: string }) => ({ delivery: { ...row(deliveryId), eventId: deliveryId.slice(0, 1) } })),
    explainEvent: vi.fn(async ({ eventId }: { eventId: string }) => ({ event: { event: { eventId, idempotencyKey: keys[eventId] } } })),
    listDeliveries: vi.fn(async ({ filter: { eventId } }: { filter: Filter }) => ({
      deliveries: [{ ...row(`${eventId}1`), eventId }, { ...row(`${eventId}2`), eventId }],
      nextPageToken: "",
    })),
  };
}

/** The ids of all that is found, page by page. */
async function all(server: ReturnType<typeof events>, text: string, filter = FILTER): Promise<string[]> {
  const ids: string[] = [];
  for (let token = "", pages = 0; pages === 0 || token !== ""; pages += 1) {
    expect(pages).toBeLessThan(20);
    const page = await deliveriesOf(server as never, text, filter, token, signal);
    ids.push(...page.rows.map(({ deliveryId }) => deliveryId));
    token = page.next;
  }
  return ids;
}

test("a key of several namespaces is that of an event in each", async () => {
  expect(await all(events({ a: "order-1", b: "order-1" }), "order-1")).toEqual(["a1", "a2", "b1", "b2"]);
  expect(await all(events({ a: "order-1", b: "order-1" }), "order-1", { ...FILTER, eventId: "b" })).toEqual(["b1", "b2"]);
});

test("more than are asked for a page are walked over several", async () => {
  const letters = [..."abcdefghijklmnopqrstuvwxy"];
  const server = events(Object.fromEntries(letters.map((letter) => [letter, "k"])));
  const first = await deliveriesOf(server as never, "k", FILTER, "", signal);
  expect(first.rows.length).toBeLessThan(letters.length * 2);
  expect(await all(server, "k")).toEqual(letters.flatMap((letter) => [`${letter}1`, `${letter}2`]));
});

test("a number that is a key too is meant as the key", async () => {
  // The server answers the event with that number first.
  expect(await all(events({ n: "another", a: "4711" }), "4711")).toEqual(["a1", "a2"]);
  // Nothing has that number: the first one has the key as well.
  expect(await all(events({ a: "4711", b: "4711" }), "4711")).toEqual(["a1", "a2", "b1", "b2"]);
  // It is the number of one that has it as its key: it is answered twice, and shown once.
  expect(await all(events({ a: "4711", b: "4711" }, [event("a"), event("a"), event("b")]), "4711")).toEqual(["a1", "a2", "b1", "b2"]);
});

test("a number that is no key is that of an event", async () => {
  const server = events({ n: "another" });
  expect(await all(server, "4711")).toEqual(["n1", "n2"]);
  expect(server.explainEvent).not.toHaveBeenCalled();
});

test("what was found is shown, and then it is looked further back: nothing comes twice", async () => {
  const server = events({ a: "k" }, [event("a")], "older");
  expect(await all(server, "k")).toEqual(["a1", "a2", "z1"]);
  expect(server.find.mock.calls.map(([request]) => request.pageToken)).toEqual(["", "older"]);
});
