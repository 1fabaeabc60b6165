// Signing in: who somebody is, the code that was sent there, and a handle for who is new.
import { button, h, text } from "./dom.js";
import { session } from "./live.js";
import { leave, offered, returned } from "./providers.js";

const WORDS = {
  unauthorized: "That is not right, or no longer good. Look again, or begin anew.",
  conflict: "That handle is taken. Try another.",
  offline: "The server cannot be reached. Try again in a moment.",
};

const because = ({ code, message, retryAfterMs = 5000 }) =>
  code === "rate_limited" ? `That was often. Try again in ${Math.ceil(retryAfterMs / 1000)} seconds.` : (WORDS[code] ?? `${message}.`);

const KINDS = {
  email: { label: "Email", type: "email", other: "phone", instead: "Use a phone number", start: "startEmail", verify: "verifyEmail" },
  phone: { label: "Phone", type: "tel", hint: "With the country code, such as +44 7700 900123", other: "email", instead: "Use an email address", start: "startPhone", verify: "verifyPhone" },
};

/** The page. `session` says by itself when somebody has signed in. */
export function signIn() {
  const trouble = h("p.trouble", { role: "alert" });
  const step = h("div.step");
  const others = h("p.others");
  let ways = {};

  /** Shows a step: one field, the button that goes on from there, and what else there is to do. */
  const show = (label, hint, props, go, act, ...more) => {
    const input = h("input", { id: "field", required: true, autocapitalize: "none", spellcheck: "false", "aria-describedby": "hint", ...props });
    const next = h("button.primary", go);
    const submit = async (event) => {
      event.preventDefault();
      text(trouble, "");
      next.disabled = true;
      await act(input.value.trim()).catch((error) => text(trouble, because(error)));
      next.disabled = false;
    };
    text(trouble, "");
    step.replaceChildren(h("form.step", { onsubmit: submit }, h("div.field", h("label", { for: "field" }, label), input, h("p.note", { id: "hint" }, hint)), next), ...more);
    input.focus();
    return input;
  };

  const address = (kind = "email") => {
    const { label, type, hint = "", other, instead, start } = KINDS[kind];
    const begin = async (said) => {
      const to = kind === "phone" ? said.replaceAll(/[\s()-]/g, "") : said;
      code(kind, to, (await session[start](to)).request);
    };
    show(label, hint, { type, autocomplete: type }, "Send code", begin,
      button(instead, () => address(other), { kind: "quiet" }), others);
  };

  const code = (kind, to, request) => {
    const props = { inputmode: "numeric", autocomplete: "one-time-code", maxlength: 6, pattern: "[0-9]{6}" };
    const check = (code) => prove((handle) => session[KINDS[kind].verify]({ [kind]: to, code, request, ...handle }));
    const open = async () => {
      const { items } = await (await fetch("/dev/outbox")).json();
      const found = items.find((item) => item.to.toLowerCase() === to.toLowerCase())?.text.match(/\b\d{6}\b/);
      text(trouble, found ? "" : "It is not in the outbox yet. Try again in a moment.");
      input.value = found?.[0] ?? "";
      input.focus();
    };
    const input = show("Code", `We have sent it to ${to}.`, props, "Sign in", check,
      ways.outbox ? button("Open the outbox", () => open().catch(() => text(trouble, WORDS.offline))) : "",
      button("Begin anew", () => address(kind), { kind: "quiet" }));
  };

  /** Brings a proof, and once more with a handle when the account is new. */
  const prove = (verify) => verify({}).catch((error) => {
    if (error.code !== "handle_required") throw error;
    const lower = ({ target }) => (target.value = target.value.toLowerCase().replaceAll(/[^a-z0-9_]/g, ""));
    show("Handle", "You are new here: this is how others find you. 3 to 30 of a–z, 0–9 and _.",
      { autocomplete: "username", maxlength: 30, pattern: "[a-z0-9_]{3,30}", oninput: lower }, "Create account", (handle) => verify({ handle }));
  });

  const back = returned();
  address();
  session.ways().then((known) => {
    ways = known;
    others.append(...offered(ways).map(([name, title]) => button(`Continue with ${title}`, () => leave(name, ways))));
    if (ways.outbox) others.append("This server is for trying things out. Developers may want the ", h("a", { href: "/console" }, "console"), ".");
  }).catch(() => {});
  if (back?.error) text(trouble, back.error);
  if (back?.proof) prove((handle) => session[back.name]({ ...back.proof, ...handle })).catch((error) => text(trouble, because(error)));
  return h("div.welcome", h("h1", "Sound Off"), h("p.lead", "Say it, and it is there: live, on every device, exactly once."), step, trouble);
}
