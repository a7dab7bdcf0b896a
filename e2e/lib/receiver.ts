// A receiver that answers in all ways. What a request gets is the first part of its path, `/fail/NAME`; the second is whom it is for.
import { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { until } from "./until";

/** How requests are answered. */
export type Behaviour =
  | "ok" // 200 at once
  | "slow" // 200 after a while
  | "fail" // 500
  | "limit" // 429 with Retry-After
  | "refuse" // 404
  | "gone" // 410
  | "moved" // 302
  | "hang" // never
  | "reset" // the connection breaks
  | "garbage" // no HTTP
  | "large"; // 200 with a large body

/** A request as it came. */
export interface Received {
  headers: IncomingHttpHeaders;
  body: string;
}

export interface Receiver {
  /** Where to send, to be answered like this. */
  url: (behaviour: Behaviour, name: string) => string;
  /** From now on what is for this name is answered with 200. */
  mend: (name: string) => void;
  /** What came for this name. */
  received: (name: string) => readonly Received[];
  /** Resolves when so many requests came for this name. */
  arrived: (name: string, count: number) => Promise<readonly Received[]>;
  stop: () => Promise<void>;
}

const SLOW_MS = 150;
/** Most requests that are kept of each name. */
const MOST = 2_000;

/** What a large answer says: half a mebibyte of JSON. */
const LARGE = JSON.stringify({ lines: Array.from({ length: 8_192 }, (_, line) => ({ line, text: "the quick brown fox jumps over the dog" })) });

export async function startReceiver(): Promise<Receiver> {
  const mended = new Set<string>();
  const kept = new Map<string, Received[]>();
  const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 }, (request, response) => {
    read(request).then((body) => {
      const [, behaviour = "ok", name = ""] = (request.url ?? "/").split("/");
      const all = kept.get(name) ?? [];
      if (all.length < MOST) all.push({ headers: request.headers, body });
      kept.set(name, all);
      answer((mended.has(name) ? "ok" : behaviour) as Behaviour, request, response);
    }).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const received = (name: string): readonly Received[] => kept.get(name) ?? [];
  return {
    url: (behaviour, name) => `http://127.0.0.1:${port}/${behaviour}/${name}`,
    mend: (name) => void mended.add(name),
    received,
    arrived: (name, count) => until(`${count} requests for ${name}`, async () => received(name), (all) => all.length >= count),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answer(behaviour: Behaviour, request: IncomingMessage, response: ServerResponse): void {
  const json = (status: number, body: string, headers: Record<string, string> = {}): void => {
    response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(body);
  };
  switch (behaviour) {
    case "slow":
      setTimeout(() => json(200, '{"taken":true}'), SLOW_MS);
      return;
    case "fail":
      return json(500, '{"error":"the database is away"}');
    case "limit":
      return json(429, '{"error":"slow down"}', { "Retry-After": "900" });
    case "refuse":
      return json(404, '{"error":"there is nothing here"}');
    case "gone":
      return json(410, '{"error":"this shop has closed"}');
    case "moved":
      return json(302, "", { Location: "/ok/elsewhere" });
    case "hang":
      return;
    case "reset":
      request.socket.resetAndDestroy();
      return;
    case "garbage":
      request.socket.end("What do you mean?\r\n\r\n");
      return;
    case "large":
      return json(200, LARGE);
    default:
      return json(200, '{"taken":true}');
  }
}

async function read(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString("utf8");
}
