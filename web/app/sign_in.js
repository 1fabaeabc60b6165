// Signing in: who somebody is, the code that was sent there, and a handle for who is new.
import { button, h } from "./dom.js";
import { session } from "./live.js";
import { leave, offered, returned } from "./providers.js";

const WORDS = {
  unauthorized: "That is not right, or no longer good. Look again, or begin anew.",
  conflict: "That handle is taken. Try another.",
  offline: "The server cannot be reached. Try again in a moment.",
  not_configured: "This way is not set up here.",
};

const because = ({ code, message, retryAfterMs }) => {
  if (code === "rate_limited") return `That was often. Try again in ${Math.ceil((retryAfterMs ?? 5000) / 1000)} seconds.`;
  return WORDS[code] ?? `${message[0].toUpperCase()}${message.slice(1)}.`;
};

let count = 0;
function field(label, hint, props) {
  const id = `field-${(count += 1)}`;
  const input = h("input", { id, required: true, autocapitalize: "none", spellcheck: "false", ...(hint && { "aria-describedby": `${id}-hint` }), ...props });
  return { input, box: h("div", { class: "field" }, h("label", { for: id }, label), input, hint && h("p", { id: `${id}-hint`, class: "note" }, hint)) };
}

const KINDS = {
  email: { label: "Email", type: "email", autocomplete: "email", other: "phone", instead: "Use a phone number", start: (to) => session.startEmail(to), verify: (proof) => session.verifyEmail(proof) },
  phone: { label: "Phone", type: "tel", autocomplete: "tel", other: "email", instead: "Use an email address", hint: "With the country code, such as +44 7700 900123", start: (to) => session.startPhone(to), verify: (proof) => session.verifyPhone(proof) },
};

/** The page; `session` says by itself when somebody has signed in. */
export function signIn() {
  const trouble = h("p", { class: "trouble", role: "alert" });
  const step = h("div", { class: "step" });
  const element = h("div", { class: "welcome" },
    h("h1", {}, "Sound Off"), h("p", { class: "lead" }, "Say it, and it is there: live, on every device, exactly once."), step, trouble);
  let ways = { email: {}, outbox: false };

  /** Shows a step: a form, and what else there is to do. */
  const show = (form, ...more) => {
    trouble.textContent = "";
    step.replaceChildren(form, ...more.filter(Boolean));
    form.querySelector("input")?.focus();
  };
  const form = (label, content, act) => {
    const go = h("button", { class: "primary" }, label);
    const made = h("form", { class: "sign-in" }, ...content, go);
    made.addEventListener("submit", async (event) => {
      event.preventDefault();
      trouble.textContent = "";
      go.disabled = true;
      await act().catch((error) => (trouble.textContent = because(error)));
      go.disabled = false;
    });
    return made;
  };

  const address = (kind = "email") => {
    const { label, type, autocomplete, hint, other, instead, start } = KINDS[kind];
    const { input, box } = field(label, hint, { type, autocomplete });
    const begin = form("Send code", [box], async () => {
      const to = input.value.trim().replaceAll(/(?<=^\+.*)[\s()-]/g, "");
      const { request } = await start(to);
      code(kind, to, request);
    });
    const providers = offered(ways).map(([name, title]) => button(`Continue with ${title}`, { onclick: () => leave(name, ways) }));
    show(begin, h("p", { class: "others" }, button(instead, { class: "quiet", onclick: () => address(other) }), ...providers),
      ways.outbox && h("p", { class: "note" }, "This is a server for trying things out. Developers may want the ", h("a", { href: "/console" }, "console"), "."));
  };

  const code = (kind, to, request) => {
    const { input, box } = field("Code", `We have sent it to ${to}.`, { inputmode: "numeric", autocomplete: "one-time-code", maxlength: 6, pattern: "[0-9]{6}" });
    const proof = () => ({ [kind]: to, code: input.value.trim(), request });
    const check = form("Sign in", [box], () => prove((handle) => KINDS[kind].verify({ ...proof(), ...handle })));
    const fetchCode = async () => {
      const { items } = await (await fetch("/dev/outbox")).json();
      const found = items.find((item) => item.to === to || item.to === to.toLowerCase())?.text.match(/\b\d{6}\b/)?.[0];
      trouble.textContent = found ? "" : "It is not in the outbox yet. Try again in a moment.";
      if (found) input.value = found;
      input.focus();
    };
    show(check, h("p", { class: "others" },
      ways.outbox && button("Open the outbox", { onclick: () => fetchCode().catch(() => (trouble.textContent = WORDS.offline)) }),
      button("Begin anew", { class: "quiet", onclick: () => address(kind) })));
  };

  /** Brings a proof, once more with a handle when the account is new. */
  const prove = (verify) => verify({}).catch((error) => (error.code === "handle_required" ? handle(verify) : Promise.reject(error)));

  const handle = (verify) => {
    const { input, box } = field("Handle", "How others find you: 3 to 30 of a–z, 0–9 and _.", { autocomplete: "username", maxlength: 30, pattern: "[a-z0-9_]{3,30}", placeholder: "anna" });
    input.addEventListener("input", () => (input.value = input.value.toLowerCase().replaceAll(/[^a-z0-9_]/g, "")));
    show(form("Create account", [box], () => verify({ handle: input.value })), h("p", { class: "note" }, "Welcome! You are new here: choose a handle."));
  };

  const back = returned();
  const offer = () => {
    address();
    if (back?.error) trouble.textContent = back.error;
  };
  session.ways().then((known) => (ways = known), () => {}).then(() => {
    if (!back?.proof) return !step.querySelector("input")?.value && offer();
    trouble.textContent = "";
    return prove((more) => session[back.name]({ ...back.proof, ...more })).catch((error) => (address(), (trouble.textContent = because(error))));
  });
  if (!back?.proof) offer();
  return { title: "Sign in", element };
}
