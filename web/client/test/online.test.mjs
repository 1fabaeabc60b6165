// How the client reconnects, and when it does not: tokens, close codes, draining, silence.
import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Session, memoryStore } from "./under.mjs";
import { Server } from "./server.mjs";
import { app, stopAll, until, wire } from "./support.mjs";

let server;
before(async () => (server = await Server.start("--heartbeat-ms", "400")));
afterEach(stopAll);
after(() => server.stop());

const token = async (handle, seconds) => (await server.tokens([handle], seconds))[handle];
const refused = (a) => until(() => a.client.state === "refused" && a.states.at(-1), "refused");

/** A token provider that records what it was asked. */
function provider(...tokens) {
  const asked = [];
  const give = async ({ refused }) => {
    asked.push(refused);
    return tokens.length > 1 ? tokens.shift() : tokens[0];
  };
  return Object.assign(give, { asked });
}

test("a token that is refused is replaced once", async () => {
  const good = provider("not a token", await token("anna_1"));
  const a = app(server, good);
  await a.online();
  deepEqual(good.asked, [false, true]);
  const bad = provider("not a token");
  const b = app(server, bad);
  deepEqual((await refused(b)).reason, { code: 4500, message: "bad token" });
  deepEqual(bad.asked, [false, true]);
  await rejects(b.client.call("profile.get"), { code: "stopped" });
});

test("a provider that has nobody is final, one that fails is asked again", async () => {
  const nobody = app(server, () => new Session({ url: server.url }).token());
  equal((await refused(nobody)).reason.code, "signed_out");
  const good = await token("anna_2");
  let left = 2;
  const failing = app(server, async () => (left-- > 0 ? Promise.reject(new TypeError("fetch failed")) : good));
  await failing.online();
  deepEqual(
    failing.states.filter(({ state }) => state === "waiting").map(({ reason }) => reason.code),
    ["offline", "offline"],
  );
});

test("the live socket gets a fresh token before the old one expires", async () => {
  const short = await token("anna_3", 3);
  const expires = Date.now() + 3000;
  const tokens = provider(short, await token("anna_3"));
  const a = app(server, tokens);
  await until(() => a.net.received.some(({ op }) => op === "auth_ok"));
  deepEqual(tokens.asked, [false, true]);
  await until(() => Date.now() > expires + 1200, "the first token has expired");
  await a.client.call("profile.get");
  equal(a.net.sockets.length, 1);
});

test("a token that expires all the same brings the client back with a fresh one", async () => {
  const tokens = [await token("anna_4", 2), null, await token("anna_4")];
  const asked = [];
  const a = app(server, async ({ refused }) => {
    asked.push(refused);
    return tokens.shift() ?? Promise.reject(new TypeError("fetch failed"));
  });
  await until(() => a.states.some(({ reason }) => reason?.code === 4005));
  await a.online();
  deepEqual(asked, [false, true, true]);
});

test("a session that has ended is final", async () => {
  const store = memoryStore();
  const session = new Session({ url: server.url, store });
  const { request } = await session.startEmail("anna@example.org");
  const code = await server.code("anna@example.org");
  await session.verifyEmail({ email: "anna@example.org", code, request, handle: "anna_5" });
  const a = app(server, ({ refused }) => session.token({ fresh: refused }));
  await a.online();
  a.net.in = ({ op }) => op !== "reply";
  const read = rejects(a.client.call("profile.get"), { code: "refused" });
  await session.signOut();
  const { reason } = await refused(a);
  equal(reason.code, 4503);
  await read;
  equal(a.net.sockets.length, 1);
});

test("an edge that drains is left in its window, and nothing is lost", async () => {
  const own = await Server.start("--drain-ms", "1500");
  const tokens = await own.tokens(["anna", "bobby"]);
  const [a, b] = [app(own, tokens.anna), app(own, tokens.bobby)];
  await Promise.all([a.online(), b.online()]);
  const down = own.down();
  await until(() => a.net.received.some(({ op }) => op === "goaway"));
  const sent = a.client.call("dm.send", { to: "bobby", text: "meanwhile" });
  await down;
  await own.up();
  await sent;
  await until(() => b.pushes.length === 1);
  deepEqual(a.states.find(({ state }) => state === "waiting").reason, { code: 1006, message: "goaway" });
  equal(a.net.received.filter(({ op }) => op === "error").length, 0, "nothing was sent to an edge that takes nothing");
  await stopAll();
  await own.stop();
});

