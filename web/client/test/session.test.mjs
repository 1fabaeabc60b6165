// Signing in: codes, tokens, one refresh for all pages, signing out, uploads.
import { deepEqual, equal, notEqual, ok, rejects } from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Session, SoundOffError, memoryStore } from "./under.mjs";
import { Server } from "./server.mjs";
import { app, browser, stopAll, until } from "./support.mjs";

const plainFetch = globalThis.fetch;
let server;
let people = 0;

before(
  async () =>
    (server = await Server.start(
      "--access-token-s",
      "600",
      "--sign-ins-per-minute",
      "10000",
      "--codes-per-minute",
      "10000",
    )),
);
afterEach(async () => {
  globalThis.fetch = plainFetch;
  await stopAll();
});
after(() => server.stop());

const code = (wanted) => (error) => error instanceof SoundOffError && error.code === wanted;

/** Records requests to a path from here on; `act` may take the network's place. */
function watch(path, act = (...request) => plainFetch(...request)) {
  const seen = [];
  globalThis.fetch = (url, init) => {
    if (new URL(url).pathname !== path) return plainFetch(url, init);
    seen.push(init);
    return act(url, init, seen.length);
  };
  return seen;
}

/** A new user, signed in on a page of their own. */
async function signedIn(options = {}) {
  people += 1;
  const email = `anna${people}@example.org`;
  const session = new Session({ url: server.url, store: memoryStore(), ...options });
  const { request } = await session.startEmail(email);
  const proof = { email, code: await server.code(email), request, handle: `anna_${people}` };
  await session.verifyEmail(proof);
  return { session, email, handle: proof.handle };
}

test("a new account asks for a handle, and the same proof goes on", async () => {
  const store = memoryStore();
  const session = new Session({ url: server.url, store });
  const changes = [];
  session.on("change", (user) => changes.push(user?.handle));
  equal(session.user, null);
  await rejects(session.token(), code("signed_out"));
  const { request, expires_in: lifetime } = await session.startEmail("new@example.org");
  ok(lifetime > 0);
  const proof = { email: "new@example.org", code: await server.code("new@example.org"), request };
  const wrong = proof.code === "000000" ? "111111" : "000000";
  await rejects(session.verifyEmail({ ...proof, code: wrong }), code("unauthorized"));
  await rejects(session.verifyEmail(proof), code("handle_required"));
  await rejects(session.verifyEmail({ ...proof, handle: "admin" }), code("conflict"));
  await rejects(session.verifyEmail({ ...proof, handle: "N" }), code("bad_message"));
  deepEqual(await session.verifyEmail({ ...proof, handle: "newcomer" }), {
    user: { handle: "newcomer" },
    created: true,
  });
  deepEqual([session.user, changes], [{ handle: "newcomer" }, ["newcomer"]]);
  deepEqual(new Session({ url: server.url, store }).user, { handle: "newcomer" }, "a reload knows it at once");
  await rejects(
    session.startEmail("new@example.org"),
    (error) => error.code === "rate_limited" && error.retry && error.retryAfterMs > 0,
  );
  await rejects(session.apple({ id_token: "t", nonce: "n" }), code("not_configured"));
  await rejects(session.openid("google", { id_token: "t", nonce: "n" }), code("not_configured"));
  await rejects(session.introduce("t", { handle: "anna" }), code("not_configured"));
});

test("a token is used until it is refused or about to expire", async () => {
  const { session } = await signedIn();
  const refreshes = watch("/v1/auth/refresh");
  const first = await session.token();
  equal(await session.token(), first);
  equal(refreshes.length, 0);
  const [second, same] = await Promise.all([session.token({ fresh: true }), session.token({ fresh: true })]);
  notEqual(second, first);
  equal(same, second);
  equal(refreshes.length, 1);
  const now = Date.now;
  Date.now = () => now() + 520_000;
  try {
    notEqual(await session.token(), second, "it expires in a minute and a half");
    equal(refreshes.length, 2);
  } finally {
    Date.now = now;
  }
});

test("all pages refresh once", async () => {
  const { page } = browser();
  const store = memoryStore();
  const open = () => new Session({ url: server.url, store, locks: page() });
  const { session } = await signedIn({ store, locks: page() });
  const pages = [session, open(), open(), open(), open()];
  await Promise.all(pages.map((one) => one.token()));
  const refreshes = watch("/v1/auth/refresh");
  const tokens = await Promise.all(pages.map((one) => one.token({ fresh: true })));
  equal(new Set(tokens).size, 1);
  equal(refreshes.length, 1);
  pages.forEach((one) => one.close());
});

