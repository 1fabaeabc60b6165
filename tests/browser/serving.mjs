// Pages that are not ours, from this machine.
import { once } from "node:events";
import { createServer } from "node:http";

/** Serves what `file` has for a path, `[type, body]`; returns the port, and how to end it. */
export async function serve(file) {
  const server = createServer(({ url }, answer) => {
    const [type, body] = file(url) ?? [];
    const fields = type && { "content-type": type, "cache-control": "no-cache" };
    answer.writeHead(type ? 200 : 404, fields).end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { port: server.address().port, close: () => (server.closeAllConnections(), server.close()) };
}
