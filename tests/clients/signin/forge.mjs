// Tokens that no library makes willingly: parts put together by hand, signed with whatever.
import { constants, createHmac, sign } from "node:crypto";

const base64 = (part) => (typeof part === "string" || Buffer.isBuffer(part) ? Buffer.from(part) : Buffer.from(JSON.stringify(part))).toString("base64url");

/** header.payload.signature; text goes in as it is, so that JSON may be odd. */
export function forged(header, payload, signer = () => "") {
  const input = `${base64(header)}.${base64(payload)}`;
  return `${input}.${base64(signer(input))}`;
}

export const hmac = (secret) => (input) => createHmac("sha256", secret).update(input).digest();

/** Of a KeyObject: PKCS #1 for RSA, raw r‖s for EC, and Ed25519 when the hash is null. */
export const signed = (key, hash = "sha256") => (input) => sign(hash, Buffer.from(input), { key, dsaEncoding: "ieee-p1363" });

export const pss = (key) => (input) =>
  sign("sha256", Buffer.from(input), { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST });

export const partsOf = (token) => token.split(".");

const json = (part) => JSON.parse(Buffer.from(part, "base64url"));

/** The token with another header or payload under the signature it had. */
export function altered(token, { header, payload }) {
  const [head, body, signature] = partsOf(token);
  return [base64({ ...json(head), ...header }), base64({ ...json(body), ...payload }), signature].join(".");
}

/** The token with one character of its signature changed: never the last, whose low bits may be ignored. */
export function scratched(token) {
  const at = token.lastIndexOf(".") + 5;
  return `${token.slice(0, at)}${token[at] === "A" ? "B" : "A"}${token.slice(at + 1)}`;
}
