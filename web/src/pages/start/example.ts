// An event that a subscription wants, to begin with.
import type { SubscriptionDetail } from "../../gen/postrider/v1/endpoints_pb";
import { pretty } from "../../lib/json";

export interface Example {
  type: string;
  labels: Record<string, string>;
  payload: string;
}

const TYPE = "hello.world";
const PAYLOAD = '{\n  "hello": "world"\n}';

/** An event that the first active one of these subscriptions gets, as far as that can be told from its conditions. */
export function exampleFor(subscriptions: readonly Pick<SubscriptionDetail, "active" | "eventTypes" | "labels" | "match">[]): Example {
  const wanted = subscriptions.find((one) => one.active);
  if (wanted === undefined) return { type: TYPE, labels: {}, payload: PAYLOAD };
  const [pattern] = wanted.eventTypes;
  const type = pattern === undefined || wanted.eventTypes.includes("*") ? TYPE : pattern.replaceAll("*", "hello");
  return { type, labels: { ...wanted.labels }, payload: wanted.match === "" ? PAYLOAD : (pretty(wanted.match) ?? PAYLOAD) };
}
