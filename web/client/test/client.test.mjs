// The client against the real binary: what it sends, gets, keeps and survives.
import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { memoryStore } from "./under.mjs";
import { Server } from "./server.mjs";
import { app, stopAll, until, wire } from "./support.mjs";

let server;
let users = 0;

before(async () => (server = await Server.start("--heartbeat-ms", "400", "--drain-ms", "600")));
afterEach(stopAll);
after(() => server.stop());

/** Two new users' tokens, as `[[handle, token], …]`. */
async function pair(at = server) {
  users += 1;
  const handles = [`anna_${users}`, `bobby_${users}`];
  const tokens = await at.tokens(handles);
  return handles.map((handle) => [handle, tokens[handle]]);
}

async function bothOnline(options = []) {
  const [[anna, a], [bobby, b]] = await pair();
  const apps = [app(server, a, options[0]), app(server, b, options[1])];
  await Promise.all(apps.map((one) => one.online()));
  return { anna, bobby, a: apps[0], b: apps[1], tokens: [a, b] };
}

const code = (wanted) => (error) => error.code === wanted || `code ${error.code}: ${error.message}`;

test("calls are answered, pushes and events come", async () => {
  const { anna, bobby, a, b } = await bothOnline();
  equal(a.client.user, anna);
  const { message } = await a.client.call("dm.send", { to: bobby, text: "hi" });
  deepEqual([message.from, message.text], [anna, "hi"]);
  await until(() => b.texts().includes("dm.received hi") && a.texts().includes("dm.sent hi"));
  deepEqual(Object.keys(b.pushes[0]), ["seq", "type", "mid", "body"]);
  deepEqual(await a.client.call("typing", { to: bobby }), {});
  await until(() => b.events.some(({ type, body }) => type === "typing" && body.from === anna));
  await until(() => a.events.some(({ type, body }) => type === "timeline" && Array.isArray(body.items)));
  await rejects(a.client.call("dm.send", { to: "nobody_here", text: "hi" }), code("not_found"));
  await rejects(a.client.call("no.such", {}), code("unknown_type"));
  deepEqual(a.client.pending, []);
});

test("listeners by type get bodies, and can leave", async () => {
  const { bobby, a, b } = await bothOnline();
  const texts = [];
  const off = b.client.on("push:dm.received", ({ message }) => void texts.push(message.text));
  await a.client.call("dm.send", { to: bobby, text: "one" });
  await until(() => texts.length === 1);
  off();
  await a.client.call("dm.send", { to: bobby, text: "two" });
  await until(() => b.pushes.length === 2);
  deepEqual(texts, ["one"]);
});

test("what is called at once takes effect in that order", async () => {
  const { bobby, a, b } = await bothOnline();
  const texts = Array.from({ length: 30 }, (_, at) => `${at}`);
  await Promise.all(texts.map((text) => a.client.call("dm.send", { to: bobby, text })));
  await until(() => b.pushes.length === 30);
  deepEqual(
    b.pushes.map(({ body }) => body.message.text),
    texts,
  );
  // One at a time in one lane; all at once without a lane.
  const bodies = () => a.net.sent.filter(({ type }) => type === "like.add").map(({ body }) => body.post);
  const flying = () => bodies().length;
  a.net.in = ({ op }) => op !== "reply";
  for (const post of ["x", "x", "y"]) a.client.call("like.add", { post }).catch(() => {});
  await until(() => flying() > 0);
  deepEqual(bodies(), ["x", "y"]);
  a.client.call("like.add", { post: "x" }, { ordered: false }).catch(() => {});
  await until(() => flying() > 2);
  deepEqual(bodies(), ["x", "y", "x"]);
});

test("a page that is reloaded continues behind the cursor", async () => {
  const store = memoryStore();
  const { bobby, a, b, tokens } = await bothOnline([{}, { store }]);
  for (const text of ["one", "two"]) await a.client.call("dm.send", { to: bobby, text });
  await until(() => b.pushes.length === 2);
  await until(() => b.net.sent.some(({ op, cursor }) => op === "ack" && cursor === 2));
  await b.client.stop();
  deepEqual(b.net.sent.at(-1), { op: "bye" });
  for (const text of ["three", "four"]) await a.client.call("dm.send", { to: bobby, text });
  const later = app(server, tokens[1], { store });
  await until(() => later.pushes.length === 2);
  deepEqual(later.texts(), ["dm.received three", "dm.received four"]);
  const [hello] = later.net.sent;
  deepEqual([hello.cursor, hello.device], [2, b.net.sent[0].device]);
});

