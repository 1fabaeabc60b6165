// How the user's account is signed in to: by which ways, and where it is now.
import { attribute, button, h, moment, rows, status, text } from "./dom.js";
import { because } from "./effects.js";
import { ADDRESSES, CODE, outboxButton } from "./codes.js";
import { changed, session } from "./live.js";
import { canUse } from "./passkeys.js";

const KINDS = { email: ADDRESSES.email.label, phone: ADDRESSES.phone.label, apple: "Apple", twitter: "X", foreign: "Account elsewhere", passkey: "Passkey" };
const WORDS = {
  unauthorized: "That is not right, or no longer valid. Check it, or ask for another code.",
  not_found: "It is not there any more.",
  no_passkey: "No passkey came from this device. Try again, or on another device.",
  passkey_required: "Your account has a role that wants a passkey, and this session has none. Ask an operator to take the role away until you have added one.",
  proof_required: "Sign out and sign in again first: then you can do this within ten minutes.",
};
const why = (error) => WORDS[error.code] ?? because(error);

/** A dialog of one field after another; `next` puts in the next, and closes it when there is none. */
function dialog(title) {
  const trouble = h("p.trouble", { role: "alert" });
  const step = h("div.step");
  const box = h("dialog", { "aria-labelledby": "asked" }, h("h2", { id: "asked" }, title), step, trouble);
  const closed = new Promise((resolve) => box.addEventListener("close", () => (box.remove(), resolve(box.returnValue))));
  const attempt = async (submit, act) => {
    text(trouble, "");
    submit.disabled = true;
    await act().catch((error) => text(trouble, why(error)));
    submit.disabled = false;
  };
  const ask = ({ label, hint = "", go, props, act, more = [] }) => {
    const input = h("input", { id: "asked-for", required: true, autocapitalize: "none", spellcheck: "false", "aria-describedby": "asked-hint", ...props });
    const submit = h("button.primary", go);
    const form = h("form.step", { onsubmit: (event) => (event.preventDefault(), attempt(submit, () => act(input.value.trim()))) },
      h("div.field", h("label", { for: "asked-for" }, label), input, h("p.note", { id: "asked-hint" }, hint)),
      h("p.buttons", ...more.map((make) => make(input, trouble)), button("Cancel", () => box.close()), submit));
    step.replaceChildren(form);
    input.focus();
  };
  document.body.append(box);
  box.showModal();
  return { ask, box, step, attempt, closed };
}

/** Asks for a code that was sent `to` an address. */
async function askForCode(asking, to, go, act) {
  const { outbox } = await session.ways();
  const open = (input, trouble) => outboxButton(to, () => input, trouble, { kind: "quiet" });
  asking.ask({ label: "Code", hint: `We have sent it to ${to}.`, go, props: CODE, act, more: outbox ? [open] : [] });
}

/**
 * Proves by a passkey or by a code to one of the user's own addresses who they are; resolves to whether they did.
 * `wanted` says that only a passkey will do.
 */
async function prove(identities, wanted) {
  const own = wanted ? [] : identities.filter(({ kind }) => Object.hasOwn(ADDRESSES, kind));
  const passkey = identities.some(({ kind }) => kind === "passkey") && canUse(await session.ways());
  if (own.length === 0 && !passkey) return false;
  const asking = dialog("Is it you?");
  const send = ({ id, kind, value }) => {
    const choice = button(`Send a code to ${value}`, () => asking.attempt(choice, async () => {
      const { request, to } = await session.startProof(id);
      await askForCode(asking, to, "Continue", async (code) => {
        await session.prove({ id, request, code });
        asking.box.close("proved");
      });
    }), { kind: kind === own[0].kind && !passkey ? "primary" : "" });
    return choice;
  };
  const choice = button("Use a passkey", () => asking.attempt(choice, async () => {
    await session.passkey({ link: true });
    asking.box.close("proved");
  }), { kind: "primary" });
  const words = wanted ? "Your account has a role that wants a passkey." : "You signed in a while ago.";
  asking.step.append(h("p", `${words} Before this changes, show that it is you.`),
    h("p.choices", ...(passkey ? [choice] : []), ...own.map(send), button("Cancel", () => asking.box.close())));
  return (await asking.closed) === "proved";
}

