// A subscription as a form has it, and as the server is asked to make or change it.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { SubscriptionDetail, UpdateSubscriptionRequestSchema } from "../../gen/postrider/v1/endpoints_pb";
import type { CreateSubscriptionRequestSchema } from "../../gen/webhook/webhook_pb";
import { type Pair, faultOf, isSame, toMap, toPairs } from "../../lib/pairs";
import { payloadFault } from "../../lib/payload";

/** The API that a subscription was made through, which says what it can have. */
export type Origin = "rpc" | "items" | "tasks";

/** What stands in the fields. */
export interface Draft {
  name: string;
  active: boolean;
  /** Event types, a line each where there can be several. */
  types: string;
  labels: Pair[];
  match: string;
  template: string;
  templateEnabled: boolean;
  fieldMap: string;
  /** Of a new one. */
  method: string;
  timeout: string;
  headers: Pair[];
}

export type Field = keyof Draft;

/** The fields by the names that messages of the server begin with, of both APIs that are asked. */
export const NAMES: Readonly<Record<string, Field>> = {
  name: "name",
  event_name: "types",
  "conditions.event_types": "types",
  "conditions.labels": "labels",
  label_filters: "labels",
  "conditions.match": "match",
  template: "template",
  template_enabled: "template",
  transform_template: "template",
  transform_enabled: "template",
  field_map: "fieldMap",
  method: "method",
  timeout: "timeout",
  headers: "headers",
};

/** A new one: the RPC API makes it. */
export function blank(): Draft {
  return {
    name: "", active: true, types: "", labels: [], match: "", template: "", templateEnabled: false, fieldMap: "", method: "POST", timeout: "", headers: [],
  };
}

/** One as it is. */
export function draftOf(subscription: SubscriptionDetail): Draft {
  return {
    ...blank(),
    name: subscription.name,
    active: subscription.active,
    types: subscription.eventTypes.join("\n"),
    labels: toPairs(subscription.labels),
    match: subscription.match,
    template: subscription.template,
    templateEnabled: subscription.templateEnabled,
    fieldMap: subscription.fieldMap,
  };
}

/** What an origin is, whatever the server calls it. */
export function originOf(text: string): Origin {
  return text === "items" || text === "tasks" ? text : "rpc";
}

/** The event types that a text names, one a line: a name can have a comma in it. */
export function typesOf(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
}

/** What is wrong, before the server is asked. */
export function faultsOf(draft: Draft, origin: Origin): Partial<Record<Field, string>> {
  const faults: Partial<Record<Field, string>> = {};
  const note = (field: Field, fault: string | undefined): void => {
    if (fault !== undefined) faults[field] = fault;
  };
  const types = typesOf(draft.types);
  if (origin !== "tasks" && types.length !== 1) note("types", types.length === 0 ? "It wants an event type: a name, order.* or *." : "It has exactly one.");
  note("labels", faultOf(draft.labels));
  note("headers", faultOf(draft.headers, true));
  if (draft.match.trim() !== "") note("match", payloadFault(draft.match));
  if (draft.fieldMap.trim() !== "") note("fieldMap", payloadFault(draft.fieldMap));
  if (draft.templateEnabled && draft.template.trim() === "") note("template", "There is no template that could make the body.");
  if (!/^\d*$/.test(draft.timeout.trim()) || Number(draft.timeout) > 300) note("timeout", "A whole number of seconds up to 300, or nothing.");
  return faults;
}

/** The conditions that a draft has. */
export function conditionsOf(draft: Draft): { eventTypes: string[]; labels: Record<string, string>; match: string } {
  return { eventTypes: typesOf(draft.types), labels: toMap(draft.labels), match: draft.match.trim() };
}

/** What makes a new one. */
export function creation(draft: Draft, webhookId: string, namespace: string): MessageInitShape<typeof CreateSubscriptionRequestSchema> {
  return {
    webhookId,
    namespace,
    eventName: typesOf(draft.types)[0] ?? "",
    labelFilters: toMap(draft.labels),
    headers: toMap(draft.headers),
    method: draft.method,
    timeout: Number(draft.timeout),
    transformEnabled: draft.templateEnabled,
    transformTemplate: draft.template,
  };
}

/** What makes the one before into the other; undefined where nothing is another. */
export function change(subscriptionId: string, before: Draft, now: Draft): MessageInitShape<typeof UpdateSubscriptionRequestSchema> | undefined {
  const differs = (field: "name" | "match" | "template" | "fieldMap"): boolean => before[field].trim() !== now[field].trim();
  const asks = differs("match") || !isSame(before.labels, now.labels) || typesOf(before.types).join("\n") !== typesOf(now.types).join("\n");
  const isEnabled = now.templateEnabled && now.template.trim() !== "";
  const changed = {
    name: differs("name") ? now.name.trim() : undefined,
    active: before.active === now.active ? undefined : now.active,
    conditions: asks ? conditionsOf(now) : undefined,
    template: differs("template") ? blanked(now.template) : undefined,
    templateEnabled: before.templateEnabled === isEnabled ? undefined : isEnabled,
    fieldMap: differs("fieldMap") ? now.fieldMap.trim() : undefined,
  };
  return Object.values(changed).every((part) => part === undefined) ? undefined : { subscriptionId, ...changed };
}

/** White space alone is no template; around one it is a part of it. */
function blanked(template: string): string {
  return template.trim() === "" ? "" : template;
}
