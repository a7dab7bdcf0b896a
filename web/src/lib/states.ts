// What the words of the API look like and mean here: states of deliveries, categories, health.

/** How something looks: good, bad, to be watched, under way, at rest. */
export type Tone = "ok" | "bad" | "warn" | "info" | "mute";

interface Meaning {
  tone: Tone;
  /** What it means, in a sentence. */
  says: string;
}

/** States of deliveries, in the order of a delivery's life. */
export const STATES: Readonly<Record<string, Meaning>> = {
  pending: { tone: "info", says: "Waits for its first attempt." },
  sending: { tone: "info", says: "A request is under way." },
  retrying: { tone: "warn", says: "Failed so far, and waits for another attempt." },
  succeeded: { tone: "ok", says: "Was delivered." },
  failed: { tone: "bad", says: "Failed for good." },
  expired: { tone: "bad", says: "Ran out of time before it was delivered." },
  cancelled: { tone: "mute", says: "Was cancelled." },
};

/** Categories of outcomes. */
export const CATEGORIES: Readonly<Record<string, string>> = {
  success: "The receiver took it.",
  client_error: "The receiver refused it: a status of 400 to 499.",
  server_error: "The receiver failed: a status of 500 to 599.",
  timeout: "The receiver did not answer in time.",
  connection_refused: "Nothing listens there.",
  network_error: "The connection broke, or there was no way to the receiver.",
  dns_error: "The receiver's name did not resolve.",
  tls_error: "The TLS handshake failed.",
  unknown: "Something else: a redirect, a blocked address, a template, an interruption.",
};

const OTHERS: Readonly<Record<string, Meaning>> = {
  healthy: { tone: "ok", says: "Takes nearly everything." },
  degraded: { tone: "warn", says: "Fails now and then." },
  unhealthy: { tone: "bad", says: "Fails mostly." },
  idle: { tone: "mute", says: "Got nothing in the last 24 hours." },
  active: { tone: "ok", says: "Takes part." },
  paused: { tone: "warn", says: "Was paused by a person: what waits for it stays, and events for subscriptions of the RPC API pass by." },
  disabled: { tone: "bad", says: "Was disabled by the server after failing too often." },
  processing: { tone: "info", says: "Under way." },
  running: { tone: "info", says: "Under way." },
  completed: { tone: "ok", says: "Done." },
};

/** How a word of the API looks, and what it means. */
export function meaning(word: string): Meaning {
  return STATES[word] ?? OTHERS[word] ?? { tone: "mute", says: "" };
}

/** Whether nothing happens to a delivery in this state by itself. */
export function isAtRest(state: string): boolean {
  return !["pending", "sending", "retrying"].includes(state);
}

/** What a cause of dead letters is called: `connector_5xx` as `5xx from the receiver`, others by the words of their code. */
export function causeTitle(code: string): string {
  const status = /^connector_(\dxx)$/.exec(code)?.[1];
  const text = code.replaceAll("_", " ").replace(/\b(dns|tls|ttl|http|url)\b/g, (word) => word.toUpperCase());
  return status === undefined ? text.charAt(0).toUpperCase() + text.slice(1) : `${status} from the receiver`;
}
