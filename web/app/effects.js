// What the user does. It is shown at once, from the client's list of unanswered messages, which outlives the page. It
// settles once. When it fails it is kept with the reason, until the user tries again or discards it.
import { button, h } from "./dom.js";
import { changed, client, keep, kept, me, onClient } from "./live.js";

const MOST_FAILURES = 50;
/** How far this clock may differ from the server's. */
const SKEW_MS = 60_000;
const listeners = [];
/** The names that things had before they had an id, by their id: so a row stays the same row. */
const names = new Map();
/** Messages that still wait for their reply, though their effect is there already. */
const claimed = new Set();
let failures = [];

const WORDS = {
  overloaded: "Too much is waiting to be sent. Try again once you are online.",
  expired: "It was sent days ago and never answered. Look whether it is there before you try again.",
  internal: "Something went wrong on our side. It may still be done later, so look before you try again.",
  too_large: "It is too large.",
  offline: "The server cannot be reached. Try again in a moment.",
};

const UNITS = [[3_600_000, "hour"], [60_000, "minute"], [1000, "second"]];

/** A time in words, in its largest unit, rounded up. */
const inWords = (ms) => {
  const [unit, name] = UNITS.find(([unit]) => ms > unit) ?? UNITS[2];
  const count = Math.ceil(ms / unit);
  return `${count} ${name}${count === 1 ? "" : "s"}`;
};

/** What to say about an error. */
export const because = ({ code, message, retryAfterMs = 5000 }) =>
  code === "rate_limited" ? `That was often. Try again in ${inWords(retryAfterMs)}.`
  : code === "closed" ? `Not yet: ${message}. Try again in ${inWords(retryAfterMs)}.`
  : (WORDS[code] ?? `${message[0].toUpperCase()}${message.slice(1)}.`);

/** The same for a request about a user. */
export const whyNobody = (error) => (error.code === "not_found" ? "There is nobody of that handle, or one of you has blocked the other." : because(error));

/** Unlike `crypto.randomUUID`, it works on pages without TLS, too. */
const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Does something, which is pending from now on. */
export function act(type, body) {
  const id = newId();
  client.call(type, body, { id }).catch((error) => {
    // The client did not take the message. All other outcomes come as `reply`, also those of messages that an earlier
    // page sent.
    if (error.code === "overloaded" && !failures.some((other) => other.id === id)) failed({ id, type, sent: body, error });
  });
  changed();
}

/** Calls `settled(reply, sent)` whenever one of these types has taken effect. */
export function onDone(types, settled) {
  listeners.push([types.split(" "), settled]);
}

function failed({ id, type, sent, error: { code, message } }) {
  failures = [...failures, { id, type, body: sent, since: Date.now(), error: { code, message } }].slice(-MOST_FAILURES);
  keep("failures", failures);
  changed();
}

onClient((client) => {
  failures = kept("failures", []);
  client.on("reply", ({ id, type, sent, body, error }) => {
    if (error) return failed({ id, type, sent, error });
    const made = /\.(create|send)$/.test(type) && (body.post?.id ?? body.comment?.id ?? body.message?.id);
    if (made) rename(made, id);
    for (const [types, settled] of listeners) if (types.includes(type)) settled(body, sent);
    changed();
  });
});

/** What pages called `name` is known by its `id` from now on. */
function rename(id, name) {
  if (![...names.values()].includes(name)) names.set(id, name);
}

export const keyOf = ({ id }) => names.get(id) ?? id;

/** Messages of these types that wait for their answer and that `match` picks; oldest first. */
export const pending = (types, match = () => true) => client.pending.filter(({ type, body }) => types.split(" ").includes(type) && match(body));

/** Failed messages of these types, or with `others` of all other types. */
export const failedOf = (types, others = false) => failures.filter(({ type }) => types.includes(type) !== others);

/** Texts of this user that are on their way or have failed, in the shape of existing ones: `{id, author, from, text, pending, error?}`; oldest first. */
export function written(type, match, there) {
  // An item that is in `there` already has overtaken its own reply.
  for (const { id, body, since } of pending(type, match)) {
    const fresh = (item) => item.text === body.text && (item.author ?? item.from) === me() && new Date(item.created_at) > since - SKEW_MS;
    const found = claimed.has(id) ? null : there.find((item) => !names.has(item.id) && fresh(item));
    if (!found) continue;
    claimed.add(id);
    rename(found.id, id);
  }
  const open = [...failedOf([type]).filter(({ body }) => match(body)), ...pending(type, match).filter(({ id }) => !claimed.has(id))];
  return open.map(({ id, body, since, error }) =>
    ({ ...body, id, author: me(), from: me(), created_at: new Date(since).toISOString(), pending: !error, error }));
}

function drop(id) {
  failures = failures.filter((entry) => entry.id !== id);
  keep("failures", failures);
  changed();
}

/** Buttons for something that has failed. */
export const remedies = ({ id, type, body }) => [
  button("Try again", () => (drop(id), act(type, body))),
  button("Discard", () => drop(id)),
];

/** The same for a text. */
export function unsent(id) {
  const entry = failures.find((entry) => entry.id === id);
  return h("div.unsent", h("span", `Not sent. ${because(entry.error)}`), ...remedies(entry));
}
