// What the user does. It is shown at once from the client's list of what is not answered, which outlives the page; it settles once; and when it
// fails it is kept with the reason, until the user tries again or lets it go.
import { button, h } from "./dom.js";
import { changed, client, keep, kept, me, onClient } from "./live.js";

const MOST_FAILURES = 50;
/** How far this clock may be from the server's. */
const SKEW_MS = 60_000;
const listeners = [];
/** What things were called before they had an id, by their id: a row stays the row it was. */
const names = new Map();
/** What still waits for its reply, though what it made is there already. */
const claimed = new Set();
let failures = [];

const WORDS = {
  not_found: "It is not there any more.",
  forbidden: "You may not: perhaps one of you has blocked the other.",
  overloaded: "Too much is waiting to be sent. Try again once you are online.",
  expired: "It was sent days ago and never answered. Look whether it is there before you try again.",
  internal: "Something went wrong on our side. It may still be done later, so look before you try again.",
  too_large: "It is too large.",
};

/** What to tell of an error. */
export const because = ({ code, message }) => WORDS[code] ?? `${message[0].toUpperCase()}${message.slice(1)}.`;

/** Does something: it is pending from now on. */
export function act(type, body) {
  const id = crypto.randomUUID();
  client.call(type, body, { id }).catch((error) => {
    // What was never taken on; all other outcomes come as `reply`, also those of a page that was there before.
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
    const made = body.post?.id ?? body.comment?.id ?? body.message?.id;
    if (made) rename(made, id);
    for (const [types, settled] of listeners) if (types.includes(type)) settled(body, sent);
    changed();
  });
});

/** Has what is called `name` on pages go on under its `id`. */
function rename(id, name) {
  if (![...names.values()].includes(name)) names.set(id, name);
}

export const keyOf = ({ id }) => names.get(id) ?? id;

/** What of these types waits for its answer and is about what `match` says; oldest first. */
export const pending = (types, match = () => true) => client.pending.filter(({ type, body }) => types.split(" ").includes(type) && match(body));

/** What has failed, is of these types or, with `others`, of none of them. */
export const failedOf = (types, others = false) => failures.filter(({ type }) => types.includes(type) !== others);

/** What this user writes that is not there yet, on its way or failed, in the shape of what is: `{id, author, from, text, …, pending?, error?}`; oldest
 *  first. What is among `there` already, as its push has overtaken its reply, is left out. */
export function written(type, match, there) {
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

/** What to do about something that has failed. */
export const remedies = ({ id, type, body }) => [
  button("Try again", () => (drop(id), act(type, body))),
  button("Discard", () => drop(id)),
];

/** The same, for something that was written. */
export function unsent(id) {
  const entry = failures.find((entry) => entry.id === id);
  return h("div.unsent", h("span", `Not sent. ${because(entry.error)}`), ...remedies(entry));
}
