// The operators close the service and open it again: clients say why, come when they are told, and lose nothing.
import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Session, SoundOff, SoundOffError, memoryStore } from "./under.mjs";
import { Server } from "./server.mjs";
import { app, stopAll, until, wire } from "./support.mjs";

const plainFetch = globalThis.fetch;
let server;
let people = 0;

before(async () => (server = await Server.start("--heartbeat-ms", "400", "--codes-per-minute", "1000")));
afterEach(async () => {
  globalThis.fetch = plainFetch;
  await stopAll();
  await open();
});
after(() => server.stop());

const isShut = async () => (await plainFetch(`${server.url}/v1/auth/ways`)).status === 418;

async function close(reason) {
  await server.command("gate", "close", "--reason", reason, "--for", "10m");
  await until(isShut, "the gate is shut");
}

async function open(...how) {
  await server.command("gate", "open", ...how);
  const isSeen = async () => {
    const answer = await plainFetch(`${server.url}/v1/auth/ways`);
    return answer.status !== 418 || (how.length > 0 && /little by little/.test((await answer.json()).detail));
  };
  await until(isSeen, "the process has seen it");
}

/** Answers requests to a path in the server's place. */
function answer(path, ...answers) {
  const seen = [];
  globalThis.fetch = (url, init) => {
    if (new URL(url).pathname !== path) return plainFetch(url, init);
    seen.push({ at: Date.now(), ...init });
    const next = answers.length > 1 ? answers.shift() : answers[0];
    return next ? Promise.resolve(new Response(next.text, next)) : plainFetch(url, init);
  };
  return seen;
}

/** A new user, signed in. */
async function signedIn(options = {}) {
  people += 1;
  const email = `anna${people}@example.org`;
  const store = memoryStore();
  const session = new Session({ url: server.url, store, ...options });
  const { request } = await session.startEmail(email);
  await session.verifyEmail({ email, code: await server.code(email), request, handle: `anna_${people}` });
  return { session, store };
}

const waits = (a) => until(() => a.states.find(({ state, reason }) => state === "waiting" && reason.text), "a text");

test("a closed service says why, is not asked again before its time, and what was called meanwhile is done", async () => {
  const { anna_0: token } = await server.tokens(["anna_0"]);
  const a = app(server, token);
  await a.online();
  await close("new disks");
  const { retryInMs, reason } = await waits(a);
  equal(reason.code, 4418);
  equal(reason.text, "new disks");
  deepEqual(JSON.parse(reason.message), { retry_after_ms: retryInMs, reason: "new disks" });
  ok(retryInMs > 500_000, `${retryInMs}`);
  const stopped = rejects(a.client.call("post.create", { text: "meanwhile" }), { code: "stopped" });
  const sockets = a.net.sockets.length;
  await open("--over", "3s");
  // Another page that comes now is told a time within the three seconds, and comes then.
  const b = app(server, token, { store: memoryStore() });
  await b.online();
  ok(b.net.sockets.length <= 2, `${b.net.sockets.length} tries`);
  equal(a.net.sockets.length, sockets, "it came before its time");
  await a.client.stop();
  await stopped;
  a.client.start();
  await a.online();
  await until(async () => (await b.client.call("post.list", { user: "anna_0" })).items[0]?.text === "meanwhile");
});

test("a client whose token has expired meanwhile comes back when it is told, too", async () => {
  const { session } = await signedIn();
  await session.token();
  await close("new disks");
  const a = app(server, () => session.token({ fresh: true }));
  const { state, retryInMs, reason } = await waits(a);
  deepEqual([state, reason], ["waiting", { code: "closed", message: "new disks", text: "new disks" }]);
  ok(retryInMs > 500_000 && retryInMs % 1000 === 0, `${retryInMs}`);
  await rejects(session.token({ fresh: true }), { code: "closed", retry: true });
  await open();
  await a.client.stop();
  a.client.start();
  await a.online();
});

