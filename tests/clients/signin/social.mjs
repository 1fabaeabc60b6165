// A whole sign-in with a certified provider, both ways: a code that the server exchanges, and an id_token that the app
// brings.
import { createHash, randomUUID } from "node:crypto";
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from "jose";
import { Backend } from "../jswalk/backend.mjs";
import { check, equal, must } from "../jswalk/checks.mjs";
import * as api from "./api.mjs";

export async function social({ openid }) {
  await Backend.with([...api.WIDE, ...openid.twitterFlags(), ...openid.appleFlags()], async (backend) => {
    await byCode(backend, openid);
    await byToken(backend, openid);
    await once(backend, openid);
  });
}

/** Checks an access token with a verifier that knows only our key set. */
async function wellMade(backend, { access, handle }) {
  const answer = await api.call(backend, "/.well-known/jwks.json", { method: "GET" });
  equal(answer.headers.get("cache-control"), "public, max-age=60");
  must(answer.body.keys.every((key) => !("d" in key)), "a private key is published");
  const { payload, protectedHeader } = await jwtVerify(access, createLocalJWKSet(answer.body), {
    issuer: "soundoff", audience: "soundoff", subject: handle, typ: "at+jwt", algorithms: ["EdDSA"],
    requiredClaims: ["sid", "jti", "iat", "nbf", "exp"],
  });
  equal([payload.role, Object.keys(protectedHeader).sort()], ["user", ["alg", "kid", "typ"]]);
}

async function byCode(backend, openid) {
  const [login, handle] = [`user-${randomUUID()}`, api.freshHandle("carla")];
  const grant = await openid.code(login);
  await check("twitter: the first sign-in asks for a handle: 409 handle_required", async () =>
    api.refused(await api.auth(backend, "twitter", grant), 409, "handle_required"));
  let first;
  await check("twitter: the same code with a handle signs up", async () => {
    first = api.session(await api.auth(backend, "twitter", { ...grant, handle }), { handle, created: true });
  });
  await check("twitter: the session's token is well-formed, and opens a socket as that user", async () => {
    await wellMade(backend, first);
    await api.opensSocket(backend, first);
  });
  await check("twitter: a second login signs the same account in, with any handle in the request", async () => {
    const again = { ...(await openid.code(login)), handle: api.freshHandle("other") };
    const second = api.session(await api.auth(backend, "twitter", again), { handle, created: false });
    must(second.refresh !== first.refresh, "two sign-ins share a refresh token");
    await api.opensSocket(backend, second);
  });
  await check("twitter: another login there is another account here", async () => {
    const other = api.freshHandle("dora");
    api.session(await api.auth(backend, "twitter", { ...(await openid.code(`user-${randomUUID()}`)), handle: other }), { handle: other, created: true });
  });
}

async function byToken(backend, openid) {
  const [login, handle] = [`user-${randomUUID()}`, api.freshHandle("emma")];
  const nonce = randomUUID();
  const proof = { id_token: await openid.idToken(login, nonce), nonce };
  await check("apple: the first sign-in asks for a handle: 409 handle_required", async () =>
    api.refused(await api.auth(backend, "apple", proof), 409, "handle_required"));
  let first;
  await check("apple: the same token with a handle signs up", async () => {
    // Our tables of forgeries start from the provider's header.
    equal(decodeProtectedHeader(proof.id_token).alg, "RS256");
    first = api.session(await api.auth(backend, "apple", { ...proof, handle }), { handle, created: true });
  });
  await check("apple: the session's token is well-formed, and opens a socket as that user", async () => {
    await wellMade(backend, first);
    await api.opensSocket(backend, first);
  });
  await check("apple: the token a second time is refused, also with another handle", async () => {
    for (const asked of [{}, { handle }, { handle: api.freshHandle("ghost") }]) {
      api.refused(await api.auth(backend, "apple", { ...proof, ...asked }), 401, "unauthorized");
    }
  });
  await check("apple: a new token signs the same account in", async () => {
    const again = { id_token: await openid.idToken(login, "another-nonce"), nonce: "another-nonce" };
    await api.opensSocket(backend, api.session(await api.auth(backend, "apple", again), { handle, created: false }));
  });
  await check("apple: a nonce that the app handed over hashed, as Apple's guides do", async () => {
    const raw = randomUUID();
    const id_token = await openid.idToken(login, createHash("sha256").update(raw).digest("hex"));
    api.session(await api.auth(backend, "apple", { id_token, nonce: raw }), { handle, created: false });
  });
  await check("apple and twitter: the same name at both is two accounts", async () => {
    const other = api.freshHandle("fritz");
    api.session(await api.auth(backend, "twitter", { ...(await openid.code(login)), handle: other }), { handle: other, created: true });
  });
}

/** A proof opens one session, however many use it at once. */
async function once(backend, openid) {
  const eight = (path, body) => Promise.all(Array.from({ length: 8 }, () => api.auth(backend, path, body)));
  const oneIn = (answers) => {
    const statuses = answers.map(({ status }) => status).sort();
    equal(statuses, [200, ...Array(7).fill(401)]);
  };
  const nonce = randomUUID();
  const handle = api.freshHandle("gustav");
  const mail = api.freshMail("gustav");
  await check("apple: a token that eight bring at once lets one in", async () =>
    oneIn(await eight("apple", { id_token: await openid.idToken("gustav", nonce), nonce, handle })));
  await check("a mailed code that eight bring at once lets one in", async () =>
    oneIn(await eight("email/verify", { email: mail, ...(await api.codeFor(backend, mail)), handle: api.freshHandle("hans") })));
  await check("twitter: a code that eight bring at once lets one in at most", async () => {
    const grant = { ...(await openid.code("gustav")), handle: api.freshHandle("inge") };
    const answers = await eight("twitter", grant);
    // The provider revokes what a code gave when the code is used again, so nobody may get in.
    must(answers.filter(({ status }) => status === 200).length <= 1, answers.map(({ status }) => status));
  });
}
