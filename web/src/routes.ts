// The pages: a line each. What is gone to first is loaded first.
import type { Component } from "svelte";
import type { Scope } from "./lib/session.svelte";
import type { IconName } from "./lib/ui/icons";

/** How a page is shown in the navigation. */
interface Entry {
  title: string;
  icon: IconName;
  group: "watch" | "set up" | "server";
  /** After `g` it goes there. */
  key: string;
  /** Without this scope it is left out. */
  scope?: Scope;
}

/** A page of any properties: those that its path names, such as `id`. */
type Page = Component<any>;

export interface Way {
  /** Its path; a part that begins with `:` is a property of the page. */
  path: string;
  load: () => Promise<{ default: Page }>;
  entry?: Entry;
}

export const ways: readonly Way[] = [
  { path: "", load: () => import("./pages/Overview.svelte"), entry: { title: "Overview", icon: "home", group: "watch", key: "o" } },
  { path: "deliveries", load: () => import("./pages/Deliveries.svelte"), entry: { title: "Deliveries", icon: "delivery", group: "watch", key: "d" } },
  { path: "deliveries/:id", load: () => import("./pages/Delivery.svelte") },
  { path: "events", load: () => import("./pages/Events.svelte"), entry: { title: "Events", icon: "event", group: "watch", key: "e" } },
  { path: "events/push", load: () => import("./pages/PushEvent.svelte") },
  { path: "events/:id", load: () => import("./pages/Event.svelte") },
  { path: "dead-letters", load: () => import("./pages/DeadLetters.svelte"), entry: { title: "Dead letters", icon: "deadLetter", group: "watch", key: "l" } },
  { path: "dead-letters/jobs", load: () => import("./pages/Jobs.svelte") },
  { path: "endpoints", load: () => import("./pages/Endpoints.svelte"), entry: { title: "Endpoints", icon: "endpoint", group: "set up", key: "p" } },
  { path: "endpoints/new", load: () => import("./pages/EndpointNew.svelte") },
  { path: "endpoints/:id", load: () => import("./pages/Endpoint.svelte") },
  { path: "endpoints/:id/edit", load: () => import("./pages/EndpointEdit.svelte") },
  { path: "subscriptions", load: () => import("./pages/Subscriptions.svelte"), entry: { title: "Subscriptions", icon: "filter", group: "set up", key: "s" } },
  { path: "subscriptions/new", load: () => import("./pages/SubscriptionNew.svelte") },
  { path: "subscriptions/:id", load: () => import("./pages/Subscription.svelte") },
  { path: "subscriptions/:id/edit", load: () => import("./pages/SubscriptionEdit.svelte") },
  { path: "event-types", load: () => import("./pages/EventTypes.svelte"), entry: { title: "Event types", icon: "eventType", group: "set up", key: "t" } },
  { path: "event-types/-/new", load: () => import("./pages/EventTypeNew.svelte") },
  { path: "event-types/:name", load: () => import("./pages/EventType.svelte") },
  { path: "event-types/:name/edit", load: () => import("./pages/EventTypeEdit.svelte") },
  { path: "scheduled", load: () => import("./pages/Scheduled.svelte"), entry: { title: "Scheduled", icon: "schedule", group: "set up", key: "c" } },
  { path: "scheduled/new", load: () => import("./pages/ScheduledNew.svelte") },
  { path: "keys", load: () => import("./pages/Keys.svelte"), entry: { title: "Keys", icon: "key", group: "server", key: "k", scope: "admin" } },
  { path: "nodes", load: () => import("./pages/Nodes.svelte"), entry: { title: "Nodes and settings", icon: "node", group: "server", key: "n", scope: "admin" } },
  { path: "start", load: () => import("./pages/Start.svelte") },
  { path: "find", load: () => import("./pages/Find.svelte") },
];

/** Where there is no page. */
export const nowhere: Way = { path: "*", load: () => import("./pages/Nowhere.svelte") };

/** The page of a path as `route.name` has it, with what stands in the path. */
export function find(name: string): { way: Way; given: Record<string, string> } {
  const parts = name.split("/");
  for (const way of ways) {
    const wanted = way.path.split("/");
    if (wanted.length !== parts.length || !wanted.every((part, at) => part.startsWith(":") || part === parts[at])) continue;
    const given: Record<string, string> = {};
    wanted.forEach((part, at) => {
      if (part.startsWith(":")) given[part.slice(1)] = decodeURIComponent(parts[at] ?? "");
    });
    return { way, given };
  }
  return { way: nowhere, given: {} };
}

/** Whether a page is there: others may link to it. */
export function has(path: string): boolean {
  return ways.some((way) => way.path === path);
}
