import { expect, test, vi } from "vitest";
import { timestampMs } from "@bufbuild/protobuf/wkt";

vi.mock("../../lib/api", () => ({ api: {} }));
vi.mock("../../lib/names", () => ({ endpointName: (id: string) => id, subscriptionName: (id: string) => id }));
vi.mock("../../lib/namespace.svelte", () => ({ namespace: { name: "" } }));

const { FIELDS, filterOf, isNarrowed } = await import("./filter");

const NOW = Date.UTC(2026, 0, 31, 12, 0, 0);
const asked = (query: string) => filterOf(new URLSearchParams(query), "shop", NOW);
const ms = (at: ReturnType<typeof asked>["createdFrom"]): number | undefined => (at === undefined ? undefined : timestampMs(at));

const NOTHING = {
  namespace: "shop", states: [], category: "", errorCode: "", endpointId: "", subscriptionId: "", eventId: "", eventType: "", createdFrom: undefined,
  createdBefore: undefined,
};

test("nothing is asked for but the namespace", () => {
  expect(asked("")).toEqual(NOTHING);
  expect(asked("live=off&other=1")).toEqual(NOTHING);
});

test.each([
  ["state=failed&state=retrying", { states: ["failed", "retrying"] }],
  ["state=failed&state=lost", { states: ["failed"] }],
  ["category=server_error", { category: "server_error" }],
  ["code=connection_refused", { errorCode: "connection_refused" }],
  ["endpoint=e1", { endpointId: "e1" }],
  ["subscription=s1", { subscriptionId: "s1" }],
  ["event=v1", { eventId: "v1" }],
  ["type=order.created", { eventType: "order.created" }],
])("%s narrows by one thing", (query, narrowed) => {
  expect(asked(query)).toEqual({ ...NOTHING, ...narrowed });
});

test("the last hours are counted from now", () => {
  for (const [last, seconds] of [["15m", 900], ["1h", 3_600], ["24h", 86_400], ["7d", 604_800], ["30d", 2_592_000]] as const) {
    const { createdFrom, createdBefore } = asked(`last=${last}`);
    expect([ms(createdFrom), createdBefore]).toEqual([NOW - seconds * 1000, undefined]);
  }
  expect(asked("last=never")).toEqual(NOTHING);
});

test("times bound it, each by itself and both together", () => {
  const [from, before] = ["2026-01-30T00:00:00.000Z", "2026-01-31T00:00:00.000Z"];
  expect([ms(asked(`from=${from}`).createdFrom), asked(`from=${from}`).createdBefore]).toEqual([Date.parse(from), undefined]);
  expect([asked(`before=${before}`).createdFrom, ms(asked(`before=${before}`).createdBefore)]).toEqual([undefined, Date.parse(before)]);
  const both = asked(`from=${from}&before=${before}`);
  expect([ms(both.createdFrom), ms(both.createdBefore)]).toEqual([Date.parse(from), Date.parse(before)]);
  expect(asked("from=yesterday&before=soon")).toEqual(NOTHING);
});

test("of a time and the last hours the later one holds", () => {
  expect(ms(asked("last=1h&from=2026-01-30T00:00:00.000Z").createdFrom)).toBe(NOW - 3_600_000);
  expect(ms(asked("last=7d&from=2026-01-30T00:00:00.000Z").createdFrom)).toBe(Date.UTC(2026, 0, 30));
});

test("each field of the dialog counts as narrowing, and what is empty does not", () => {
  for (const { id } of FIELDS) {
    expect([id, isNarrowed(new URLSearchParams({ [id]: "x" }))]).toEqual([id, true]);
    expect([id, isNarrowed(new URLSearchParams({ [id]: "" }))]).toEqual([id, false]);
  }
  expect(isNarrowed(new URLSearchParams("live=off"))).toBe(false);
});

test("the dialog has a field for each thing that an address can ask for", () => {
  expect(FIELDS.map(({ id }) => id).sort()).toEqual(
    ["before", "category", "code", "endpoint", "event", "from", "id", "last", "state", "subscription", "type"],
  );
});
