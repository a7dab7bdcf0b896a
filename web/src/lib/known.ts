// Names that forms offer.
import { api } from "./api";

/** The newest event types that events of a namespace can have. */
export async function knownTypes(within: string, signal: AbortSignal): Promise<string[]> {
  const page = await api.events.listEvents({ namespace: within, activeOnly: true, pagination: { limit: 200 } }, { signal });
  return page.events.map((known) => known.name);
}

/** The first namespaces by name. */
export async function knownNamespaces(signal: AbortSignal): Promise<string[]> {
  const page = await api.overview.listNamespaces({ pageSize: 200 }, { signal });
  return page.namespaces;
}
