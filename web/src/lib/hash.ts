// Addresses within the page: they stand behind `#`, so that the page works under any path and no server needs to know them.

/** What is asked for in an address; a list has its values one by one. */
export type Query = Record<string, string | string[] | undefined>;

/** A place in the page. */
export interface Place {
  /** The parts of its path, such as `deliveries` and an id. */
  path: string[];
  query: URLSearchParams;
}

/** Reads what stands in the address bar. */
export function parse(hash: string): Place {
  const text = hash.replace(/^#\/?/, "");
  const at = text.indexOf("?");
  const path = (at < 0 ? text : text.slice(0, at)).split("/").filter((part) => part !== "").map(decoded);
  return { path, query: new URLSearchParams(at < 0 ? "" : text.slice(at + 1)) };
}

/** The address of a place. */
export function address(path: string[], query: Query = {}): string {
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== "") asked.append(name, one);
    }
  }
  const text = asked.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text === "" ? "" : `?${text}`}`;
}

/** All that an address asks for, as it is, to be changed in part. */
export function asked(query: URLSearchParams): Record<string, string[]> {
  const all: Record<string, string[]> = {};
  for (const name of new Set(query.keys())) all[name] = query.getAll(name);
  return all;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Addresses of pages, so that no page spells another's. */
export const to = {
  overview: (): string => address([]),
  deliveries: (query?: Query): string => address(["deliveries"], query),
  delivery: (id: string): string => address(["deliveries", id]),
  events: (query?: Query): string => address(["events"], query),
  event: (id: string): string => address(["events", id]),
  push: (query?: Query): string => address(["events", "push"], query),
  endpoints: (query?: Query): string => address(["endpoints"], query),
  endpoint: (id: string): string => address(["endpoints", id]),
  newEndpoint: (): string => address(["endpoints", "new"]),
  editEndpoint: (id: string): string => address(["endpoints", id, "edit"]),
  subscriptions: (query?: Query): string => address(["subscriptions"], query),
  subscription: (id: string): string => address(["subscriptions", id]),
  newSubscription: (query?: Query): string => address(["subscriptions", "new"], query),
  editSubscription: (id: string): string => address(["subscriptions", id, "edit"]),
  deadLetters: (query?: Query): string => address(["dead-letters"], query),
  jobs: (): string => address(["dead-letters", "jobs"]),
  eventTypes: (): string => address(["event-types"]),
  eventType: (name: string): string => address(["event-types", name]),
  newEventType: (): string => address(["event-types", "-", "new"]),
  editEventType: (name: string): string => address(["event-types", name, "edit"]),
  scheduled: (query?: Query): string => address(["scheduled"], query),
  newScheduled: (query?: Query): string => address(["scheduled", "new"], query),
  keys: (): string => address(["keys"]),
  nodes: (): string => address(["nodes"]),
  start: (): string => address(["start"]),
  find: (text: string): string => address(["find"], { text }),
};
