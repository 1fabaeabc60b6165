// Signing in with Apple or Twitter/X: the user goes there and comes back with a proof, without any script of theirs.
import { home } from "./live.js";

const KEY = "soundoff.app/provider";
const letters = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => letters(crypto.getRandomValues(new Uint8Array(32)));

/** Which of the configured ways to sign in this page can use. */
export const offered = ({ apple, twitter }) => [
  ...(apple?.client_id ? [["apple", "Apple"]] : []),
  ...(twitter?.redirect_uris.includes(home()) ? [["twitter", "X"]] : []),
];

/** Goes to the provider's page. What proves that the answer is ours stays in this tab. */
export async function leave(name, ways) {
  const [state, secret] = [random(), random()];
  sessionStorage.setItem(KEY, JSON.stringify({ name, state, secret }));
  const { client_id, authorize_url } = ways[name];
  const url = new URL(authorize_url);
  const hash = async () => letters(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret))));
  const asked = name === "apple"
    ? { response_type: "code id_token", response_mode: "fragment", nonce: secret }
    : { response_type: "code", code_challenge: await hash(), code_challenge_method: "S256" };
  for (const [key, value] of Object.entries({ client_id, redirect_uri: home(), state, ...asked })) url.searchParams.set(key, value);
  location.assign(url);
}

/** The proof with which the provider has sent the user back: `{name, proof}`, `{name, error}`, or null when nobody comes back. */
export function returned() {
  const answer = new URLSearchParams(location.hash.startsWith("#/") || location.hash === "" ? location.search : location.hash.slice(1));
  if (!answer.has("state")) return null;
  history.replaceState(null, "", ".");
  const { name, state, secret } = JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  sessionStorage.removeItem(KEY);
  if (!name || state !== answer.get("state")) return { name, error: "That answer was not asked for here. Try again." };
  if (answer.has("error")) return { name, error: "You were not signed in there. Try again, or take another way." };
  const proof = name === "apple"
    ? { id_token: answer.get("id_token"), nonce: secret }
    : { code: answer.get("code"), code_verifier: secret, redirect_uri: home() };
  return { name, proof };
}