test("a client that moves says which mid it was told last", async () => {
  const { bobby, a, b } = await bothOnline();
  for (const text of ["one", "two"]) await a.client.call("dm.send", { to: bobby, text });
  await until(() => b.pushes.length === 2);
  const told = b.pushes.map(({ mid }) => mid);
  equal(b.net.sent[0].after, undefined);
  b.net.cut(false);
  await until(() => b.net.sent.filter(({ op }) => op === "hello").length === 2);
  equal(b.net.sent.filter(({ op }) => op === "hello")[1].after, told[1]);
});

test("a device that is new may ask for what came before it", async () => {
  const [[, a], [bobby, b]] = await pair();
  const first = app(server, a);
  for (const text of ["one", "two", "three"]) await first.client.call("dm.send", { to: bobby, text });
  const [none, two, all] = [0, 2, 100].map((history) => app(server, b, { history }));
  await Promise.all([none.online(), until(() => two.pushes.length === 2), until(() => all.pushes.length === 3)]);
  await first.client.call("dm.send", { to: bobby, text: "four" });
  await until(() => [none, two, all].every(({ pushes }) => pushes.at(-1)?.body.message.text === "four"));
  deepEqual(
    [none, two, all].map(({ pushes }) => pushes.length),
    [1, 3, 4],
  );
});

test("what is called while the server is dead arrives once when it is back", async () => {
  const own = await Server.start();
  const tokens = await own.tokens(["anna", "bobby"]);
  const [a, b] = [app(own, tokens.anna), app(own, tokens.bobby)];
  await Promise.all([a.online(), b.online()]);
  await own.down("SIGKILL");
  await until(() => a.client.state === "waiting");
  const sent = ["one", "two"].map((text) => a.client.call("dm.send", { to: "bobby", text }));
  const read = a.client.call("profile.get");
  a.lists.length = 0;
  deepEqual(
    a.client.pending.map(({ type, body }) => [type, body.text]),
    [
      ["dm.send", "one"],
      ["dm.send", "two"],
    ],
  );
  await rejects(a.client.call("typing", { to: "bobby" }), code("offline"));
  await own.up();
  deepEqual(
    (await Promise.all(sent)).map(({ message }) => message.text),
    ["one", "two"],
  );
  equal((await read).user.handle, "anna");
  await until(() => b.pushes.length === 2);
  deepEqual(b.texts(), ["dm.received one", "dm.received two"]);
  deepEqual(
    a.lists.map(({ length }) => length),
    [1, 0],
  );
  await stopAll();
  await own.stop();
});

test("what a page leaves unanswered, the next one sends under the same ids", async () => {
  const [[anna, a], [bobby]] = await pair();
  const store = memoryStore();
  const first = app(server, a, { store, user: anna });
  await first.online();
  // One has taken effect and its reply was lost; one was never sent.
  first.net.in = ({ op }) => op !== "reply" && op !== "accepted";
  first.client.call("dm.send", { to: bobby, text: "heard by nobody" }, { id: "one" }).catch(() => {});
  first.client.call("dm.send", { to: bobby, text: "never sent" }, { id: "two" }).catch(() => {});
  await until(() => first.pushes.length === 1);
  first.crash();
  const second = app(server, a, { store, user: anna });
  const [left] = await until(() => second.lists.length > 0 && second.lists);
  deepEqual(
    left.map(({ id, type, body }) => [id, type, body.text]),
    [
      ["one", "dm.send", "heard by nobody"],
      ["two", "dm.send", "never sent"],
    ],
  );
  equal((await second.client.resumed("two")).message.text, "never sent");
  const told = second.replies.map(({ id, type, resumed, duplicate, body }) => [
    id,
    type,
    resumed,
    duplicate,
    body.message.text,
  ]);
  deepEqual(told, [
    ["one", "dm.send", true, true, "heard by nobody"],
    ["two", "dm.send", true, false, "never sent"],
  ]);
  await rejects(second.client.resumed("two"), code("not_found"));
  const list = await second.client.call("dm.list", { with: bobby });
  deepEqual(
    list.items.map(({ text }) => text),
    ["never sent", "heard by nobody"],
  );
});

test("an id that is called again is one call", async () => {
  const { bobby, a } = await bothOnline();
  const call = () => a.client.call("dm.send", { to: bobby, text: "once" }, { id: "mine" });
  const [one, two] = await Promise.all([call(), call()]);
  deepEqual(one, two);
});

