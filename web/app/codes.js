// One-time codes: the field that takes one, and where a server that is for trying things out shows those that it sends.
import { button, text } from "./dom.js";
import { because } from "./effects.js";
import { ask } from "./pairing.js";

/** Six digits of any script, in groups or not: the server reads them, too. */
export const CODE = { inputmode: "numeric", autocomplete: "one-time-code", pattern: "(\\P{Nd}*\\p{Nd}){6}\\P{Nd}*" };

/** The addresses that get codes: how they are asked for, and the calls about them. A phone's hint says what people should know before. */
export const ADDRESSES = {
  email: { label: "Email", type: "email", start: "startEmail", verify: "verifyEmail" },
  phone: {
    label: "Phone", type: "tel", start: "startPhone", verify: "verifyPhone",
    hint: "With the country code, such as +44 7700 900123. Texts can be read by others; mail is safer, and a passkey the safest.",
  },
};

/** The newest code in the outbox that was sent to an address, also if that is known masked only. */
async function fromOutbox(to) {
  const answer = await ask("dev/outbox").catch(() => Promise.reject({ code: "offline" }));
  const { items, detail } = await answer.json();
  if (!items) throw { message: detail };
  const found = items.map((item) => [item.to, item.text.match(/\b\d{6}\b/)?.[0]]);
  return found.find(([at, code]) => code && (at === to || to.includes("…")))?.[1];
}

/** A button that puts the code that was sent `to` an address into a field, or says why not. `field` gives the field. */
export function outboxButton(to, field, trouble, look) {
  const open = async () => {
    const found = await fromOutbox(to);
    text(trouble, found ? "" : "It is not in the outbox yet. Try again in a moment.");
    field().value = found ?? "";
    field().focus();
  };
  return button("Open the outbox", () => open().catch((error) => text(trouble, because(error))), look);
}