test("refusals of a refresh that pass are waited for", async () => {
  const { session } = await signedIn();
  await session.token();
  const later = (status, after) => ({ status, headers: { "retry-after": after }, text: "<html>" });
  for (const status of [418, 429, 503]) {
    const asked = answer("/v1/auth/refresh", later(status, "1"), null);
    const a = app(server, () => session.token({ fresh: true }));
    await a.online();
    globalThis.fetch = plainFetch;
    deepEqual(
      a.states.map(({ state }) => state),
      ["connecting", "waiting", "connecting", "online"],
    );
    ok(asked[1].at - asked[0].at >= 990, `${status}: asked again after ${asked[1].at - asked[0].at} ms`);
    await stopAll();
  }
  // A date is no number of seconds: the client waits as long as it does by itself.
  const dated = answer("/v1/auth/refresh", later(503, "Wed, 21 Oct 2026 07:28:00 GMT"), null);
  const a = app(server, () => session.token({ fresh: true }));
  await a.online();
  const { retryInMs } = a.states.find(({ state }) => state === "waiting");
  ok(dated.length === 2 && retryInMs >= 0 && retryInMs <= 100, `${retryInMs}`);
});

test("a live socket asks again for the token that it was refused for a moment", async () => {
  const { session } = await signedIn();
  const { anna_4: short } = await server.tokens(["anna_4"], 62);
  const { anna_4: long } = await server.tokens(["anna_4"]);
  const passing = new SoundOffError("overloaded", "not now", { retry: true, retryAfterMs: 200 });
  const answers = [short, passing, long];
  const a = app(server, async () => {
    const next = answers.shift();
    return next === passing ? Promise.reject(next) : next;
  });
  await until(() => a.net.received.some(({ op }) => op === "auth_ok"));
  equal(a.net.sockets.length, 1);
  session.close();
});

test("somebody who signs in is told why not and when", async () => {
  await close("new disks");
  const session = new Session({ url: server.url, store: memoryStore() });
  await rejects(
    session.startEmail("late@example.org"),
    ({ code, message, retry, retryAfterMs }) =>
      code === "closed" && message === "new disks" && retry && retryAfterMs > 500_000,
  );
});

test("the app's name goes with the socket and with requests, and operators let it in first", async () => {
  const { anna_5: token } = await server.tokens(["anna_5"]);
  const offered = [];
  const net = wire();
  const Plain = net.WebSocket;
  net.WebSocket = class extends Plain {
    constructor(url, protocols) {
      super(url, protocols);
      offered.push(protocols);
    }
  };
  await app(server, token, { net, app: "web-1.0" }).online();
  deepEqual(offered, [["soundoff.v1", "app.web-1.0"]]);
  const asked = answer("/v1/auth/ways", null);
  await new Session({ url: server.url, app: "web-1.0", store: memoryStore() }).ways();
  await new Session({ url: server.url, store: memoryStore() }).ways();
  deepEqual(
    asked.map(({ headers }) => headers),
    [{ "soundoff-app": "web-1.0" }, {}],
  );
  // Of an hour, those with the app come within the first half and all others in the second.
  await open("--over", "60m", "--first", "app=web");
  await until(isShut, "those without the app are out");
  const waitOf = async (given) => {
    const session = new Session({ url: server.url, store: memoryStore(), ...given });
    return session.ways().then(() => 0, ({ retryAfterMs }) => retryAfterMs);
  };
  ok((await waitOf({ app: "web-1.0" })) <= 33 * 60_000);
  ok((await waitOf({})) >= 29 * 60_000);
});

test("a name that no app can have is refused at once", () => {
  const token = async () => "";
  const { WebSocket } = wire();
  for (const bad of ["", "web 1.0", "web/1", "web,ios", "wéb", "w".repeat(65), {}]) {
    const given = { url: server.url, store: memoryStore(), app: bad };
    throws(() => new Session(given), TypeError, `${bad}`);
    throws(() => new SoundOff({ ...given, token, WebSocket }), TypeError, `${bad}`);
  }
});
