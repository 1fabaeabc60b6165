// id_tokens that must be refused. Each row's token differs from a valid one in what its name says, and in nothing else.
import { KeyObject, createHash, createPublicKey, generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import { CompactSign, SignJWT, exportJWK, generateKeyPair, importJWK } from "jose";
import { altered, forged, hmac, partsOf, pss, scratched, signed } from "./forge.mjs";
import { APP, OTHER_APP } from "./mock.mjs";

const now = () => Math.floor(Date.now() / 1000);

/** The provider's keys, an attacker's, and keys too weak that are published all the same. */
export async function keysFor(mock) {
  const { privateKey: attacker, publicKey } = await generateKeyPair("RS256", { extractable: true });
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const shared = randomBytes(32);
  const curve = generateKeyPairSync("ec", { namedCurve: "P-256" });
  mock.odd = [
    { ...weak.publicKey.export({ format: "jwk" }), kid: "weak", alg: "RS256", use: "sig" },
    { kty: "oct", k: shared.toString("base64url"), kid: "shared", alg: "HS256", use: "sig" },
    { ...curve.publicKey.export({ format: "jwk" }), kid: "curve", alg: "ES256", use: "sig" },
  ];
  const { alg: _, kid, ...jwk } = mock.key;
  const publicJwk = mock.issuer.keys.toJSON().find((key) => key.kid === kid);
  mock.baitKeys = [{ ...(await exportJWK(publicKey)), kid, alg: "RS256", use: "sig" }];
  const right = await importJWK({ ...jwk, ext: true }, "RS256", { extractable: true });
  return {
    kid, publicJwk, attacker, attackerJwk: await exportJWK(publicKey), weak, shared, curve,
    right: KeyObject.from(right),
    pem: createPublicKey({ key: publicJwk, format: "jwk" }).export({ type: "spki", format: "pem" }),
    as: (alg) => importJWK(jwk, alg),
  };
}

/** The claims of a good token. */
export const goodClaims = (mock, nonce) => ({ iss: mock.url, aud: APP, sub: randomUUID(), nonce, iat: now(), exp: now() + 600 });

/** Signed by jose, as a provider would. */
export const minted = (key, header, claims) => new SignJWT(claims).setProtectedHeader(header).sign(key);

/** The table: [name, how the token is made, then the result unless that is 401 unauthorized]. */
export function appleRows({ mock, keys, openid, used, user }) {
  const { kid, right, attacker, attackerJwk, pem, publicJwk } = keys;
  const claims = (nonce, change) => ({ ...goodClaims(mock, nonce), ...change });
  const header = { alg: "RS256", kid, typ: "JWT" };
  // By the provider itself, which lets the claims be changed before it signs.
  const changed = (change) => (nonce) => mock.idToken({ nonce, change });
  const claiming = (change) => changed(({ payload }) => Object.assign(payload, change));
  const without = (...names) => changed(({ payload }) => names.forEach((name) => delete payload[name]));
  const heading = (change) => changed((token) => { token.header = { ...token.header, ...change }; });
  const hs256 = (secret) => (nonce) => minted(Buffer.from(secret), { ...header, alg: "HS256" }, claims(nonce));
  const by = (alg) => async (nonce) => minted(await keys.as(alg), { ...header, alg }, claims(nonce));
  const attacking = (change) => (nonce) => minted(attacker, { ...header, ...change }, claims(nonce));
  const critical = (names, extra) => (nonce) =>
    new CompactSign(Buffer.from(JSON.stringify(claims(nonce))))
      .setProtectedHeader({ ...header, crit: names, ...extra })
      .sign(right, { crit: Object.fromEntries(names.map((name) => [name, true])) });
  const text = (json) => (nonce) => forged(header, json(JSON.stringify(claims(nonce)).slice(1, -1), nonce), signed(right));
  const body = (change) => async (nonce) => ({ id_token: await mock.idToken({ nonce }), nonce, ...change(nonce) });

  return [
    ["alg none", (nonce) => forged({ ...header, alg: "none" }, claims(nonce))],
    ["alg None", (nonce) => forged({ ...header, alg: "None" }, claims(nonce))],
    ["alg none over a good signature", async (nonce) => altered(await mock.idToken({ nonce }), { header: { alg: "none" } })],
    ["alg none with a signature of the right key", (nonce) => forged({ ...header, alg: "none" }, claims(nonce), signed(right))],
    ["alg missing", (nonce) => forged({ kid, typ: "JWT" }, claims(nonce), signed(right))],
    ["HS256 with the public key's PEM as secret", hs256(pem)],
    ["HS256 with the PEM trimmed", hs256(pem.trim())],
    ["HS256 with the public key's JWK as secret", hs256(JSON.stringify(publicJwk))],
    ["HS256 with the modulus as secret", hs256(Buffer.from(publicJwk.n, "base64url"))],
    ["HS256 with the client id as secret", hs256(APP)],
    ["HS256 with no secret", (nonce) => forged({ ...header, alg: "HS256" }, claims(nonce), hmac(""))],
    ["RS384 by the right key", by("RS384")],
    ["RS512 by the right key", by("RS512")],
    ["PS256 by the right key", by("PS256")],
    ["PSS under a header that says RS256", (nonce) => forged(header, claims(nonce), pss(right))],
    ["ES256 in the header over the right RSA key", (nonce) => forged({ ...header, alg: "ES256" }, claims(nonce), signed(right))],
    ["ES256 by an attacker's curve under the RSA key's id", async (nonce) => {
      const { privateKey } = await generateKeyPair("ES256");
      return minted(privateKey, { ...header, alg: "ES256" }, claims(nonce));
    }],
    ["RS256 by the RSA key under the curve's id", heading({ kid: "curve" })],
    ["another issuer", claiming({ iss: "https://appleid.apple.com" })],
    ["the issuer with a slash", claiming({ iss: `${mock.url}/` })],
    ["the issuer in capitals", claiming({ iss: mock.url.toUpperCase() })],
    ["the issuer among others", claiming({ iss: [mock.url, "https://appleid.apple.com"] })],
    ["the issuer missing", without("iss")],
    ["another audience", claiming({ aud: "org.example.other" })],
    ["our audience with more to it", claiming({ aud: `${APP}.evil` })],
    ["our audiences in one string", claiming({ aud: `${APP},${OTHER_APP}` })],
    ["our audience among others, issued to another", claiming({ aud: [APP, "org.example.other"], azp: "org.example.other" })],
    ["our audience among others, issued to nobody", claiming({ aud: [APP, "org.example.other"] })],
    ["our audience alone, issued to another", claiming({ azp: "org.example.other" })],
    ["no audience in the list", claiming({ aud: [] })],
    ["audience missing", without("aud")],
    ["audience null", claiming({ aud: null })],
    ["an unknown kid", heading({ kid: randomUUID() })],
    ["no kid", changed((token) => { delete token.header.kid; })],
    ["an empty kid", heading({ kid: "" })],
    ["kid of a file", heading({ kid: "../../../../dev/null" })],
    ["kid of a query", heading({ kid: `' UNION SELECT '${kid}' --` })],
    ["kid with a zero byte", heading({ kid: `${kid}\0` })],
    ["kid that is a number", (nonce) => forged({ ...header, kid: 1 }, claims(nonce), signed(right))],
    ["the attacker's key in the header (jwk)", attacking({ jwk: attackerJwk })],
    ["the attacker's key set in the header (jku)", attacking({ jku: mock.bait })],
    ["the attacker's certificate in the header (x5u)", attacking({ x5u: mock.bait })],
    ["the attacker's certificate in the header (x5c)", attacking({ x5c: [randomBytes(64).toString("base64")] })],
    ["a jwk in the header, and its kid", attacking({ jwk: { ...attackerJwk, kid: "mine" }, kid: "mine" })],
    ["crit of something unknown", critical(["http://example.org/x"], { "http://example.org/x": 1 })],
    ["crit of exp", critical(["exp"], { exp: now() + 600 })],
    ["crit that is empty", (nonce) => forged({ ...header, crit: [] }, claims(nonce), signed(right))],
    ["b64 false", (nonce) => {
      const head = Buffer.from(JSON.stringify({ ...header, b64: false, crit: ["b64"] })).toString("base64url");
      const raw = JSON.stringify(claims(nonce));
      return `${head}.${raw}.${signed(right)(`${head}.${raw}`).toString("base64url")}`;
    }],
    ["typ of an access token", heading({ typ: "at+jwt" })],
    ["typ of a logout token", heading({ typ: "logout+jwt" })],
    ["typ of a DPoP proof", heading({ typ: "dpop+jwt" })],
    ["expired", claiming({ iat: now() - 700, exp: now() - 100 })],
    ["expired a second ago", claiming({ iat: now() - 700, exp: now() - 1 })],
    ["issued in the future", claiming({ iat: now() + 300, exp: now() + 900 })],
    ["good in the future only", claiming({ nbf: now() + 300 })],
    ["issued two days ago, and said to be good for long", claiming({ iat: now() - 2 * 86400, exp: now() + 365 * 86400 })],
    ["iat missing", without("iat")],
    ["iat negative", claiming({ iat: -1 })],
    ["exp missing", without("exp")],
    ["exp as text", claiming({ exp: String(now() + 600) })],
    ["exp beyond all numbers", text((inside) => `{${inside.replace(/"exp":\d+/, '"exp":1e400')}}`)],
    ["nbf as text", claiming({ nbf: "0" })],
    ["sub missing", without("sub")],
    ["sub empty", claiming({ sub: "" })],
    ["sub a number", claiming({ sub: 42 })],
    ["sub null", claiming({ sub: null })],
    ["sub of 300 characters", claiming({ sub: "s".repeat(300) })],
    ["another nonce", claiming({ nonce: randomUUID() })],
    ["nonce missing in the token", without("nonce")],
    ["nonce null in the token", claiming({ nonce: null })],
    ["nonce missing in the request", body(() => ({ nonce: undefined })), 400, "bad_message"],
    ["nonce null in the request", body(() => ({ nonce: null })), 400, "bad_message"],
    ["nonce empty in the request", body(() => ({ nonce: "" }))],
    ["nonce empty in both", async (nonce) => ({ id_token: await mock.idToken({ nonce, change: (t) => { t.payload.nonce = ""; } }), nonce: "" })],
    ["nonce too short in both", async () => ({ id_token: await mock.idToken({ nonce: "short" }), nonce: "short" })],
    ["the nonce's hash as nonce", async (nonce) => ({ id_token: await mock.idToken({ nonce }), nonce: createHash("sha256").update(nonce).digest("hex") })],
    ["a token that was used", () => ({ ...used })],
    ["another token with the nonce of one that was used", async () => ({ id_token: await mock.idToken({ nonce: used.nonce }), nonce: used.nonce })],
    ["no signature", async (nonce) => `${partsOf(await mock.idToken({ nonce })).slice(0, 2).join(".")}.`],
    ["no third part", async (nonce) => partsOf(await mock.idToken({ nonce })).slice(0, 2).join(".")],
    ["the signature of another token", async (nonce) => {
      const [good, other] = [await mock.idToken({ nonce }), await mock.idToken()];
      return [...partsOf(good).slice(0, 2), partsOf(other)[2]].join(".");
    }],
    ["a scratched signature", async (nonce) => scratched(await mock.idToken({ nonce }))],
    ["a signature too short", async (nonce) => (await mock.idToken({ nonce })).slice(0, -8)],
    ["a payload altered", async (nonce) => altered(await mock.idToken({ nonce }), { payload: { sub: "somebody-else" } })],
    ["a header altered", async (nonce) => altered(await mock.idToken({ nonce }), { header: { cty: "JWT" } })],
    ["a fourth part", async (nonce) => `${await mock.idToken({ nonce })}.x`],
    ["padding after the signature", async (nonce) => `${await mock.idToken({ nonce })}==`],
    ["a foreign key under the right id", attacking({})],
    ["a published RSA key of 1024 bits", (nonce) => forged({ ...header, kid: "weak" }, claims(nonce), signed(keys.weak.privateKey))],
    ["a published shared secret", (nonce) => minted(keys.shared, { ...header, alg: "HS256", kid: "shared" }, claims(nonce))],
    ["a token of the other provider", async (nonce) => openid.idToken("anna", nonce)],
    ["two algs, the first of them none", (nonce) => forged(`{"alg":"none",${JSON.stringify(header).slice(1)}`, claims(nonce), signed(right))],
    ["two kids, the last of them ours", (nonce) => forged(`{"kid":"weak",${JSON.stringify(header).slice(1)}`, claims(nonce), signed(right))],
    ["two subs", text((inside) => `{"sub":"somebody-else",${inside}}`)],
    ["two audiences, ours the last", text((inside) => `{"aud":"org.example.other",${inside}}`)],
    ["two nonces", text((inside, nonce) => `{${inside},"nonce":${JSON.stringify(nonce)}}`)],
    ["claims that are a list", text(() => "[]")],
    ["claims that are no JSON", text(() => "{")],
    ["our own access token", () => user.access],
    ["a refresh token of ours", () => user.refresh],
    ["no JWT at all", () => "let me in"],
    ["an empty token", () => ""],
    ["two dots", () => ".."],
    ["a token of 9 KB", claiming({ filling: "f".repeat(7000) })],
    ["a token of 20 KB", claiming({ filling: "f".repeat(15000) }), 413, "too_large"],
    ["a token that is a list", () => ({ id_token: [], nonce: randomUUID() }), 400, "bad_message"],
    ["no token", () => ({ nonce: randomUUID() }), 400, "bad_message"],
  ];
}
