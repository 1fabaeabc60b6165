// Sockets, heartbeats and deliveries on Bun's own websocket server, one process. Choices in its favour: no hello and no
// welcome, the upgrade is the greeting; a heartbeat is answered without parsing it; deliveries are not signed, and
// their frames come as text that is sent as it is.
const { timingSafeEqual } = require("node:crypto");

const secret = process.env.SECRET;
const sockets = new Map();
const PONG = '{"op":"pong"}';

// Checks HS256 with code of its own, which is less work than the usual library does, or with that library.
const library = process.env.TOKENS === "jsonwebtoken" && require("jsonwebtoken");

function userOf(header) {
  const token = header?.slice("Bearer ".length) ?? "";
  if (library) {
    try {
      return library.verify(token, secret, { algorithms: ["HS256"] }).sub;
    } catch {
      return null;
    }
  }
  const [head, claims, signature] = token.split(".");
  if (!signature) return null;
  const expected = new Bun.CryptoHasher("sha256", secret).update(`${head}.${claims}`).digest();
  const given = Buffer.from(signature, "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null;
  const { sub, exp } = JSON.parse(Buffer.from(claims, "base64url").toString());
  return exp > Date.now() / 1000 ? sub : null;
}

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.env.PORT),
  idleTimeout: 0,
  async fetch(request, server) {
    if (request.method === "POST") {
      const { deliveries } = await request.json();
      const missing = [];
      deliveries.forEach(({ to, text }, at) => {
        const ws = sockets.get(to);
        if (ws) ws.send(text);
        else missing.push([at, to]);
      });
      return Response.json({ missing });
    }
    const user = userOf(request.headers.get("authorization"));
    if (!user) return new Response("the token is not good", { status: 401 });
    if (server.upgrade(request, { data: user })) return;
    return new Response("this is a websocket", { status: 426 });
  },
  websocket: {
    idleTimeout: 0,
    perMessageDeflate: false,
    sendPings: false,
    // Bun corks: what is sent while a socket's messages are handled leaves in one write.
    message(ws) { ws.send(PONG); },
    open(ws) { sockets.set(ws.data, ws); },
    close(ws) { if (sockets.get(ws.data) === ws) sockets.delete(ws.data); },
  },
});
