// Sockets, heartbeats and deliveries on Node with `ws`, one process; with REDIS also the entry of a durable pipeline.
// Choices in its favour: no hello and no welcome, the upgrade is the greeting; a heartbeat is answered without parsing
// it; deliveries are not signed, and their frames are sent as they are.
const http = require("node:http");
const { createHmac, timingSafeEqual } = require("node:crypto");
const { WebSocketServer } = require("ws");

const secret = process.env.SECRET;
const sockets = new Map();
const PONG = '{"op":"pong"}';
const PING = Buffer.from('{"op":"ping"');
const redis = process.env.REDIS && new (require("ioredis"))(process.env.REDIS);

// Checks HS256 with code of its own, which is less work than the usual libraries do.
function userOf(header) {
  const token = header?.slice("Bearer ".length) ?? "";
  const [head, claims, signature] = token.split(".");
  if (!signature) return null;
  const expected = createHmac("sha256", secret).update(`${head}.${claims}`).digest();
  const given = Buffer.from(signature, "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null;
  const { sub, exp } = JSON.parse(Buffer.from(claims, "base64url").toString());
  return exp > Date.now() / 1000 ? sub : null;
}

// What is sent to a socket in one turn of the event loop leaves in one write.
function send(ws, text) {
  const socket = ws._socket;
  if (!socket.writableCorked) {
    socket.cork();
    process.nextTick(() => socket.uncork());
  }
  ws.send(text);
}

// Everything that came in one turn goes to Redis in one pipeline; `accepted` is sent when Redis has synced it.
let gathered = [];
function publish(ws, frame) {
  if (gathered.length === 0) setImmediate(flush);
  gathered.push([ws, frame]);
}
async function flush() {
  const batch = gathered;
  gathered = [];
  const pipeline = redis.pipeline();
  for (const [ws, { id, type, body }] of batch) {
    // The type is a field of its own, so that the router does not have to parse the message.
    pipeline.xadd("main", "*", "t", type, "m", JSON.stringify({ user: ws.user, id, body }));
  }
  const results = await pipeline.exec();
  results.forEach(([error], at) => {
    if (error) throw error;
    const [ws, { id }] = batch[at];
    if (ws.readyState === 1) send(ws, `{"op":"accepted","id":${JSON.stringify(id)}}`);
  });
}

const wss = new WebSocketServer({ noServer: true, perMessageDeflate: false, clientTracking: false });

function connected(ws, user) {
  ws.user = user;
  sockets.set(user, ws);
  ws.on("message", (data) => {
    if (data.subarray(0, PING.length).equals(PING)) return send(ws, PONG);
    const frame = JSON.parse(data);
    if (frame.op === "send" && redis) publish(ws, frame);
  });
  ws.on("error", () => {});
  ws.on("close", () => sockets.get(user) === ws && sockets.delete(user));
}

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const { deliveries } = JSON.parse(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
    const missing = [];
    deliveries.forEach(({ to, text }, at) => {
      const ws = sockets.get(to);
      if (ws) send(ws, text);
      else missing.push([at, to]);
    });
    const answer = JSON.stringify({ missing });
    response.writeHead(200, { "content-type": "application/json", "content-length": answer.length }).end(answer);
  });
});
server.keepAliveTimeout = 0;
server.on("upgrade", (request, socket, head) => {
  const user = userOf(request.headers.authorization);
  if (!user) return socket.end("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
  wss.handleUpgrade(request, socket, head, (ws) => connected(ws, user));
});
server.listen({ host: "127.0.0.1", port: Number(process.env.PORT), backlog: 4096 });