test("an edge that sheds load is left alone as long as it says", async () => {
  const own = await Server.start("--max-sockets", "1");
  const tokens = await own.tokens(["anna", "bobby"]);
  const a = app(own, tokens.anna);
  await a.online();
  const b = app(own, tokens.bobby);
  const { retryInMs, reason } = await until(() => b.states.find(({ state }) => state === "waiting"));
  equal(reason.code, 4418);
  equal(retryInMs, JSON.parse(reason.message).retry_after_ms);
  ok(retryInMs >= 2000);
  await a.client.stop();
  await b.online();
  await stopAll();
  await own.stop();
});

test("what a day has no room for is refused at once, with the time to wait", async () => {
  const left = 86_400_000 - (Date.now() % 86_400_000);
  if (left < 11 * 60_000) return console.log("!! SKIPPED: the day is nearly over");
  const own = await Server.start("--type-limits", "post.create=-/1");
  const { anna } = await own.tokens(["anna"]);
  const a = app(own, anna);
  await a.online();
  await a.client.call("post.create", { text: "the one" });
  await rejects(a.client.call("post.create", { text: "one more" }), ({ code, retryAfterMs }) => {
    equal(code, "rate_limited");
    ok(retryAfterMs > left - 60_000 && retryAfterMs <= left + 1000);
    return true;
  });
  await stopAll();
  await own.stop();
});

test("the range of a close code decides, also of codes that nobody knows yet", async () => {
  for (const [code, state] of [
    [4000, "waiting"],
    [4499, "waiting"],
    [1011, "waiting"],
    [4600, "refused"],
    [4999, "refused"],
  ]) {
    const a = app(server, await token("anna_6"));
    await a.online();
    a.net.last().onclose({ code, reason: "because" });
    deepEqual(a.states.at(-1).reason, { code, message: "because" });
    equal(a.client.state, state, `${code}`);
    await a.client.stop();
  }
});

test("waits double from try to try, and a while online ends that", async () => {
  const net = wire();
  const a = app(server, await token("anna_7"), { net, timings: { backoffMs: [10, 80], steadyMs: 300 } });
  await a.online();
  const random = Math.random;
  Math.random = () => 0.999;
  try {
    net.cut();
    const waits = await until(() => a.states.filter(({ state }) => state === "waiting").length > 5 && a.states);
    const rounded = waits.filter(({ state }) => state === "waiting").map(({ retryInMs }) => Math.round(retryInMs));
    deepEqual(rounded.slice(0, 5), [10, 20, 40, 80, 80]);
    net.cut(false);
    await a.online();
    const since = Date.now();
    await until(() => Date.now() - since > 350, "it is steady");
    a.states.length = 0;
    net.cut();
    await until(() => a.states.length > 0);
    equal(Math.round(a.states[0].retryInMs), 10);
    net.cut(false);
    await a.online();
  } finally {
    Math.random = random;
  }
});

test("a socket on which nothing comes any more is left, and one that answers is kept", async () => {
  const a = app(server, await token("anna_8"));
  await a.online();
  const pings = () => a.net.sent.filter(({ op }) => op === "ping").length;
  await until(() => pings() >= 4);
  equal(a.net.sockets.length, 1);
  a.net.in = (_, socket) => socket !== a.net.sockets[0];
  await until(() => a.net.sockets.length === 2 && a.client.state === "online");
  equal(a.states.find(({ state }) => state === "waiting").reason.message, "no pong");
});

test("the network's return is heard", async () => {
  const target = new EventTarget();
  Object.assign(globalThis, {
    addEventListener: target.addEventListener.bind(target),
    removeEventListener: target.removeEventListener.bind(target),
  });
  try {
    const net = wire();
    const a = app(server, await token("anna_9"), { net, timings: { backoffMs: [1e7, 1e7], probeMs: 50 } });
    await a.online();
    net.cut();
    await until(() => a.client.state === "waiting");
    net.cut(false);
    target.dispatchEvent(new Event("online"));
    await a.online();
    // A socket that slept through a change of networks shows within the probe's time that it is dead.
    net.in = () => false;
    const begun = Date.now();
    target.dispatchEvent(new Event("online"));
    await until(() => a.client.state === "waiting");
    ok(Date.now() - begun < 300, "it need not wait for a heartbeat");
    await a.client.stop();
    target.dispatchEvent(new Event("online"));
    equal(a.client.state, "stopped");
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});
