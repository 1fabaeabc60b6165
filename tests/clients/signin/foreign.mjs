// The customer's own tokens: what opens sockets and pages, what opens nothing, and how it ends. The tokens are a certified
// provider's, and of one that signs anything.
import { generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import { Backend } from "../jswalk/backend.mjs";
import { check, equal, must } from "../jswalk/checks.mjs";
import { Phone } from "../jswalk/phone.mjs";
import * as api from "./api.mjs";
import { appleRows, goodClaims, keysFor, minted } from "./apple-rows.mjs";
import { forged, hmac, signed } from "./forge.mjs";
import { APP, Mock } from "./mock.mjs";

const QUICK = ["--messages-per-second", "10000", "--burst", "10000", "--hellos-per-second", "10000"];
const LEAST_ROWS = 60;
/** What is no fault in a token that is shown again and again: it has no nonce, and may have been issued to anybody. */
const NO_FAULT = /nonce|a token that was used|issued to (another|nobody)|typ of an access token|token of the other provider|our own access token/;
const now = () => Math.floor(Date.now() / 1000);
const PIXEL = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");

export async function foreign({ openid }) {
  const mock = await Mock.open();
  const keys = await keysFor(mock);
  const pair = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const pem = pair.publicKey.export({ type: "spki", format: "pem" });
  const secret = randomBytes(32).toString("base64url");
  const issuers = [
    { issuer: mock.url, audience: APP, jwks_url: `${mock.url}/jwks` },
    { issuer: openid.url, audience: [openid.app.client_id, "another"], jwks_url: `${openid.url}/jwks`, max_age_s: 600 },
    { issuer: "one-key", audience: "soundoff", public_key: pem, claim: "uid", handle_claims: ["nick"] },
    { issuer: "a-secret", audience: "soundoff", hs256_secret: secret },
  ];
  const flags = [...api.WIDE, ...QUICK, "--foreign-tokens", JSON.stringify(issuers), ...mock.appleFlags()];
  try {
    await Backend.with(flags, async (backend) => {
      const world = { backend, mock, keys, openid, pair, pem, secret };
      world.token = (claims = {}) => minted(keys.right, { alg: "RS256", kid: keys.kid }, { ...goodClaims(mock), ...claims });
      await api.until("the issuers' keys", async () => (await introduce(backend, await world.token())).status === 409);
      await opening(world);
      await handles(world);
      await kindsOfKeys(world);
      await refusals(world);
      await roles(world);
      await linked(world);
      await revoked(world);
      await rotated(world);
    });
  } finally {
    await mock.close();
  }
  await withoutKeys();
  await withoutFlags();
}

const introduce = (backend, token, more = {}, bearer) => api.auth(backend, "foreign", { token, ...more }, bearer);

/** A user of theirs who has an account here: {sub, handle, access}, where `access` is their own token. */
async function newcomer({ backend, token }, claims = {}) {
  const [sub, handle] = [randomUUID(), api.freshHandle("gast")];
  const access = await token({ sub, ...claims });
  const { status, body } = await introduce(backend, access, { handle });
  equal([status, body.user, body.created], [200, { handle }, true]);
  return { sub, handle, access };
}

/** A token that is good, and of somebody who is nobody here: sockets are upgraded, and then told so. */
async function opensNothingYet(backend, token) {
  const byHeader = await Phone.dial(backend, { headers: { authorization: `Bearer ${token}` } });
  byHeader.write({ op: "hello" });
  const byHello = await Phone.dial(backend);
  byHello.write({ op: "hello", token });
  equal([await byHeader.closeCode(), await byHello.closeCode()], [4503, 4503]);
  api.refused(await api.call(backend, "/v1/auth/identities", { method: "GET", bearer: token }), 401, "unauthorized");
}

async function opening({ backend, openid, token }) {
  const [login, handle] = [`user-${randomUUID()}`, api.freshHandle("otto")];
  const access = await openid.idToken(login, randomUUID());
  await check("foreign: a certified provider's token opens nothing before its user is introduced", () => opensNothingYet(backend, access));
  await check("foreign: its user is asked for a handle, and gets the account with it", async () => {
    api.refused(await introduce(backend, access), 409, "handle_required");
    const { status, body } = await introduce(backend, access, { handle });
    equal([status, Object.keys(body).sort(), body.user, body.created], [200, ["created", "expires_in", "user"], { handle }, true]);
    must(body.expires_in > 500 && body.expires_in <= 600, body.expires_in);
  });
  await check("foreign: then it opens a socket, by header and by hello, until it expires", async () => {
    await api.opensSocket(backend, { access, handle });
    const phone = await Phone.open(backend, access);
    equal(Date.parse(phone.welcome.token_expires_at), api.claimsOf(access).exp * 1000);
    await phone.bye();
  });
  await check("foreign: and pages, as bearer: the list of identities, and a picture", async () => {
    equal((await api.identities(backend, access)).map(({ kind, value }) => [kind, value]), [["foreign", "…"]]);
    const answer = await fetch(`${backend.origin}/v1/media`, { method: "POST", headers: { authorization: `Bearer ${access}`, "content-type": "image/png" }, body: PIXEL });
    equal(answer.status, 201);
  });
  await check("foreign: to be introduced again changes nothing", async () => {
    const { status, body } = await introduce(backend, access, { handle: api.freshHandle("other") });
    equal([status, body.user, body.created], [200, { handle }, false]);
  });
  await check("foreign: a live socket goes on with another token of the same user, and with no other user's", async () => {
    const phone = await Phone.open(backend, access);
    phone.write({ op: "auth", token: await openid.idToken(login, randomUUID()) });
    await phone.take((f) => f.op === "auth_ok", "auth_ok");
    const other = await newcomer({ backend, token });
    phone.write({ op: "auth", token: other.access });
    equal((await phone.take((f) => f.op === "error", "error")).error.code, "forbidden");
    await phone.roundTrip();
    await phone.bye();
  });
  await check("foreign: two tokens on one socket must be of one user", async () => {
    const other = await newcomer({ backend, token });
    const phone = await Phone.dial(backend, { headers: { authorization: `Bearer ${other.access}` } });
    phone.write({ op: "hello", token: access });
    equal(await phone.closeCode(), 4500);
  });
}

/** Where a handle comes from. */
async function handles({ backend, token }) {
  const taken = (await api.signUp(backend)).handle;
  await check("foreign: the handle that a token names is taken, if it is one and is free", async () => {
    const [first, second] = [api.freshHandle("name"), api.freshHandle("name")];
    for (const [claims, handle] of [[{ handle: first }, first], [{ preferred_username: second }, second]]) {
      const { status, body } = await introduce(backend, await token(claims));
      equal([status, body.user, body.created], [200, { handle }, true]);
    }
    for (const handle of [taken, "admin", "No Handle", "ab", "a".repeat(31), 7, null]) {
      api.refused(await introduce(backend, await token({ handle })), 409, "handle_required");
    }
  });
  await check("foreign: one that is asked for goes before it, and is refused when nobody gets it", async () => {
    const [asked, told] = [api.freshHandle("asked"), api.freshHandle("told")];
    equal((await introduce(backend, await token({ handle: told }), { handle: asked })).body.user.handle, asked);
    for (const [handle, status, code] of [[taken, 409, "conflict"], ["admin", 409, "conflict"], ["ab", 400, "bad_message"], [7, 400, "bad_message"]]) {
      api.refused(await introduce(backend, await token({ handle: told }), { handle }), status, code);
    }
  });
  await check("foreign: one newcomer on eight devices at once becomes one account", async () => {
    const [access, handle] = [await token(), api.freshHandle("acht")];
    const answers = await Promise.all(Array.from({ length: 8 }, () => introduce(backend, access, { handle })));
    const ended = answers.filter(({ status }) => status === 200);
    equal(ended.map(({ body }) => body.created).filter(Boolean).length, 1);
    must(answers.every(({ status }) => status === 200 || status === 409), answers.map(({ status }) => status));
    equal((await introduce(backend, access)).body.user.handle, handle);
  });
}

/** One public key, or a shared secret: each with its own algorithm, and no other. */
async function kindsOfKeys({ backend, pair, pem, secret }) {
  const claims = (iss) => ({ iss, aud: "soundoff", sub: "4711", uid: randomUUID(), nick: api.freshHandle("nick"), iat: now(), exp: now() + 600 });
  const opens = async (token) => {
    const { status, body } = await introduce(backend, token);
    equal([status, body.created], [200, true]);
    await api.opensSocket(backend, { access: token, handle: body.user.handle });
  };
  await check("foreign: a key in PEM, whatever id a token names; another claim for the user, another for the handle", async () => {
    for (const header of [{ alg: "RS256" }, { alg: "RS256", kid: "x", typ: "at+jwt" }]) {
      await opens(await minted(pair.privateKey, header, claims("one-key")));
    }
  });
  await check("foreign: a shared secret", async () => {
    const told = { ...claims("a-secret"), sub: randomUUID(), preferred_username: api.freshHandle("nick") };
    await opens(await minted(Buffer.from(secret), { alg: "HS256" }, told));
  });
  const head = { alg: "HS256", typ: "JWT" };
  for (const [name, token] of [
    ["the PEM as secret", forged(head, claims("one-key"), hmac(pem))],
    ["the PEM trimmed as secret", forged(head, claims("one-key"), hmac(pem.trim()))],
    ["alg none for the one key", forged({ alg: "none" }, claims("one-key"))],
    ["the other issuer's secret", forged(head, claims("one-key"), hmac(secret))],
    ["another secret", forged(head, claims("a-secret"), hmac(`${secret}x`))],
    ["no secret", forged(head, claims("a-secret"), hmac(""))],
    ["RS256 where there is a secret", forged({ alg: "RS256" }, claims("a-secret"), signed(pair.privateKey))],
    ["HS512 by the right secret", await minted(Buffer.from(secret), { alg: "HS512" }, claims("a-secret"))],
    ["alg none where there is a secret", forged({ alg: "none" }, claims("a-secret"))],
    ["another audience", await minted(Buffer.from(secret), { alg: "HS256" }, { ...claims("a-secret"), aud: "another" })],
    ["the user's claim missing", await minted(pair.privateKey, { alg: "RS256" }, { ...claims("one-key"), uid: undefined })],
  ]) {
    await check(`foreign: ${name}: opens nothing`, async () => {
      api.refused(await introduce(backend, token, { handle: api.freshHandle("ghost") }), 401, "unauthorized");
      await api.opensNothing(backend, token);
    });
  }
}

/** The table of id_tokens that are refused, for tokens that are shown again and again. */
async function refusals(world) {
  const { backend, mock } = world;
  const user = await api.signUp(backend);
  let count = 0;
  for (const [name, make, status = 401, code = "unauthorized"] of appleRows({ ...world, used: {}, user })) {
    if (NO_FAULT.test(name)) continue;
    count += 1;
    await check(`foreign: ${name}: opens nothing`, async () => {
      const made = await make(randomUUID());
      const token = typeof made === "string" || Array.isArray(made) ? made : made.id_token;
      // A key that is not known may be new: it is fetched first, and until then nobody can say.
      const answer = await api.until("a judgement", async () => {
        const answer = await introduce(backend, token, { handle: api.freshHandle("ghost") });
        return answer.status !== 503 && answer;
      }, 15_000);
      api.refused(answer, status, code);
      // What can stand in a header, and in a `hello`.
      if (status === 401 && /^[!-~]{1,5000}$/.test(token)) await api.opensNothing(backend, token);
    });
  }
  await check(`foreign: there were ${count} such tokens, and ${LEAST_ROWS} at least`, () => must(count >= LEAST_ROWS, count));
  await check("foreign: no key set that a token named was fetched", () => equal(mock.baited, 0));
  await check("foreign: our own tokens are not introduced", async () =>
    api.refused(await introduce(backend, user.access, { handle: api.freshHandle("ghost") }), 401, "unauthorized"));
  await check("foreign: no token, or no text: 400 bad_message", async () => {
    for (const body of [{}, { token: 7 }, { token: null }]) api.refused(await api.auth(backend, "foreign", body), 400, "bad_message");
  });
}

/** What a token says of roles counts for nothing. What the operator says, does. */
async function roles({ backend, token }) {
  await check("foreign: a role in the token is none here; the operator's is", async () => {
    const { handle, access } = await newcomer({ backend, token }, { role: "admin", roles: ["moderator"], admin: true });
    const allowed = async () => {
      const phone = await Phone.open(backend, access);
      const code = await phone.fails("post.remove", { post: "01ARZ3NDEKTSV4RRFFQ69G5FAV" });
      await phone.bye();
      return code;
    };
    equal(await allowed(), "forbidden");
    await backend.operate("users", "role", handle, "moderator");
    equal(await allowed(), "not_found");
    await backend.operate("users", "role", handle, "user");
    equal(await allowed(), "forbidden");
  });
}

/** A user of theirs becomes another way into an account, and is taken away again. */
async function linked(world) {
  const { backend, token } = world;
  await check("foreign: joins the account of a session, and stays another's", async () => {
    const [anna, bert] = [await api.signUp(backend), await api.signUp(backend)];
    const access = await token();
    const { status, body } = await introduce(backend, access, {}, anna.access);
    equal([status, body.user, body.created, body.linked], [200, { handle: anna.handle }, false, "foreign"]);
    api.refused(await introduce(backend, access, {}, bert.access), 409, "conflict");
    await api.opensSocket(backend, { access, handle: anna.handle });
  });
  await check("foreign: a token is no fresh proof of who has it, unless it says when they signed in", async () => {
    const { access, sub, handle } = await newcomer(world);
    const mail = api.freshMail();
    const sent = await api.codeFor(backend, mail);
    const adding = () => api.verify(backend, mail, { sent, bearer: access });
    api.refused(await adding(), 403, "proof_required");
    for (const auth_time of [now() - 3600, "now", 0, -1, null]) {
      equal((await introduce(backend, await token({ sub, auth_time }))).status, 200);
      api.refused(await adding(), 403, "proof_required");
    }
    equal((await introduce(backend, await token({ sub, auth_time: now() }))).status, 200);
    api.linked(await adding(), { handle, kind: "email" });
  });
  await check("foreign: its session is in the list, without an end, and ends from there", async () => {
    const anna = await api.signUp(backend);
    const access = await token();
    equal((await introduce(backend, access, {}, anna.access)).status, 200);
    const { items } = (await api.call(backend, "/v1/auth/sessions", { method: "GET", bearer: anna.access })).body;
    const theirs = items.find(({ way }) => way === "foreign");
    equal([items.length, theirs.current, theirs.ends_at], [2, false, null]);
    const seen = (await api.call(backend, "/v1/auth/sessions", { method: "GET", bearer: access })).body.items;
    equal(seen.map(({ id, current }) => [id, current]), items.map(({ id }) => [id, id === theirs.id]));
    const phone = await Phone.open(backend, access);
    equal((await api.call(backend, `/v1/auth/sessions/${theirs.id}`, { method: "DELETE", bearer: anna.access })).status, 204);
    equal(await phone.closeCode(), 4503);
    await opensNothingYet(backend, access);
    api.refused(await introduce(backend, access), 401, "unauthorized");
    api.refused(await introduce(backend, await token({ sub: api.claimsOf(access).sub, iat: now() + 60 })), 401, "unauthorized");
    await opensNothingYet(backend, access);
  });
  for (const own of [true, false]) {
    await check(`foreign: taken away with ${own ? "itself" : "another session"}: its sockets close and it opens nothing`, async () => {
      const { access, handle, sub } = await newcomer(world, { auth_time: now() });
      const mail = api.freshMail();
      api.linked(await api.verify(backend, mail, { bearer: access }), { handle, kind: "email" });
      const session = api.session(await api.verify(backend, mail), { handle, created: false });
      const { id } = (await api.identities(backend, access)).find(({ kind }) => kind === "foreign");
      const [theirs, ours] = [await Phone.open(backend, access), await Phone.open(backend, session.access)];
      const bearer = own ? access : session.access;
      equal((await api.call(backend, `/v1/auth/identities/${id}`, { method: "DELETE", bearer })).status, 204);
      equal(await theirs.closeCode(), 4503);
      await ours.roundTrip();
      await ours.bye();
      await opensNothingYet(backend, access);
      api.refused(await introduce(backend, await token({ sub })), 409, "handle_required");
    });
  }
}

/** A session that an operator has ended begins again with a token of later, and with no other. */
async function revoked({ backend, token }) {
  await check("foreign: revoked: sockets close, and no token of before begins it again", async () => {
    const { sub, handle, access } = await newcomer({ backend, token });
    const phone = await Phone.open(backend, access);
    await backend.operate("users", "revoke", handle);
    equal(await phone.closeCode(), 4503);
    await opensNothingYet(backend, access);
    const ahead = await token({ sub, iat: now() + 40 });
    for (const old of [access, await token({ sub }), ahead, access]) {
      api.refused(await introduce(backend, old), 401, "unauthorized");
      await opensNothingYet(backend, old);
    }
    // Later is by a minute, and so far a clock may be ahead.
    const later = await api.until("a token of later", async () => {
      const later = await token({ sub, iat: now() + 60 });
      const { status, body } = await introduce(backend, later);
      return status === 200 && body.user.handle === handle && !body.created && later;
    });
    await api.opensSocket(backend, { access: later, handle });
    for (const old of [access, ahead]) {
      await opensNothingYet(backend, old);
      api.refused(await introduce(backend, old), 401, "unauthorized");
    }
  });
}

/** The issuer has another key: tokens of the old one open nothing, also where they were good a moment ago. */
async function rotated(world) {
  const { backend, mock, token } = world;
  await check("foreign: a key that is taken away is good for nothing, a new one is found by itself", async () => {
    const { sub, handle, access } = await newcomer({ backend, token });
    await api.opensSocket(backend, { access, handle });
    await mock.rotate();
    const keys = await keysFor(mock);
    const fresh = await minted(keys.right, { alg: "RS256", kid: keys.kid }, { ...goodClaims(mock), sub });
    await api.until("the new key", async () => (await introduce(backend, fresh)).status === 200, 20_000);
    await api.opensSocket(backend, { access: fresh, handle });
    await api.opensNothing(backend, access);
    api.refused(await introduce(backend, access), 401, "unauthorized");
  });
}

/** Keys that cannot be fetched: nothing opens, and nobody is told that their token is bad. */
async function withoutKeys() {
  const mock = await Mock.open();
  const keys = await keysFor(mock);
  const issuer = { issuer: mock.url, audience: APP, jwks_url: `${mock.url}/nowhere/at/all` };
  try {
    await Backend.with([...api.WIDE, "--foreign-tokens", JSON.stringify([issuer])], async (backend) => {
      await check("foreign: without its issuer's keys a token opens nothing, and may come again", async () => {
        const token = await minted(keys.right, { alg: "RS256", kid: keys.kid }, goodClaims(mock));
        api.refused(await introduce(backend, token, { handle: api.freshHandle() }), 503, "overloaded");
        api.refused(await api.call(backend, "/v1/auth/identities", { method: "GET", bearer: token }), 503, "overloaded");
        const phone = await Phone.dial(backend);
        phone.write({ op: "hello", token });
        equal(await phone.closeCode(), 4418);
        const dialled = Phone.dial(backend, { headers: { authorization: `Bearer ${token}` } });
        const { response } = await dialled.then(() => must(false, "it is upgraded"), (error) => error);
        equal(response.statusCode, 503);
        must(Number(response.headers["retry-after"]) > 0, "no Retry-After");
        const anna = await api.signUp(backend);
        const live = await Phone.open(backend, anna.access);
        live.write({ op: "auth", token });
        equal((await live.take((f) => f.op === "error", "error")).error.code, "overloaded");
        await live.bye();
      });
    });
  } finally {
    await mock.close();
  }
}

async function withoutFlags() {
  await Backend.with(api.WIDE, async (backend) => {
    await check("foreign: without its flag: 404 not_configured", async () =>
      api.refused(await introduce(backend, "x"), 404, "not_configured"));
  });
}
