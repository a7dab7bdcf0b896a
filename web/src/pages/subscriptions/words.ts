// Subscriptions in a few words.
import type { SubscriptionDetail } from "../../gen/postrider/v1/endpoints_pb";
import { inLine } from "../../lib/pairs";

/** The APIs by what subscriptions call them. */
export const ORIGINS: Readonly<Record<string, string>> = { rpc: "RPC", items: "Items", tasks: "Tasks" };

/** Which event types it wants. */
export function typesOf({ eventTypes }: Pick<SubscriptionDetail, "eventTypes">): string {
  return eventTypes.length === 0 || eventTypes.includes("*") ? "every type" : eventTypes.join(", ");
}

/** What it asks of events besides; empty for nothing. */
export function besides({ labels, match }: Pick<SubscriptionDetail, "labels" | "match">): string {
  return [inLine(labels), match].filter((part) => part !== "").join(", ");
}

/** What is sent. */
export function bodyOf({ body, format, envelope, fieldMap }: Pick<SubscriptionDetail, "body" | "format" | "envelope" | "fieldMap">): string {
  switch (body) {
    case "raw":
      return "the payload as it is";
    case "rpc":
      return "the payload in an envelope";
    case "template":
      return "what the template makes";
    case "items":
      return `${format}${envelope ? " in an envelope" : ""}${fieldMap === "" ? "" : ", fields mapped"}`;
    default:
      return body;
  }
}
