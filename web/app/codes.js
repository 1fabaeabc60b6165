// One-time codes: the field that takes one, and where a server that is for trying things out shows those that it sends.
import { ask } from "./pairing.js";

/** Six digits of any script, in groups or not: the server reads them, too. */
export const CODE = { inputmode: "numeric", autocomplete: "one-time-code", pattern: "(\\P{Nd}*\\p{Nd}){6}\\P{Nd}*" };

/** What people know before they give a phone number. */
export const TEXTS = "With the country code, such as +44 7700 900123. Texts can be read by others; mail is safer, and a passkey the safest.";

/** The newest code in the outbox that was sent to an address, also if that is known masked only. */
export async function fromOutbox(to) {
  const answer = await ask("dev/outbox").catch(() => Promise.reject({ code: "offline" }));
  const { items, detail } = await answer.json();
  if (!items) throw { message: detail };
  const found = items.map((item) => [item.to, item.text.match(/\b\d{6}\b/)?.[0]]);
  return found.find(([at, code]) => code && (at === to || to.includes("…")))?.[1];
}
