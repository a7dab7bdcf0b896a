// How far the first steps are, so that they can be left and come back to. Secrets are no part of it.
import { keep, recall } from "../../lib/storage";

export interface Kept {
  /** Empty where there is none yet. */
  endpointId: string;
  eventId: string;
}

const NOTHING: Kept = { endpointId: "", eventId: "" };

/** How far they were in this tab. */
export function recalled(): Kept {
  try {
    const kept: unknown = JSON.parse(recall("tab", "start") ?? "null");
    if (typeof kept !== "object" || kept === null) return NOTHING;
    return { endpointId: text(Reflect.get(kept, "endpointId")), eventId: text(Reflect.get(kept, "eventId")) };
  } catch {
    return NOTHING;
  }
}

export function remember(kept: Kept): void {
  keep("tab", "start", kept.endpointId === "" && kept.eventId === "" ? null : JSON.stringify(kept));
}

/** Whether they were put aside in this tab: then an empty store shows its overview. */
export function isPutAside(): boolean {
  return recall("tab", "start-aside") !== null;
}

export function putAside(): void {
  keep("tab", "start-aside", "yes");
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
