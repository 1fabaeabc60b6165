// The rest of what is refused: codes of Twitter/X, one-time codes, refresh tokens, access tokens. Tables as in
// apple-rows.mjs.
import { createPublicKey, randomBytes, randomUUID } from "node:crypto";
import { generateKeyPair } from "jose";
import { auth, claimsOf, codeFor, freshMail, freshPhone, verify } from "./api.mjs";
import { minted } from "./apple-rows.mjs";
import { altered, forged, hmac, partsOf, scratched } from "./forge.mjs";
import { BACK, BACK_ELSEWHERE, BACK_TOO } from "./openid.mjs";

/** Bodies for /v1/auth/twitter. */
export function twitterRows({ openid, usedCode }) {
  const but = (change, asked) => async () => ({ ...(await openid.code("mallory", asked)), ...change });
  const otherVerifier = () => randomBytes(32).toString("base64url");
  return [
    ["a code that was used", () => ({ ...usedCode })],
    ["an unknown code", but({ code: randomBytes(32).toString("base64url") })],
    ["no code in the code", but({ code: "" })],
    ["a code that is too long", but({ code: "c".repeat(4000) })],
    ["another verifier", but({ code_verifier: otherVerifier() })],
    ["a verifier that is too short", but({ code_verifier: "v".repeat(42) })],
    ["a verifier that is too long", but({ code_verifier: "v".repeat(129) })],
    ["a verifier of strange letters", but({ code_verifier: "v".repeat(42) + "é" })],
    ["an empty verifier", but({ code_verifier: "" })],
    ["no verifier", but({ code_verifier: undefined }), 400, "bad_message"],
    ["no redirect_uri", but({ redirect_uri: undefined }), 400, "bad_message"],
    ["no code", but({ code: undefined }), 400, "bad_message"],
    ["a redirect_uri that is not on the list", but({}, { back: BACK_ELSEWHERE })],
    ["a redirect_uri with a little more", but({ redirect_uri: `${BACK}/` })],
    ["another redirect_uri than the code's, on the list too", but({ redirect_uri: BACK_TOO })],
    ["a code of another client", but({}, { client: openid.stranger })],
    ["a code of our app, which is another client", but({}, { client: openid.app })],
    ["a code without PKCE", but({}, { pkce: false })],
    ["a code that smuggles a parameter", but({ code: "x&code_verifier=y" })],
  ];
}

/** Calls of /v1/auth/{email,phone}/verify: {kind, body}. */
export function codeRows({ backend, known }) {
  const sent = async (change) => {
    const mail = freshMail();
    const { request, code } = await codeFor(backend, mail);
    return { kind: "email", body: { email: mail, request, code, ...change({ mail, code }) } };
  };
  const other = (code) => String((Number(code) + 1) % 1_000_000).padStart(6, "0");
  return [
    ["another code", () => sent(({ code }) => ({ code: other(code) }))],
    ["the code of another address", async () => sent(() => ({ email: freshMail() }))],
    ["the code of an address that asked too", async () => {
      const [mine, theirs] = [freshMail(), freshMail()];
      const [, sent] = [await codeFor(backend, mine), await codeFor(backend, theirs)];
      return { kind: "email", body: { email: mine, ...sent } };
    }],
    ["a code that was used", () => ({ kind: "email", body: { ...known } })],
    ["the right code at the sixth try", async () => {
      const mail = freshMail();
      const sent = await codeFor(backend, mail);
      for (let n = 0; n < 5; n++) await verify(backend, mail, { sent, code: other(sent.code) });
      return { kind: "email", body: { email: mail, ...sent } };
    }],
    ["a code of another request", async () => {
      const mine = (await auth(backend, "email/start", { email: freshMail() })).body.request;
      return sent(() => ({ request: mine }));
    }],
    ["no request", () => sent(() => ({ request: undefined })), 400, "bad_message"],
    ["an invalid request", () => sent(() => ({ request: "../../x" }))],
    ["an empty request", () => sent(() => ({ request: "" }))],
    ["a request that is a number", () => sent(() => ({ request: 7 })), 400, "bad_message"],
    ["five digits", () => sent(({ code }) => ({ code: code.slice(0, 5) }))],
    ["seven digits", () => sent(({ code }) => ({ code: `0${code}` }))],
    ["letters", () => sent(() => ({ code: "abcdef" }))],
    ["digits in circles", () => sent(({ code }) => ({ code: code.replace(/\d/g, "\u2460") }))],
    ["an empty code", () => sent(() => ({ code: "" }))],
    ["no code", () => sent(() => ({ code: undefined })), 400, "bad_message"],
    ["a code that is another number", () => sent(({ code }) => ({ code: Number(other(code)) }))],
    ["a code that is no whole number", () => sent(() => ({ code: 1234.5 })), 400, "bad_message"],
    ["a code that is a list of codes", () => sent(({ code }) => ({ code: [code, other(code)] })), 400, "bad_message"],
    ["no address", () => sent(() => ({ email: undefined })), 400, "bad_message"],
    ["two addresses at once", () => sent(({ mail }) => ({ email: `${mail},${freshMail()}` })), 400, "bad_message"],
    ["a phone's code sent as a mail code", async () => {
      const phone = freshPhone();
      return { kind: "email", body: { email: freshMail(), phone, ...(await codeFor(backend, phone)) } };
    }],
    ["a phone's number and code sent as mail", async () => {
      const phone = freshPhone();
      return { kind: "email", body: { phone, ...(await codeFor(backend, phone)) } };
    }, 400, "bad_message"],
    ["a mail code sent as a phone code", async () => {
      const phone = freshPhone();
      return { kind: "phone", body: { phone, ...(await codeFor(backend, freshMail())) } };
    }],
  ];
}