/** Adds an address as a way to sign in; resolves to whether it was. */
async function add(kind, proven) {
  const { label, type, hint, start, verify } = ADDRESSES[kind];
  const asking = dialog(kind === "email" ? "Add an email address" : "Add a phone number");
  const begin = async (said) => {
    const { request, to = said } = await session[start](said);
    await askForCode(asking, to, "Add", async (code) => {
      await proven(() => session[verify]({ [kind]: to, code, request }, { link: true }));
      asking.box.close("added");
    });
  };
  asking.ask({ label, hint, go: "Send code", props: { type, autocomplete: type }, act: begin });
  return (await asking.closed) === "added";
}

export function settings(signal) {
  const [ways, places, trouble] = [h("ul.list", { "aria-label": "Ways to sign in" }), h("ul.list", { "aria-label": "Sessions" }), h("p.trouble", { role: "alert" })];
  const note = status("Loading…");
  let [identities, sessions] = [[], []];

  const load = async () => {
    const [known, open, ways] = await Promise.all([session.identities(), session.sessions(), session.ways()]);
    [identities, sessions] = [known.items, open.items];
    addPasskey.hidden = !canUse(ways);
    text(note, "");
    if (!signal.aborted) changed();
  };
  /** Does something that may want a fresh proof, which is asked for then; nothing is used up by the first try. */
  const proven = (act) => act().catch(async (error) => {
    const wanted = error.code === "passkey_required";
    if (!(wanted || error.code === "proof_required") || !(await prove(identities, wanted))) throw error;
    await act();
  });
  /** Changes something, and shows the outcome. */
  const change = async (act) => {
    text(trouble, "");
    try {
      await act();
      await load();
    } catch (error) {
      text(trouble, why(error));
    }
  };
  const changing = (act) => () => change(() => proven(act));
  const adding = (kind) => () => change(() => add(kind, proven));

  const wayRow = ({ id, kind, value }) => {
    const name = KINDS[kind] ?? kind;
    const line = h("li.panel.row", h("div", h("b", name), " ", h("bdi", value)));
    const remove = button("Remove", changing(() => session.unlink(id)), { "aria-label": `Remove ${name} ${value}` });
    line.append(remove);
    // Devices are lost: what is no passkey stays.
    const isLast = () => kind !== "passkey" && identities.filter((other) => other.kind !== "passkey").length < 2;
    line.update = () => (remove.hidden = isLast());
    return line;
  };
  const placeRow = ({ id, current, client, way, begun_at }) => {
    const [used, name] = [moment(), client ?? "A program"];
    const line = h("li.panel.row", h("div", h("p", h("b", name), current ? " · this one" : ""),
      h("p.note", `Since ${new Date(begun_at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })}${way ? ` by ${KINDS[way] ?? way}` : ""}, last used `, used)));
    if (!current) line.append(button("End", changing(() => session.endSession(id)), { "aria-label": `End ${name}` }));
    line.update = ({ used_at }) => used.update(used_at);
    return line;
  };

  const addPasskey = button("Add a passkey", changing(() => session.addPasskey()), { hidden: true });
  const others = button("End all others", changing(() => session.endSession("others")));
  const element = h("div.settings", h("h1", "Settings"),
    h("a.panel.row", { href: "#/settings/privacy" }, h("span", h("b", "Privacy"), h("span.note.quote", "Private account, who may write and comment, close friends"))), trouble, note,
    h("h2", "Ways to sign in"), ways, h("p.buttons", button("Add email", adding("email")), button("Add phone", adding("phone")), addPasskey),
    h("h2", "Where you are signed in"), places, h("p.buttons", others));
  load().catch((error) => text(note, why(error)));

  const update = () => {
    rows(ways, identities, ({ id }) => id, wayRow);
    rows(places, sessions, ({ id }) => id, placeRow);
    attribute(others, "hidden", sessions.length < 2);
  };
  return { title: "Settings", element, update };
}