test("an aborted call goes out no more", async () => {
  const { bobby, a, b } = await bothOnline();
  a.net.cut();
  await until(() => a.client.state === "waiting");
  const cancel = new AbortController();
  const call = a.client.call("dm.send", { to: bobby, text: "no" }, { signal: cancel.signal });
  const next = a.client.call("dm.send", { to: bobby, text: "yes" });
  cancel.abort();
  await rejects(call, { name: "AbortError" });
  await rejects(a.client.call("profile.get", {}, { signal: cancel.signal }), { name: "AbortError" });
  a.net.cut(false);
  await next;
  await until(() => b.pushes.length === 1);
  deepEqual(b.texts(), ["dm.received yes"]);
});

test("a frame that is lost is sent again, and a push that is lost is fetched", async () => {
  const { bobby, a, b } = await bothOnline();
  const lose = (net, hook, op) => {
    let left = 1;
    net[hook] = (frame) => frame.op !== op || left-- <= 0;
  };
  lose(a.net, "out", "send");
  await a.client.call("dm.send", { to: bobby, text: "one" });
  lose(a.net, "in", "reply");
  await a.client.call("dm.send", { to: bobby, text: "two" });
  lose(b.net, "in", "push");
  await a.client.call("dm.send", { to: bobby, text: "three" });
  await a.client.call("dm.send", { to: bobby, text: "four" });
  await until(() => b.pushes.length === 4);
  deepEqual(
    b.texts().map((text) => text.split(" ")[1]),
    ["one", "two", "three", "four"],
  );
  ok(b.states.some(({ reason }) => reason?.message === "a push is missing"));
  deepEqual(b.gaps, []);
});

test("a gap that the server explains is reported and passed", async () => {
  const { bobby, a, b } = await bothOnline();
  await a.client.call("dm.send", { to: bobby, text: "one" });
  await until(() => b.pushes.length === 1);
  const socket = b.net.last();
  socket.forge({
    op: "error",
    error: { code: "not_found", message: "inbox entries before seq 5 have expired", retry: false },
  });
  socket.forge({ op: "push", seq: 5, type: "follow.added", mid: "m", body: { by: "carla" } });
  await until(() => b.pushes.length === 2);
  deepEqual(b.gaps, [{ from: 2, to: 4 }]);
  equal(b.net.sockets.length, 1);
});

test("a push stays until its listeners are done", async () => {
  const store = memoryStore();
  const { bobby, a, b, tokens } = await bothOnline([{}, { store }]);
  let tries = 0;
  const done = [];
  b.client.on("push", async ({ seq }) => {
    if (seq === 1 && ++tries < 3) throw new Error("not yet");
    done.push(seq);
  });
  await a.client.call("dm.send", { to: bobby, text: "one" });
  await a.client.call("dm.send", { to: bobby, text: "two" });
  await until(() => done.length === 2);
  deepEqual([tries, done, b.faults.length], [3, [1, 2], 2]);
  deepEqual(
    b.pushes.map(({ seq }) => seq),
    [1, 2],
    "who is done does not get it again",
  );
  // A push whose listener never finishes is there for the next page.
  b.client.on("push", () => new Promise(() => {}));
  await a.client.call("dm.send", { to: bobby, text: "three" });
  await until(() => b.pushes.length === 3);
  b.crash();
  const later = app(server, tokens[1], { store });
  await until(() => later.pushes.length === 1);
  deepEqual(later.texts(), ["dm.received three"]);
});

test("an asynchronous store does as well", async () => {
  const plain = memoryStore();
  const log = [];
  const later =
    (act) =>
    async (...given) => (await new Promise((resolve) => setTimeout(resolve, 2)), log.push(given), act(...given));
  const store = { get: later(plain.get), set: later(plain.set), remove: later(plain.remove) };
  const { bobby, a, b } = await bothOnline([{ store }, { store: { ...store } }]);
  const texts = ["one", "two", "three"];
  await Promise.all(texts.map((text) => a.client.call("dm.send", { to: bobby, text })));
  await until(() => b.pushes.length === 3);
  deepEqual(
    b.pushes.map(({ body }) => body.message.text),
    texts,
  );
  ok(log.some(([key, value]) => key.endsWith("/pending/0") && value?.includes("one")));
});

