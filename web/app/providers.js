// Signing in with Apple, Twitter/X or an OpenID provider: the user goes there and comes back with a proof, without any script of theirs.
import { home } from "./live.js";

const KEY = "soundoff.app/provider";
const OPENID = "openid/";
const letters = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => letters(crypto.getRandomValues(new Uint8Array(32)));

/** Which of the configured ways to sign in this page can use. */
export const offered = ({ apple, twitter, openid = [] }) => [
  ...(apple?.client_id ? [["apple", "Apple"]] : []),
  ...(twitter?.redirect_uris.includes(home()) ? [["twitter", "X"]] : []),
  ...openid.filter(({ redirect_uris }) => redirect_uris?.includes(home())).map(({ name, title }) => [`${OPENID}${name}`, title]),
];

/** Goes to the provider's page. What proves that the answer is ours stays in this tab. */
export async function leave(name, ways) {
  const [state, secret, nonce] = [random(), random(), random()];
  const { client_id, authorize_url, scope, issuer } = ways[name] ?? ways.openid.find((provider) => `${OPENID}${provider.name}` === name);
  sessionStorage.setItem(KEY, JSON.stringify({ name, state, secret, nonce, issuer }));
  const url = new URL(authorize_url);
  const hash = async () => letters(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret))));
  const asked = name === "apple"
    ? { response_type: "code id_token", response_mode: "fragment", nonce }
    : { response_type: "code", code_challenge: await hash(), code_challenge_method: "S256", ...(scope && { scope, nonce }) };
  for (const [key, value] of Object.entries({ client_id, redirect_uri: home(), state, ...asked })) url.searchParams.set(key, value);
  location.assign(url);
}

/** The proof with which the provider has sent the user back: `{name, proof}`, `{name, error}`, or null when nobody comes back. */
export function returned() {
  const answer = new URLSearchParams(location.hash.startsWith("#/") || location.hash === "" ? location.search : location.hash.slice(1));
  if (!answer.has("state")) return null;
  history.replaceState(null, "", ".");
  const { name, state, secret, nonce, issuer } = JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  sessionStorage.removeItem(KEY);
  // A provider that says who it is (RFC 9207) must be the one that was asked: one could pass another's code off as its own.
  const another = issuer && answer.has("iss") && answer.get("iss") !== issuer;
  if (!name || state !== answer.get("state") || another) return { name, error: "That answer was not asked for here. Try again." };
  if (answer.has("error")) return { name, error: "You were not signed in there. Try again, or take another way." };
  if (name === "apple") return { name, proof: { id_token: answer.get("id_token"), nonce } };
  return { name, proof: { code: answer.get("code"), code_verifier: secret, redirect_uri: home(), ...(name.startsWith(OPENID) && { nonce }) } };
}

/** Signs in with such a proof. */
export const proven = (session, name, proof) =>
  name.startsWith(OPENID) ? session.openid(name.slice(OPENID.length), proof) : session[name](proof);
