// Signing in: an address, the code that was sent to it, and a handle for a new user.
import { ADDRESSES, CODE, outboxButton } from "./codes.js";
import { button, h, text } from "./dom.js";
import { because } from "./effects.js";
import { heeded, session } from "./live.js";
import { canUse, suggest } from "./passkeys.js";
import { leave, offered, proven, returned } from "./providers.js";

const WORDS = {
  unauthorized: "That is not right, or no longer valid. Check it, or start again.",
  conflict: "That handle is taken. Try another.",
  no_passkey: "You were not signed in by a passkey. Try again, or take another way.",
};
const why = (error) => WORDS[error.code] ?? because(error);

/** What else to sign in by, and what its button says. */
const OTHER = { email: ["phone", "Use a phone number"], phone: ["email", "Use an email address"] };

/** The page. `session` itself reports when somebody has signed in. */
export function signIn() {
  const trouble = h("p.trouble", { role: "alert" });
  const step = h("div.step");
  const others = h("div.others");
  let ways = {};

  const fail = (error) => {
    text(trouble, why(error));
    comeAgain(error);
  };

  /** Shows a step: one field, the button that continues, and other buttons. */
  const show = (label, hint, props, go, act, ...more) => {
    const input = h("input", { id: "field", required: true, autocapitalize: "none", spellcheck: "false", "aria-describedby": "hint", ...props });
    const next = h("button.primary", go);
    const submit = async (event) => {
      event.preventDefault();
      text(trouble, "");
      next.disabled = true;
      await heeded(act(input.value.trim())).catch(fail);
      next.disabled = false;
    };
    text(trouble, "");
    step.replaceChildren(h("form.step", { onsubmit: submit }, h("div.field", h("label", { for: "field" }, label), input, h("p.note", { id: "hint" }, hint)), next), ...more);
    input.focus();
    return input;
  };

  const address = (kind = "email") => {
    const { label, type, hint = "", start } = ADDRESSES[kind];
    const [other, instead] = OTHER[kind];
    const begin = async (said) => {
      const { to = said, request } = await session[start](said);
      code(kind, to, request);
    };
    show(label, hint, { type, autocomplete: `${type} webauthn` }, "Send code", begin,
      button(instead, () => address(other), { kind: "quiet" }), others);
  };

  const code = (kind, to, request) => {
    const check = (code) => prove((handle) => session[ADDRESSES[kind].verify]({ [kind]: to, code, request, ...handle }));
    const input = show("Code", `We have sent it to ${to}.`, CODE, "Sign in", check,
      ways.outbox ? outboxButton(to, () => input, trouble) : "",
      button("Start again", () => address(kind), { kind: "quiet" }));
  };

  /** Sends a proof, and once more with a handle when the account is new. */
  const prove = (verify) => verify({}).catch((error) => {
    if (error.code !== "handle_required") throw error;
    const lower = ({ target }) => (target.value = target.value.toLowerCase().replaceAll(/[^a-z0-9_]/g, ""));
    show("Handle", "You are new here: this is how others find you. 3 to 30 of a–z, 0–9 and _.",
      { autocomplete: "username", maxlength: 30, pattern: "[a-z0-9_]{3,30}", oninput: lower }, "Create account", (handle) => verify({ handle }));
  });

  /** The browser asks for one passkey at a time: what the field offers makes way. */
  let offering = new AbortController();
  const offer = () => {
    offering.abort();
    offering = new AbortController();
    suggest(offering.signal);
  };
  const byPasskey = async () => {
    text(trouble, "");
    offering.abort();
    await heeded(session.passkey()).catch((error) => (fail(error), offer()));
  };
  session.on("change", () => offering.abort());

  const back = returned();
  address();
  const look = () => heeded(session.ways()).then((known) => {
    ways = known;
    if (coming) text(trouble, "");
    const passkey = canUse(ways) ? [button("Sign in with a passkey", byPasskey)] : [];
    if (passkey.length > 0) offer();
    others.replaceChildren(...passkey, ...offered(ways).map(([name, title]) => button(`Continue with ${title}`, () => leave(name, ways))));
    if (ways.outbox) others.append(h("p", "This server is for trying things out. Developers may want the ", h("a", { href: "console" }, "console"), "."));
  }).catch(comeAgain);
  let coming;
  /** When the service is closed: looks again when it says, so that the notice goes away. */
  function comeAgain({ code, retryAfterMs = 30_000 }) {
    clearTimeout(coming);
    if (code === "closed") coming = setTimeout(look, retryAfterMs);
  }
  look();
  if (back?.error) text(trouble, back.error);
  if (back?.proof) heeded(prove((handle) => proven(session, back.name, { ...back.proof, ...handle }))).catch(fail);
  return h("div.welcome", h("h1", "Sound Off"), h("p.lead", "Say it, and it is there: live, on every device, exactly once."), step, trouble);
}