test("two that refresh at once, without locks, both go on", async () => {
  const store = memoryStore();
  const { session } = await signedIn({ store });
  const other = new Session({ url: server.url, store });
  for (let round = 0; round < 5; round++) {
    const before = await Promise.all([session.token(), other.token()]);
    const tokens = await Promise.all([session.token({ fresh: true }), other.token({ fresh: true })]);
    ok(tokens.every((token) => !before.includes(token)));
  }
});

test("an asynchronous store does as well", async () => {
  const plain = memoryStore();
  const later =
    (act) =>
    async (...given) => (await null, act(...given));
  const store = { get: later(plain.get), set: later(plain.set), remove: later(plain.remove) };
  const { handle } = await signedIn({ store });
  const again = new Session({ url: server.url, store });
  await again.ready;
  deepEqual(again.user, { handle });
  await again.token({ fresh: true });
});

test("an answer that is lost on its way is asked for once more", async () => {
  const { session } = await signedIn();
  const before = await session.token();
  const lost = watch("/v1/auth/refresh", async (url, init, times) => {
    const answer = await plainFetch(url, init);
    return times === 1 ? Promise.reject(new TypeError("fetch failed")) : answer;
  });
  notEqual(await session.token({ fresh: true }), before);
  equal(lost.length, 2);
  await session.token({ fresh: true });
});

test("no network is no end of the sign-in", async () => {
  const { session, handle } = await signedIn();
  await session.token();
  watch("/v1/auth/refresh", () => Promise.reject(new TypeError("fetch failed")));
  await rejects(session.token({ fresh: true }), (error) => error.code === "offline" && error.retry);
  deepEqual(session.user, { handle });
  globalThis.fetch = plainFetch;
  await session.token({ fresh: true });
});

test("signing out is heard by the other pages, and ends their sockets", async () => {
  const { page } = browser();
  const store = memoryStore();
  const { session } = await signedIn({ store, locks: page() });
  const other = new Session({ url: server.url, store, locks: page() });
  const heard = [];
  other.on("change", (user) => heard.push(user));
  const a = app(server, ({ refused }) => other.token({ fresh: refused }));
  await a.online();
  await session.signOut();
  await until(() => heard.length === 1 && a.client.state === "refused");
  deepEqual([heard, other.user], [[null], null]);
  await rejects(other.token(), code("signed_out"));
  other.close();
  session.close();
});

test("a sign-out during a refresh stays a sign-out", async () => {
  const { session } = await signedIn();
  await session.token();
  let answer;
  watch("/v1/auth/refresh", async (url, init) => {
    const answered = await plainFetch(url, init);
    await new Promise((resolve) => (answer = resolve));
    return answered;
  });
  const token = rejects(session.token({ fresh: true }), code("signed_out"));
  await until(() => answer);
  await session.signOut();
  answer();
  await token;
  equal(session.user, null);
});

test("a session that has ended elsewhere signs out", async () => {
  const { session } = await signedIn();
  const stolen = memoryStore();
  const url = new URL(server.url);
  const key = `soundoff/${url.host}/session`;
  await session.token();
  const held = watch("/v1/auth/refresh");
  await session.token({ fresh: true });
  const { refresh_token: spent } = JSON.parse(held[0].body);
  stolen.set(key, JSON.stringify({ user: session.user, access: "x", refresh: spent, expires: 0 }));
  await session.token({ fresh: true });
  // Somebody uses a copy of the token that was used two refreshes ago.
  await rejects(new Session({ url: server.url, store: stolen }).token(), code("signed_out"));
  const changes = [];
  session.on("change", (user) => changes.push(user));
  await rejects(session.token({ fresh: true }), code("signed_out"));
  deepEqual(changes, [null]);
});

test("an account may have several ways to sign in", async () => {
  const { session } = await signedIn();
  const { request } = await session.startPhone("+4915112345678");
  const proof = { phone: "+4915112345678", code: await server.code("+4915112345678"), request };
  deepEqual((await session.verifyPhone(proof, { link: true })).linked, "phone");
  const { items } = await session.identities();
  deepEqual(items.map(({ kind }) => kind).sort(), ["email", "phone"]);
  await session.unlink(items.find(({ kind }) => kind === "phone").id);
  await rejects(session.unlink((await session.identities()).items[0].id), code("conflict"));
});

