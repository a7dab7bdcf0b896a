// What endpoints and subscriptions are called that stand somewhere by their ids.
import { SvelteMap } from "svelte/reactivity";
import { api } from "./api";
import { trouble } from "./errors";
import { shortId } from "./format";
import { session } from "./session.svelte";

const names = new SvelteMap<string, string>();
const asked = new Set<string>();

/** The name of an endpoint; a part of its id until it is known. Who reads it while it renders is told when it comes. */
export function endpointName(id: string): string {
  return nameOf(id, async () => {
    const { endpoint } = await api.endpoints.getEndpoint({ endpointId: id });
    return endpoint?.name || endpoint?.url;
  });
}

/** The same of a subscription; one without a name is called by what it is for. */
export function subscriptionName(id: string): string {
  return nameOf(id, async () => {
    const { subscription } = await api.endpoints.getSubscription({ subscriptionId: id });
    return subscription?.name || subscription?.eventTypes.join(", ") || (subscription === undefined ? undefined : "every event type");
  });
}

function nameOf(id: string, ask: () => Promise<string | undefined>): string {
  // Who signs in is told what that key may see, as it is now.
  const own = `${session.number} ${id}`;
  if (!asked.has(own)) {
    asked.add(own);
    void look(own, ask);
  }
  return names.get(own) ?? shortId(id);
}

async function look(own: string, ask: () => Promise<string | undefined>): Promise<void> {
  try {
    const name = await ask();
    if (name) names.set(own, name);
  } catch (cause) {
    // A deleted one is known by its id alone. What may pass is asked again when it is drawn again.
    if (trouble(cause).mayPass) asked.delete(own);
  }
}
