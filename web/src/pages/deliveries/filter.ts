// What deliveries are narrowed by: as it stands in the address, and as the server is asked.
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { api } from "../../lib/api";
import { shortId, timestamp, words } from "../../lib/format";
import { endpointName, subscriptionName } from "../../lib/names";
import { namespace } from "../../lib/namespace.svelte";
import { CATEGORIES, STATES } from "../../lib/states";
import type { FilterField } from "../../lib/ui/Filters.svelte";
import type { Choice } from "../../lib/ui/Lookup.svelte";

/** As `postrider.v1.DeliveryFilter` takes it. */
export interface Filter {
  namespace: string;
  states: string[];
  category: string;
  errorCode: string;
  endpointId: string;
  subscriptionId: string;
  eventId: string;
  eventType: string;
  createdFrom: Timestamp | undefined;
  createdBefore: Timestamp | undefined;
}

/** How far back lists can be asked to go. */
export const LAST: readonly { value: string; text: string; seconds: number }[] = [
  { value: "15m", text: "15 minutes", seconds: 900 },
  { value: "1h", text: "hour", seconds: 3_600 },
  { value: "24h", text: "24 hours", seconds: 86_400 },
  { value: "7d", text: "7 days", seconds: 604_800 },
  { value: "30d", text: "30 days", seconds: 2_592_000 },
];

/** Endpoints by a text in their name, URL or id. */
export async function searchEndpoints(text: string, signal: AbortSignal): Promise<Choice[]> {
  const found = await api.endpoints.listEndpoints({ namespace: namespace.name, text, pageSize: 20 }, { signal });
  return found.endpoints.map(({ endpointId, name, url }) => ({ id: endpointId, title: name || url, note: name === "" ? endpointId : url }));
}

const named = (all: Readonly<Record<string, unknown>>): { value: string; text: string }[] =>
  Object.keys(all).map((value) => ({ value, text: words(value) }));

export const FIELDS: readonly FilterField[] = [
  { id: "state", label: "State", kind: "many", options: named(STATES) },
  { id: "category", label: "Last outcome", kind: "one", options: named(CATEGORIES) },
  { id: "code", label: "Error code", kind: "text", hint: "Of the last outcome, such as connection_refused: a delivery's page shows it." },
  { id: "endpoint", label: "Endpoint", kind: "lookup", search: searchEndpoints, show: endpointName },
  { id: "type", label: "Event type", kind: "text", hint: "Its whole name, such as order.created." },
  { id: "subscription", label: "Subscription", kind: "text", hint: "Its id.", show: subscriptionName },
  { id: "event", label: "Event", kind: "text", hint: "Its id.", show: shortId },
  { id: "id", label: "Id or key", kind: "text", hint: "A delivery's id or idempotency key, or the id or key of its event.", show: shortId },
  { id: "last", label: "Created in the last", kind: "one", options: LAST },
  { id: "from", label: "Created from", kind: "time", hint: "By this browser's clock." },
  { id: "before", label: "Created before", kind: "time" },
];

/** The bounds in time that stand in an address, in milliseconds; undefined where there is none. */
export function bounds(query: URLSearchParams, now: number): { from: number | undefined; before: number | undefined } {
  const time = (name: string): number | undefined => {
    const at = new Date(query.get(name) ?? "").getTime();
    return Number.isNaN(at) ? undefined : at;
  };
  const last = LAST.find((known) => known.value === query.get("last"));
  const from = [time("from"), last === undefined ? undefined : now - last.seconds * 1000].filter((at) => at !== undefined);
  return { from: from.length === 0 ? undefined : Math.max(...from), before: time("before") };
}

/** What the server is asked for. */
export function filterOf(query: URLSearchParams, within: string, now: number): Filter {
  const one = (name: string): string => query.get(name) ?? "";
  const { from, before } = bounds(query, now);
  return {
    namespace: within,
    states: query.getAll("state").filter((state) => state in STATES),
    category: one("category"),
    errorCode: one("code"),
    endpointId: one("endpoint"),
    subscriptionId: one("subscription"),
    eventId: one("event"),
    eventType: one("type"),
    createdFrom: timestamp(from),
    createdBefore: timestamp(before),
  };
}

/** Whether anything narrows them. */
export function isNarrowed(query: URLSearchParams): boolean {
  return FIELDS.some((field) => query.getAll(field.id).some((value) => value !== ""));
}
