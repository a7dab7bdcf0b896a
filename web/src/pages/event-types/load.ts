// Reading an event type, and in whose registry it is.
import type { RegisteredEvent } from "../../gen/webhook/webhook_pb";
import { api } from "../../lib/api";
import { isCancelled, trouble } from "../../lib/errors";

export interface Loaded {
  type: RegisteredEvent;
  /** What a change of it names as its namespace. */
  registry: string;
  /** Whether it is known to be in the registry that all namespaces share, though a namespace is looked at. */
  isShared: boolean;
}

/** A type as a namespace sees it; undefined where the answer has none. An empty namespace is that of the key, or the shared registry. */
export async function load(name: string, within: string, signal: AbortSignal): Promise<Loaded | undefined> {
  const [seen, shared] = await Promise.all([
    api.events.getEvent({ name, namespace: within }, { signal }),
    within === "" ? Promise.resolve(undefined) : inShared(name, signal),
  ]);
  const type = seen.event;
  if (type === undefined) return undefined;
  // A namespace sees the shared one where it has none of its own.
  const isShared = shared !== undefined && isSame(shared, type);
  return { type, registry: isShared ? "" : within, isShared };
}

/** A type as the registry that all share has it. */
async function inShared(name: string, signal: AbortSignal): Promise<RegisteredEvent | undefined> {
  try {
    return (await api.events.getEvent({ name }, { signal })).event;
  } catch (cause) {
    if (isCancelled(cause) || trouble(cause).code !== "not_found") throw cause;
    return undefined;
  }
}

/** Whether both were registered at the same moment, to the microsecond: two registries cannot. */
function isSame(one: RegisteredEvent, other: RegisteredEvent): boolean {
  return one.createdAt?.seconds === other.createdAt?.seconds && one.createdAt?.nanos === other.createdAt?.nanos;
}
