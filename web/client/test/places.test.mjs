// A user's sockets on bad networks and in many pages: who is replaced, who waits, and that everybody gets in.
import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import { once, setMaxListeners } from "node:events";
import net from "node:net";
import { after, afterEach, before, test } from "node:test";
import WebSocket from "ws";
import { memoryStore } from "./under.mjs";
import { Server } from "./server.mjs";
import { app, browser, stopAll, until } from "./support.mjs";

let server;
let few;
let numbers = 0;
before(async () => {
  server = await Server.start();
  few = await Server.start("--sockets-per-user", "3", "--heartbeat-ms", "6000");
});
afterEach(stopAll);
after(() => Promise.all([server.stop(), few.stop()]));

async function somebody(at = server) {
  const handle = `anna_${++numbers}`;
  return (await at.tokens([handle]))[handle];
}

/** A network whose links die silently: the client notices, and the server hears nothing of it. */
async function tunnel(to) {
  const links = [];
  const left = [];
  const proxy = net.createServer((near) => {
    const far = net.connect(Number(new URL(to.url).port), "127.0.0.1");
    for (const side of [near, far]) side.on("error", () => {});
    near.pipe(far);
    far.pipe(near);
    links.push([near, far]);
  });
  await once(proxy.listen(0, "127.0.0.1"), "listening");
  const die = () => {
    for (const [near, far] of links.splice(0)) {
      near.unpipe(far);
      far.unpipe(near);
      near.destroy();
      left.push(far);
    }
  };
  const close = () => {
    die();
    proxy.close();
    for (const far of left) far.destroy();
  };
  return { url: `http://127.0.0.1:${proxy.address().port}`, die, close };
}

/** Another client says hello as this device. */
async function twin(at, token, device) {
  const socket = new WebSocket(`${at.url.replace("http", "ws")}/v1/ws`, "soundoff.v1");
  await once(socket, "open");
  socket.send(JSON.stringify({ op: "hello", token, device }));
  const [welcome] = await once(socket, "message");
  equal(JSON.parse(welcome).op, "welcome");
  return socket;
}

const device = ({ net }) => net.sent.findLast(({ op }) => op === "hello").device;
const codes = ({ states }) => states.map(({ reason }) => reason?.code).filter(Boolean);

test("a phone whose links die silently again and again always comes back", async () => {
  const train = await tunnel(server);
  const phone = app(train, await somebody(), { device: "phone" });
  for (let stops = 1; stops <= 25; stops++) {
    await phone.online();
    train.die();
    await until(() => phone.net.sockets.length > stops, "it has noticed");
  }
  await phone.online();
  deepEqual([new Set(codes(phone)), device(phone)], [new Set([1006]), "phone"]);
  await stopAll();
  train.close();
});

test("pages whose laptop changes networks are all back at once", async () => {
  const office = await tunnel(server);
  const { page } = browser();
  const [store, token] = [memoryStore(), await somebody()];
  const pages = Array.from({ length: 10 }, () => app(office, token, { store, locks: page() }));
  for (let moves = 1; moves <= 3; moves++) {
    await Promise.all(pages.map((page) => page.online()));
    office.die();
    await until(() => pages.every(({ net }) => net.sockets.length > moves), "all have noticed");
  }
  await Promise.all(pages.map((page) => page.online()));
  for (const page of pages) deepEqual(new Set(codes(page)), new Set([1006]));
  equal(new Set(pages.map(device)).size, 10);
  await stopAll();
  office.close();
});

test("a page too many waits, and comes in when another leaves", async () => {
  const { page } = browser();
  const [store, token] = [memoryStore(), await somebody(few)];
  const pages = Array.from({ length: 3 }, () => app(few, token, { store, locks: page() }));
  await Promise.all(pages.map((page) => page.online()));
  const late = app(few, token, { store, locks: page() });
  const waits = () => late.states.filter(({ state }) => state === "waiting");
  await until(() => waits().length >= 2);
  deepEqual(new Set(codes(late)), new Set([4429]));
  for (const { retryInMs } of waits()) ok(2000 <= retryInMs && retryInMs <= 4000, `it waits ${retryInMs} ms`);
  for (const { client, states } of pages) deepEqual([client.state, states.at(-1).state], ["online", "online"]);
  await pages[1].client.stop();
  await late.online();
});

