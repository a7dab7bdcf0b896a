// What events are narrowed by: as it stands in the address, and as the server is asked.
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { timestamp } from "../../lib/format";
import { fromLine } from "../../lib/pairs";
import type { FilterField } from "../../lib/ui/Filters.svelte";
import { LAST, bounds } from "../deliveries/filter";

export const FIELDS: readonly FilterField[] = [
  { id: "type", label: "Event type", kind: "text", hint: "Its whole name, such as order.created." },
  { id: "labels", label: "Labels", kind: "text", hint: "All of these, such as region=eu, tier=gold." },
  {
    id: "schema", label: "Payload", kind: "one",
    options: [{ value: "fits", text: "fits the schema of its type" }, { value: "broken", text: "does not fit the schema of its type" }],
  },
  { id: "last", label: "Accepted in the last", kind: "one", options: LAST },
  { id: "from", label: "Accepted from", kind: "time", hint: "By this browser's clock." },
  { id: "before", label: "Accepted before", kind: "time" },
];

/** Which events are meant. */
export interface Wanted {
  namespace: string;
  /** Empty for every one. */
  eventType: string;
  labels: Record<string, string>;
  schemaValid: boolean | undefined;
  /** In milliseconds. */
  from: number | undefined;
  before: number | undefined;
}

export function wantedOf(query: URLSearchParams, within: string, now: number): Wanted {
  const schema = query.get("schema");
  return {
    namespace: within,
    eventType: query.get("type") ?? "",
    labels: fromLine(query.get("labels") ?? ""),
    schemaValid: schema === "fits" ? true : schema === "broken" ? false : undefined,
    ...bounds(query, now),
  };
}

/** As `postrider.v1.LedgerService/ListEvents` takes it. */
export function forList({ namespace, eventType, labels, schemaValid, from, before }: Wanted): {
  namespace: string;
  eventType: string;
  labels: Record<string, string>;
  schemaValid: boolean | undefined;
  createdFrom: Timestamp | undefined;
  createdBefore: Timestamp | undefined;
} {
  return { namespace, eventType, labels, schemaValid, createdFrom: timestamp(from), createdBefore: timestamp(before) };
}

/** As `webhook.EventService/ListEventReports` takes it: its first bound is the last time that is not meant, a microsecond before. */
export function forReports({ namespace, eventType, labels, schemaValid, from, before }: Wanted): {
  namespace: string;
  eventName: string | undefined;
  labels: Record<string, string>;
  schemaValid: boolean | undefined;
  createdAfter: Timestamp | undefined;
  createdBefore: Timestamp | undefined;
} {
  return {
    namespace,
    eventName: eventType === "" ? undefined : eventType,
    labels,
    schemaValid,
    createdAfter: from === undefined ? undefined : justBefore(from),
    createdBefore: timestamp(before),
  };
}

/** Whether anything narrows them. */
export function isNarrowed(query: URLSearchParams): boolean {
  return FIELDS.some((field) => query.getAll(field.id).some((value) => value !== ""));
}

function justBefore(ms: number): Timestamp {
  const at = timestampFromMs(Math.floor(ms) - 1);
  return { ...at, nanos: at.nanos + 999_000 };
}