test("users see where they are signed in, prove who they are, and end the rest", async () => {
  const { session, email } = await signedIn();
  const own = (await session.identities()).items[0];
  let last = await server.code(email);
  /** A letter comes later than its answer. */
  const next = () => until(async () => { const sent = await server.code(email); return sent !== last && (last = sent); });
  const { request, to } = await until(() => session.startProof(own.id).catch(() => false));
  ok(to.startsWith("…") || to.includes("…@"), to);
  const proved = await session.prove({ id: own.id, request, code: await next() });
  deepEqual([proved.linked, proved.created], ["email", false]);
  const again = new Session({ url: server.url, store: memoryStore() });
  const started = await until(() => again.startEmail(email).catch(() => false));
  await again.verifyEmail({ email, request: started.request, code: await next() });
  await again.token();
  const { items } = await session.sessions();
  deepEqual(items.map(({ current, way, client }) => [current, way, client]), [[false, "email", "node"], [true, "email", "node"]]);
  await session.endSession(items[0].id);
  await rejects(session.endSession(items[0].id), code("not_found"));
  await rejects(again.token({ fresh: true }), code("signed_out"));
  await session.endSession("others");
  equal((await session.sessions()).items.length, 1);
});

const PIXEL = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

test("pictures go up, and a post shows them", async () => {
  const { session } = await signedIn();
  const a = app(server, () => session.token());
  await a.online();
  const media = await session.uploadMedia(new Blob([PIXEL]));
  equal(media.content_type, "image/png");
  await until(() => a.pushes.some(({ type, body }) => type === "media.ready" && body.media.id === media.id));
  const { post } = await a.client.call("post.create", { text: "look", media: [media.id] });
  equal((await plainFetch(new URL(post.media[0].url, server.url))).status, 200);
  await rejects(
    session.uploadMedia(new Blob(["no picture"])),
    (error) => error.code === "bad_message" && /JPEG/.test(error.message),
  );
  const cancel = new AbortController();
  cancel.abort();
  await rejects(session.uploadMedia(new Blob([PIXEL]), { signal: cancel.signal }), { name: "AbortError" });
});

/** Refuses the first uploads. */
const refusing = (times, seconds) => (url, init, tries) =>
  tries > times
    ? plainFetch(url, init)
    : new Response(JSON.stringify({ code: "overloaded", detail: "finish your other uploads first" }), {
        status: 429,
        headers: { "retry-after": seconds },
      });

test("an upload that is refused for a moment is sent again, and one for longer is not", async () => {
  const { session } = await signedIn();
  const briefly = watch("/v1/media", refusing(2, "0"));
  equal((await session.uploadMedia(new Blob([PIXEL]))).content_type, "image/png");
  equal(briefly.length, 3);
  const always = watch("/v1/media", refusing(100, "0"));
  await rejects(session.uploadMedia(new Blob([PIXEL])), code("overloaded"));
  equal(always.length, 5);
  const long = watch("/v1/media", refusing(1, "600"));
  await rejects(session.uploadMedia(new Blob([PIXEL])), (error) => error.retry && error.retryAfterMs === 600_000);
  equal(long.length, 1);
  const cancel = new AbortController();
  const waiting = watch("/v1/media", refusing(1, "1"));
  const cancelled = session.uploadMedia(new Blob([PIXEL]), { signal: cancel.signal });
  await until(() => waiting.length === 1);
  cancel.abort();
  await rejects(cancelled, { name: "AbortError" });
  equal(waiting.length, 1);
});

test("a large picture goes where media.begin says", async () => {
  const { session } = await signedIn();
  const a = app(server, () => session.token());
  await a.online();
  const large = new Blob([PIXEL, new Uint8Array(17 * 1024 * 1024)]);
  await rejects(session.uploadMedia(large), code("too_large"));
  const { id } = await session.uploadMedia(large, { begin: (body) => a.client.call("media.begin", body) });
  await until(() => a.pushes.some(({ type, body }) => type.startsWith("media.") && (body.media?.id ?? body.id) === id));
});
