// What dead letters are narrowed by: as it stands in the address, as the server is asked, and in words.
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { DeadLetterFilter } from "../../gen/postrider/v1/dead_letters_pb";
import { absolute, millis, shortId, timestamp } from "../../lib/format";
import { endpointName } from "../../lib/names";
import type { FilterField } from "../../lib/ui/Filters.svelte";
import { LAST, bounds, searchEndpoints } from "../deliveries/filter";

/** What the server is asked for: what is left out narrows nothing. */
export interface Filter {
  namespace?: string;
  endpointId?: string;
  subscriptionId?: string;
  errorCode?: string;
  failedFrom?: Timestamp | undefined;
  failedBefore?: Timestamp | undefined;
}

/** What is replayed or dismissed: some by their ids, or all that match. */
export interface Meant {
  /** In words: `the dead letters of connector_5xx`. */
  what: string;
  ids?: string[];
  filter?: Filter;
}

/** The fields, with these error codes to choose from. */
export function fieldsWith(codes: readonly string[]): FilterField[] {
  return [
    { id: "code", label: "Cause", kind: "one", options: codes.map((code) => ({ value: code, text: code })) },
    { id: "endpoint", label: "Endpoint", kind: "lookup", search: searchEndpoints, show: endpointName },
    { id: "subscription", label: "Subscription", kind: "text", hint: "Its id.", show: shortId },
    { id: "last", label: "Dead-lettered in the last", kind: "one", options: LAST },
    { id: "from", label: "Dead-lettered from", kind: "time", hint: "By this browser's clock." },
    { id: "before", label: "Dead-lettered before", kind: "time" },
  ];
}

const NAMES = fieldsWith([]).map((field) => field.id);

/** The filter that stands in an address. */
export function filterOf(query: URLSearchParams, within: string, now: number): Filter {
  const one = (name: string): string => query.get(name) ?? "";
  const { from, before } = bounds(query, now);
  return {
    namespace: within,
    endpointId: one("endpoint"),
    subscriptionId: one("subscription"),
    errorCode: one("code"),
    failedFrom: timestamp(from),
    failedBefore: timestamp(before),
  };
}

/** Whether anything narrows them. */
export function isNarrowed(query: URLSearchParams): boolean {
  return NAMES.some((name) => (query.get(name) ?? "") !== "");
}

/** What a job's filter means, but for its namespace; `all dead letters` where it narrows nothing. */
export function inWords(filter: DeadLetterFilter | undefined): string {
  const from = millis(filter?.failedFrom);
  const before = millis(filter?.failedBefore);
  const parts = [
    filter?.errorCode ?? "",
    filter?.endpointId ? `endpoint ${shortId(filter.endpointId)}` : "",
    filter?.subscriptionId ? `subscription ${shortId(filter.subscriptionId)}` : "",
    from === undefined ? "" : `from ${absolute(from)}`,
    before === undefined ? "" : `before ${absolute(before)}`,
  ].filter((part) => part !== "");
  return parts.length === 0 ? "all dead letters" : parts.join(", ");
}
