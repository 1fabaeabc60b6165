// Passkeys: whether this page can ask for the server's, and how the field of an address offers them by itself.
import { session } from "./live.js";

/** A challenge is good for five minutes. */
const ASK_AGAIN_MS = 240_000;

/** Whether this browser, at this page's address, can use the server's passkeys. */
export const canUse = ({ passkey }) =>
  Boolean(passkey && globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON) &&
  `.${location.hostname}`.endsWith(`.${passkey.domain}`);

/** Lets the browser offer passkeys in a field with `autocomplete="… webauthn"`, until one was chosen or `signal` ends it. */
export async function suggest(signal) {
  if (!(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
  while (!signal.aborted) {
    const round = AbortSignal.any([signal, AbortSignal.timeout(ASK_AGAIN_MS)]);
    const again = await session.passkey({ mediation: "conditional", signal: round }).then(() => false, () => round.aborted);
    if (!again) return;
  }
}
