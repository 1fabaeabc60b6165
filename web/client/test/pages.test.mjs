// Several pages of one browser, and several users one after the other, on one store: no push is lost, and no message
// becomes another user's.
import { deepEqual, equal, notEqual, rejects } from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { memoryStore } from "./under.mjs";
import { Server } from "./server.mjs";
import { app, browser, stopAll, until } from "./support.mjs";

let server;
let tokens;
before(async () => {
  server = await Server.start("--heartbeat-ms", "300");
  tokens = await server.tokens(["anna", "bobby", "carla"]);
});
afterEach(stopAll);
after(() => server.stop());

const texts = async (a, other) =>
  (await a.client.call("dm.list", { with: other })).items.map(({ text }) => text).reverse();
const pending = (a) => a.client.pending.map(({ body }) => body.text);

test("each page gets every push, and the server knows them apart", async () => {
  const { page } = browser();
  const store = memoryStore();
  const [one, two] = [
    app(server, tokens.bobby, { store, locks: page() }),
    app(server, tokens.bobby, { store, locks: page() }),
  ];
  const a = app(server, tokens.anna);
  await Promise.all([one.online(), two.online(), a.online()]);
  await a.client.call("dm.send", { to: "bobby", text: "to both" });
  await until(() => one.pushes.length === 1 && two.pushes.length === 1);
  const devices = [one, two].map(({ net }) => net.sent[0].device);
  notEqual(devices[0], devices[1]);
  // One page gets the rest while the other sleeps: the other still gets what the first has handled.
  two.net.cut();
  await a.client.call("dm.send", { to: "bobby", text: "asleep" });
  await until(() => one.net.sent.some(({ op, cursor }) => op === "ack" && cursor === 2));
  two.net.cut(false);
  await until(() => two.pushes.length === 2);
  // A page that is opened later begins where this browser is.
  await one.client.stop();
  const three = app(server, tokens.bobby, { store, locks: page() });
  await three.online();
  await a.client.call("dm.send", { to: "bobby", text: "to the late" });
  await until(() => three.pushes.length === 1);
  deepEqual([three.texts(), three.net.sent[0].device], [["dm.received to the late"], devices[0]]);
});

test("a page sends what another has left, but not while that lives", async () => {
  const { page } = browser();
  const store = memoryStore();
  const locks = page();
  const one = app(server, tokens.anna, { store, locks });
  await one.online();
  one.net.cut();
  await until(() => one.client.state === "waiting");
  one.client.call("dm.send", { to: "carla", text: "from the first page" }, { id: "first" }).catch(() => {});
  const two = app(server, tokens.anna, { store, locks: page() });
  await two.online();
  await two.client.call("dm.send", { to: "carla", text: "from the second" });
  await until(
    () => two.net.sent.filter(({ op }) => op === "ping").length > 1,
    "it has looked for what others have left",
  );
  deepEqual(
    [await texts(two, "carla"), pending(two), pending(one)],
    [["from the second"], [], ["from the first page"]],
  );
  one.crash();
  locks.close();
  await until(() => two.replies.some(({ id, resumed }) => id === "first" && resumed));
  deepEqual(await texts(two, "carla"), ["from the second", "from the first page"]);
  const left = ["0", "1"].map((seat) => store.get(`soundoff/${new URL(server.url).host}/anna/pending/${seat}`));
  deepEqual(left, [null, null]);
});

test("another user's client leaves alone what the first has not sent", async () => {
  const store = memoryStore();
  const a = app(server, tokens.anna, { store, user: "anna" });
  await a.online();
  a.net.cut();
  await until(() => a.client.state === "waiting");
  a.client.call("dm.send", { to: "bobby", text: "anna's" }).catch(() => {});
  await a.client.stop();
  const b = app(server, tokens.carla, { store, user: "carla" });
  await b.online();
  deepEqual([b.client.pending, await texts(b, "bobby")], [[], []]);
  await b.client.stop();
  const again = app(server, tokens.anna, { store, user: "anna" });
  await until(() => again.replies.length === 1);
  deepEqual((await texts(again, "bobby")).at(-1), "anna's");
});

test("a client whose token becomes another user's refuses to go on", async () => {
  let token = tokens.anna;
  const a = app(server, async () => token);
  await a.online();
  a.net.cut();
  await until(() => a.client.state !== "online");
  const call = a.client.call("post.create", { text: "anna's" });
  token = tokens.bobby;
  a.net.cut(false);
  await until(() => a.client.state === "refused");
  equal(a.states.at(-1).reason.code, "user_changed");
  equal(a.net.sent.filter(({ op }) => op === "send").length, 0);
  const stopped = rejects(call, { code: "stopped" });
  await a.client.stop();
  await stopped;
});

test("a token that does not say whose it is costs a second hello, and no push", async () => {
  const store = memoryStore();
  const opaque = (net) => {
    // As if tokens were opaque: only the wire has the real one.
    const send = net.WebSocket.prototype.send;
    net.WebSocket.prototype.send = function (text) {
      send.call(this, text.replace('"token":"opaque"', `"token":"${tokens.carla}"`));
    };
  };
  const open = async () => {
    const { wire } = await import("./support.mjs");
    const net = wire();
    opaque(net);
    return app(server, "opaque", { store, net });
  };
  const b = app(server, tokens.bobby);
  const first = await open();
  await Promise.all([first.online(), b.online()]);
  equal(first.client.user, "carla");
  await b.client.call("dm.send", { to: "carla", text: "one" });
  await until(() => first.pushes.length === 1);
  await first.client.stop();
  await b.client.call("dm.send", { to: "carla", text: "two" });
  const second = await open();
  await until(() => second.pushes.length === 1);
  deepEqual(second.texts(), ["dm.received two"]);
});

test("forgetting leaves nothing of a user in the store", async () => {
  const kept = new Map();
  const store = {
    get: (key) => kept.get(key) ?? null,
    set: (key, value) => kept.set(key, value),
    remove: (key) => kept.delete(key),
  };
  const a = app(server, tokens.anna, { store });
  await a.online();
  await a.client.call("dm.send", { to: "carla", text: "x" });
  await until(() => a.pushes.length > 0);
  a.net.cut();
  a.client.call("dm.send", { to: "carla", text: "secret" }).catch(() => {});
  await a.client.forget();
  deepEqual(
    [...kept.keys()].map((key) => key.split("/").slice(2).join("/")),
    ["device/0"],
  );
});
