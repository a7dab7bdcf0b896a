// A reverse proxy that has the server under a prefix, as people put it beside other things on one host.
import { createServer, request as ask } from "node:http";
import type { AddressInfo } from "node:net";

export interface Proxy {
  /** Where the server is behind it, without a slash at the end. */
  url: string;
  /** Paths outside of the prefix that somebody asked for. */
  strays: string[];
  stop: () => Promise<void>;
}

/** Listens on a free port and hands on what is below `prefix`, such as `/hooks`; everything else is 404. */
export async function startProxy(target: string, prefix: string): Promise<Proxy> {
  const strays: string[] = [];
  const server = createServer((incoming, outgoing) => {
    const path = incoming.url ?? "/";
    if (!path.startsWith(`${prefix}/`)) {
      strays.push(path);
      outgoing.writeHead(404).end();
      return;
    }
    const { method, headers } = incoming;
    const onward = ask(`${target}${path.slice(prefix.length)}`, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      // What streams goes on piece by piece.
      outgoing.flushHeaders();
      answer.pipe(outgoing);
    });
    onward.on("error", () => outgoing.destroy());
    outgoing.on("close", () => onward.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${prefix}`,
    strays,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