test("sockets whose clients are gone without a word make room for others", async () => {
  const cellar = await tunnel(few);
  const token = await somebody(few);
  const gone = Array.from({ length: 3 }, () => app(cellar, token));
  await Promise.all(gone.map((one) => one.online()));
  for (const { net } of gone) net.offline = true;
  cellar.die();
  await Promise.all(gone.map(({ client }) => client.stop()));
  const begun = Date.now();
  await app(few, token).online();
  ok(Date.now() - begun < 9000, "they would be silent for two heartbeats after 12 s");
  cellar.close();
});

test("a client that is replaced comes back, and by a twin of its name for the last time", async () => {
  const token = await somebody();
  const [one, two] = ["phone", "phone"].map((name) => app(server, token, { device: name, timings: { steadyMs: 1e7 } }));
  await until(() => one.client.state === "online" && two.client.state === "online" && device(one) !== device(two));
  const sockets = () => one.net.sockets.length + two.net.sockets.length;
  const all = sockets();
  ok(all <= 5, `${all} sockets until each had its place`);
  await one.client.call("post.create", { text: "one" });
  await two.client.call("post.create", { text: "two" });
  deepEqual([one.client.state, two.client.state, sockets()], ["online", "online", all]);
  ok(device(one).startsWith("phone") && device(two).startsWith("phone"));
});

test("a client that is replaced now and then keeps its name", async () => {
  const token = await somebody();
  const a = app(server, token, { device: "phone", timings: { steadyMs: 50 } });
  for (let times = 1; times <= 3; times++) {
    await a.online();
    const since = Date.now();
    await until(() => Date.now() - since > 100, "it is steady");
    const other = await twin(server, token, "phone");
    await until(() => a.net.sockets.length === times + 1 && a.client.state === "online");
    other.terminate();
  }
  deepEqual([new Set(codes(a)), device(a)], [new Set([4006]), "phone"]);
});

test("a copied store becomes a device of its own, and no push is lost on the way", async () => {
  const tokens = await server.tokens(["carla", "bobby"]);
  const store = memoryStore();
  const a = app(server, tokens.carla, { store, timings: { steadyMs: 1e7 } });
  await a.online();
  const name = device(a);
  // What has the other copy takes its place twice; meanwhile something comes.
  (await twin(server, tokens.carla, name)).terminate();
  await until(() => a.net.sockets.length === 2 && a.client.state === "online");
  a.net.offline = true;
  const other = await twin(server, tokens.carla, name);
  await until(() => a.client.state !== "online");
  const b = app(server, tokens.bobby);
  await b.online();
  await b.client.call("dm.send", { to: "carla", text: "meanwhile" });
  a.net.offline = false;
  await until(() => a.pushes.length === 1);
  notEqual(device(a), name);
  equal(store.get(`soundoff/${new URL(server.url).host}/device/0`), device(a));
  other.terminate();
});

test("a page for which this browser has no seat waits for one", async () => {
  const crowd = await Server.start("--sockets-per-user", "100");
  const target = new EventTarget();
  setMaxListeners(0, target);
  const hear = { addEventListener: target.addEventListener.bind(target) };
  Object.assign(globalThis, hear, { removeEventListener: target.removeEventListener.bind(target) });
  try {
    const { page } = browser();
    const [store, token] = [memoryStore(), await somebody(crowd)];
    const pages = Array.from({ length: 16 }, () => app(crowd, token, { store, locks: page() }));
    await Promise.all(pages.map((page) => page.online()));
    const late = app(crowd, token, { store, locks: page() });
    await until(() => late.states.filter(({ state }) => state === "waiting").length > 1);
    target.dispatchEvent(new Event("online"));
    equal(late.client.state, "waiting");
    deepEqual(new Set(codes(late)), new Set(["overloaded"]));
    await pages[3].client.stop();
    await late.online();
    const impatient = app(crowd, token, { store, locks: page() });
    await until(() => impatient.client.state === "waiting");
    await impatient.client.stop();
    equal(impatient.client.state, "stopped");
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
  await stopAll();
  await crowd.stop();
});
