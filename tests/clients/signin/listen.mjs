// An HTTP server on a free port of this machine.
import { once } from "node:events";
import { createServer } from "node:http";

/** Listens: {url, on(handler), close()}. The handler comes afterwards, for some must know the port first. */
export async function listen() {
  let handler;
  const server = createServer((request, response) => handler(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    on(serve) {
      handler = serve;
    },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

/** A request's whole body as text. */
export async function bodyOf(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}
