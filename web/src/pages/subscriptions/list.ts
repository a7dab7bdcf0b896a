// All subscriptions, endpoint by endpoint: there is no list that has those of every API whole.
import type { EndpointSummary, SubscriptionDetail } from "../../gen/postrider/v1/endpoints_pb";
import { api } from "../../lib/api";
import { trouble } from "../../lib/errors";
import type { Portion } from "../../lib/poll.svelte";

/** How many endpoints are asked for at a time. */
const PIECE = 10;

/** How many of these pieces one portion has at the most, where nothing is found in them. */
const MOST_PIECES = 10;

/** Which ones are meant. */
export interface Wanted {
  namespace: string;
  /** Id of the one endpoint whose subscriptions are meant; empty for all. */
  endpoint: string;
  /** What an event type of theirs contains; empty for whatever. */
  type: string;
  /** `active` or `inactive`; empty for both. */
  status: string;
}

/** A subscription with what its endpoint is called. */
export interface Found {
  subscription: SubscriptionDetail;
  endpointName: string;
}

/** The next ones: those of the newest endpoints first. */
export async function portion(wanted: Wanted, token: string, signal: AbortSignal): Promise<Portion<Found>> {
  if (wanted.endpoint !== "") return { rows: await ofEndpoint(wanted.endpoint, wanted, signal), next: "" };
  const rows: Found[] = [];
  let pageToken = token;
  for (let piece = 0; piece < MOST_PIECES; piece += 1) {
    const page = await api.endpoints.listEndpoints({ namespace: wanted.namespace, pageSize: PIECE, pageToken }, { signal });
    const having = page.endpoints.filter((endpoint) => endpoint.subscriptions > 0);
    const found = await Promise.all(having.map((endpoint) => ofEndpoint(endpoint.endpointId, wanted, signal)));
    rows.push(...found.flat());
    pageToken = page.nextPageToken;
    if (rows.length > 0 || pageToken === "") break;
  }
  return { rows, next: pageToken };
}

async function ofEndpoint(endpointId: string, wanted: Wanted, signal: AbortSignal): Promise<Found[]> {
  const { endpoint, subscriptions } = await whole(endpointId, signal);
  return subscriptions
    .filter((one) => wanted.type === "" || typed(one).some((type) => type.includes(wanted.type)))
    .filter((one) => wanted.status === "" || one.active === (wanted.status === "active"))
    .map((subscription) => ({ subscription, endpointName: called(endpoint) }));
}

/** An endpoint with its subscriptions; one that was deleted meanwhile has none. */
async function whole(endpointId: string, signal: AbortSignal): Promise<{ endpoint?: EndpointSummary; subscriptions: SubscriptionDetail[] }> {
  try {
    return await api.endpoints.getEndpoint({ endpointId }, { signal });
  } catch (cause) {
    if (trouble(cause).code === "not_found") return { subscriptions: [] };
    throw cause;
  }
}

/** One that names no type wants every one. */
function typed({ eventTypes }: SubscriptionDetail): string[] {
  return eventTypes.length === 0 ? ["*"] : eventTypes;
}

function called(endpoint: EndpointSummary | undefined): string {
  return endpoint === undefined ? "" : endpoint.name || endpoint.url;
}
