// The server below a path, behind a proxy that takes the path away and behind one that does not.
import { equal } from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { Session, SoundOff, memoryStore } from "./under.mjs";
import { Server } from "./server.mjs";
import { WebSocket } from "ws";

const PATH = "/soundoff";
let server;
let proxy;
const asked = [];

/** Hands on what is asked below PATH, without it, and refuses everything else. */
async function without(port) {
  const inner = ({ url }) => (asked.push(url), url.startsWith(`${PATH}/`) && url.slice(PATH.length));
  const taker = createServer((asking, answer) => {
    const path = inner(asking);
    if (!path) return answer.writeHead(404).end();
    const { method, headers } = asking;
    const onward = request({ host: "127.0.0.1", port, method, path, headers }, (answered) => {
      answer.writeHead(answered.statusCode, answered.headers);
      answered.pipe(answer);
    });
    asking.pipe(onward);
  });
  taker.on("upgrade", (asking, wire) => {
    const path = inner(asking);
    if (!path) return wire.destroy();
    const onward = connect(port, "127.0.0.1", () => {
      const fields = Object.entries(asking.headers).map(([name, value]) => `${name}: ${value}\r\n`);
      onward.write(`GET ${path} HTTP/1.1\r\n${fields.join("")}\r\n`);
      wire.pipe(onward).pipe(wire);
    });
    for (const side of [wire, onward]) side.on("error", () => (wire.destroy(), onward.destroy()));
  });
  taker.listen(0, "127.0.0.1");
  await once(taker, "listening");
  return taker;
}

before(async () => {
  server = await Server.start("--base-path", PATH);
  proxy = await without(new URL(server.url).port);
});
after(async () => {
  proxy.closeAllConnections();
  proxy.close();
  await server.stop();
});

/** Signs in, opens a socket, and sends a picture. */
async function lives(url, name) {
  const session = new Session({ url, store: memoryStore() });
  const email = `${name}@example.org`;
  const { request } = await session.startEmail(email);
  await session.verifyEmail({ email, code: await server.code(email), request, handle: name });
  const client = new SoundOff({ url, WebSocket, store: memoryStore(), token: () => session.token() });
  client.start();
  equal((await client.call("post.create", { text: "Below a path" })).post.author, name);
  const { id } = await session.uploadMedia(new Blob([picture], { type: "image/png" }));
  const large = new Blob([picture, new Uint8Array(17 * 1024 * 1024)], { type: "image/png" });
  // It is no picture that anybody could show: what counts is that its bytes arrive where `media.begin` says.
  await session.uploadMedia(large, { begin: (body) => client.call("media.begin", body) });
  equal(typeof id, "string");
  await client.stop();
}

const picture = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

test("behind a proxy that takes the path away, with and without a slash", async () => {
  const { port } = proxy.address();
  await lives(`http://127.0.0.1:${port}${PATH}`, "anna");
  await lives(`http://127.0.0.1:${port}${PATH}/`, "bert");
  equal(asked.filter((url) => !url.startsWith(`${PATH}/v1/`)).length, 0, asked.join());
});

test("behind a proxy that hands the path on", () => lives(`${server.url}${PATH}`, "carl"));

test("the websocket's own address is good as well", async () => {
  const { dora } = await server.tokens(["dora"]);
  const url = `${server.url.replace("http", "ws")}${PATH}/v1/ws`;
  const client = new SoundOff({ url, WebSocket, store: memoryStore(), token: () => dora });
  client.start();
  equal((await client.call("post.create", { text: "Hello" })).post.author, "dora");
  await client.stop();
});

test("servers on one origin keep apart what they store", async () => {
  const store = memoryStore();
  const keys = [];
  const noting = { ...store, get: (key) => (keys.push(key), store.get(key)) };
  for (const path of ["", "/", PATH, `${PATH}/`]) new Session({ url: `${server.url}${path}`, store: noting }).close();
  const { host } = new URL(server.url);
  // At the top it is the name that stores have had from the beginning.
  equal(keys.join(), [host, host, `${host}${PATH}`, `${host}${PATH}`].map((name) => `soundoff/${name}/session`).join());
});