test("too much, or too large, or a store that is full, is said at once", async () => {
  const { bobby, a } = await bothOnline();
  await rejects(a.client.call("dm.send", { to: bobby, text: "x".repeat(40_000) }), code("too_large"));
  equal(a.net.sockets.length, 1, "the socket has not suffered");
  a.net.cut();
  await until(() => a.client.state === "waiting");
  const calls = Array.from({ length: 500 }, () => a.client.call("post.create", { text: "x" }));
  await rejects(a.client.call("post.create", { text: "x" }), code("overloaded"));
  await rejects(a.client.call("profile.get"), code("overloaded"));
  equal(a.client.pending.length, 500);
  const settled = Promise.allSettled(calls);
  await a.client.forget();
  deepEqual(new Set((await settled).map(({ reason }) => reason.code)), new Set(["stopped"]));
  const full = { ...memoryStore(), set: (key) => key.includes("pending") && fail() };
  const fail = () => {
    throw new Error("quota");
  };
  const b = app(server, (await pair())[0][1], { store: full });
  await b.online();
  await rejects(b.client.call("post.create", { text: "x" }), code("overloaded"));
  equal(b.net.sent.filter(({ op }) => op === "send").length, 0);
});

test("the limits of the server are waited out", async () => {
  const own = await Server.start("--messages-per-second", "50", "--burst", "3");
  const a = app(own, (await own.tokens(["anna"])).anna);
  await a.online();
  const calls = Array.from({ length: 20 }, (_, at) =>
    a.client.call("post.create", { text: `${at}` }, { ordered: false }),
  );
  await Promise.all(calls);
  ok(a.net.received.some(({ op, error }) => op === "error" && error.code === "rate_limited"));
  await stopAll();
  await own.stop();
});

test("what matters only now does not wait for minutes", async () => {
  const { anna } = await server.tokens(["anna"]);
  const a = app(server, anna);
  await a.online();
  const error = { code: "rate_limited", message: "wait", retry: true, retry_after_ms: 600_000 };
  a.net.in = ({ op, id }, socket) => {
    if (op === "reply") socket.forge({ op, id, ok: false, error });
    return op !== "reply";
  };
  await rejects(a.client.call("media.begin", { bytes: 10 }), (why) => why.retry && why.retryAfterMs === 600_000);
});

test("a device that the server's data do not know any more starts from the beginning", async () => {
  const own = await Server.start();
  const store = memoryStore();
  const meet = async () => {
    const tokens = await own.tokens(["anna", "bobby"]);
    const [a, b] = [app(own, tokens.anna), app(own, tokens.bobby, { store })];
    await Promise.all([a.online(), b.online()]);
    return [a, b];
  };
  const [a, b] = await meet();
  for (const text of ["one", "two"]) await a.client.call("dm.send", { to: "bobby", text });
  await until(() => b.pushes.length === 2);
  await stopAll();
  await own.down("SIGKILL");
  await own.wipe();
  await own.up();
  const [c, d] = await meet();
  await c.client.call("dm.send", { to: "bobby", text: "another history" });
  await until(() => d.pushes.length === 1);
  await stopAll();
  await own.stop();
});

test("stopped, nothing is left that keeps a process or a worker alive", async () => {
  const [[, a], [bobby]] = await pair();
  const script = `
    import { workerData } from "node:worker_threads";
    import WebSocket from "ws";
    import { SoundOff } from ${JSON.stringify(new URL("../soundoff.js", import.meta.url).href)};
    const { url, token, to } = workerData;
    const client = new SoundOff({ url, token: () => token, WebSocket });
    client.start();
    await client.call("dm.send", { to, text: "from a worker" });
    await client.stop();`;
  const worker = new Worker(
    new URL(
      `data:text/javascript,${encodeURIComponent(script.replace('"ws"', JSON.stringify(import.meta.resolve("ws"))))}`,
    ),
    {
      workerData: { url: server.url, token: a, to: bobby },
    },
  );
  const exit = await new Promise((resolve, reject) => worker.on("exit", resolve).on("error", reject));
  equal(exit, 0);
  // The same in another process, with the WebSocket that browsers and newer versions of Node have.
  const own = script
    .replace(
      /import .*worker_threads";/,
      `const workerData = ${JSON.stringify({ url: server.url, token: a, to: bobby })};`,
    )
    .replace(/import WebSocket.*/, "");
  await promisify(execFile)(process.execPath, ["--experimental-websocket", "--input-type=module", "--eval", own]);
  const net = wire();
  const b = app(server, a, { net });
  await b.online();
  const stopping = [b.client.call("profile.get"), b.client.stop()];
  await rejects(stopping[0], code("stopped"));
  await stopping[1];
  equal(net.last().readyState, 3);
  await rejects(b.client.call("profile.get"), code("stopped"));
  b.client.start();
  await b.online();
});
