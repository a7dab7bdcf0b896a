// What a subscription would have got, of the latest events: asked anew while somebody types.
import type { PreviewSubscriptionResponse } from "../../gen/postrider/v1/endpoints_pb";
import { api } from "../../lib/api";
import { type Answer, poll } from "../../lib/poll.svelte";
import { settled } from "../../lib/settled.svelte";

/** What is asked about. */
export interface Asked {
  namespace: string;
  /** Whose bodies are shown; empty for those of a new one of the RPC API. */
  subscriptionId: string;
  eventTypes: string[];
  labels: Record<string, string>;
  match: string;
  /** What makes the bodies in their place; empty for nothing. */
  template: string;
}

/** To be called while a component is made. Nothing is asked where there is nothing to ask about. */
export function preview(ask: () => Asked | undefined): Answer<PreviewSubscriptionResponse | undefined> {
  const text = settled(() => JSON.stringify(ask() ?? null));
  return poll(async (signal) => {
    const asked = JSON.parse(text.now) as Asked | null;
    if (asked === null) return undefined;
    const { namespace, subscriptionId, eventTypes, labels, match, template } = asked;
    return api.endpoints.previewSubscription({ namespace, subscriptionId, template, conditions: { eventTypes, labels, match } }, { signal });
  });
}