/** Bodies for /v1/auth/refresh. */
export function refreshRows({ backend, user, join }) {
  const but = (change) => async () => ({ refresh_token: change((await join()).refresh) });
  const flipped = (at) => but((token) => {
    const letter = token.at(at) === "A" ? "B" : "A";
    return token.slice(0, at) + letter + (at === -1 ? "" : token.slice(at + 1));
  });
  return [
    ["noise", () => ({ refresh_token: "let me in" })],
    ["an empty token", () => ({ refresh_token: "" })],
    ["a token of the right shape that was never given", () => ({ refresh_token: `so_refresh_${randomBytes(64).toString("base64url")}` })],
    ["an access token", () => ({ refresh_token: user.access })],
    ["a token altered in its session", flipped(14)],
    ["a token altered in its secret", flipped(-40)],
    // Its mark alone proves nothing: of a root that is forgotten it cannot be checked, and what is stored of the token decides.
    ["a token altered in its secret, and in its mark", but((token) => token.slice(0, -48) + "A".repeat(48))],
    ["a token without its prefix", but((token) => token.replace("so_refresh_", ""))],
    ["a token cut short", but((token) => token.slice(0, -4))],
    ["a token and a letter", but((token) => `${token}A`)],
    ["a token after logout", async () => {
      const { refresh } = await join();
      await auth(backend, "logout", { refresh_token: refresh });
      return { refresh_token: refresh };
    }],
    ["the token before the last", async () => {
      const { refresh } = await join();
      const next = (await auth(backend, "refresh", { refresh_token: refresh })).body.refresh_token;
      await auth(backend, "refresh", { refresh_token: next });
      return { refresh_token: refresh };
    }],
    ["no token", () => ({}), 400, "bad_message"],
    ["a token that is a number", () => ({ refresh_token: 7 }), 400, "bad_message"],
    ["no JSON", () => "refresh_token=x", 400, "bad_message"],
  ];
}

/** Access tokens that open neither a socket nor a call. */
export async function accessRows({ user, keySet, idToken }) {
  const [head, body] = partsOf(user.access).map((part, at) => (at < 2 ? JSON.parse(Buffer.from(part, "base64url")) : part));
  const ours = keySet.keys.find((key) => key.kid === head.kid);
  const pem = createPublicKey({ key: ours, format: "jwk" }).export({ type: "spki", format: "pem" });
  const { privateKey: foreign } = await generateKeyPair("EdDSA");
  const { privateKey: rsa } = await generateKeyPair("RS256");
  const hs256 = (secret) => forged({ ...head, alg: "HS256" }, body, hmac(secret));
  return [
    ["alg none", forged({ ...head, alg: "none" }, body)],
    ["alg none over our signature", altered(user.access, { header: { alg: "none" } })],
    ["HS256 with our public JWK as secret", hs256(JSON.stringify(ours))],
    ["HS256 with our public key as secret", hs256(Buffer.from(ours.x, "base64url"))],
    ["HS256 with our public key's text as secret", hs256(ours.x)],
    ["HS256 with our public key's PEM as secret", hs256(pem)],
    ["a foreign Ed25519 key under our kid", await minted(foreign, head, body)],
    ["a foreign RSA key under our kid", await minted(rsa, { ...head, alg: "RS256" }, body)],
    ["an unknown kid", await minted(foreign, { ...head, kid: randomUUID() }, body)],
    ["our signature under an unknown kid", altered(user.access, { header: { kid: randomUUID() } })],
    ["no kid", altered(user.access, { header: { kid: undefined } })],
    ["another sub", altered(user.access, { payload: { sub: "somebody" } })],
    ["another role", altered(user.access, { payload: { role: "admin" } })],
    ["a longer life", altered(user.access, { payload: { exp: claimsOf(user.access).exp + 3600 } })],
    ["another session", altered(user.access, { payload: { sid: "01ARZ3NDEKTSV4RRFFQ69G5FAV" } })],
    ["a scratched signature", scratched(user.access)],
    ["no signature", `${partsOf(user.access).slice(0, 2).join(".")}.`],
    ["an id_token of the provider", idToken],
    ["a refresh token", user.refresh],
    ["two dots", ".."],
    ["a token of 5 KB", await minted(foreign, head, { ...body, filling: "f".repeat(4000) })],
  ];
}
