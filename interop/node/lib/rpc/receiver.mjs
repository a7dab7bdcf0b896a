// A receiver that answers what the path asks for: `/503/anything` gets 503 and the text `answer 503`.
import { createServer } from "node:http";

/** Listens on a free port of the loopback address; `requests(path, count)` are those to a path, once so many have come. */
export async function startAnswering() {
  const received = [];
  let changed = () => {};
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    received.push({ method: request.method, path: request.url, headers: request.headers, body: Buffer.concat(parts) });
    const status = Number(request.url.split("/")[1]);
    response.writeHead(status).end(`answer ${status}`);
    changed();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const to = (path) => received.filter((request) => request.path === path);
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests: async (path, count) => {
      while (to(path).length < count) await new Promise((resolve) => { changed = resolve; });
      return to(path);
    },
    stop: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }),
  };
}
