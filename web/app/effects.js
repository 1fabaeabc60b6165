// What the user does. It is shown at once from the client's list of what is not answered, which outlives the page; it settles once; and when it
// fails it is kept with the reason, until the user tries again or lets it go.
import { changed } from "./changes.js";
import { client, keep, kept, me, onClient } from "./live.js";

const MOST_FAILURES = 50;
const done = new Map();
/** Ids of messages and posts by what they were called before they had one: a row stays the row it was. */
const names = new Map();
let failures = [];

const WORDS = {
  not_found: "It is not there any more.",
  forbidden: "You may not: perhaps one of you has blocked the other.",
  overloaded: "Too much is waiting to be sent. Try again once you are online.",
  expired: "It was sent days ago and never answered. Look whether it is there before you try again.",
  internal: "Something went wrong on our side. It may still be done later, so look before you try again.",
  too_large: "It is too long.",
};

/** What to tell of an error. */
export const because = (error) => WORDS[error.code] ?? error.message;

/** Does something: it is pending from now on. */
export function act(type, body) {
  const id = crypto.randomUUID();
  client.call(type, body, { id }).catch((error) => {
    // All other outcomes come as `reply`, once for this page and once for one that was loaded anew.
    if (error.code === "overloaded" && !failures.some((other) => other.id === id)) failed({ id, type, sent: body, error });
  });
  changed();
  return id;
}

/** Calls `settled(reply, sent, id)` whenever one of `type` has taken effect. */
export function onDone(type, settled) {
  done.set(type, [...(done.get(type) ?? []), settled]);
}

function failed({ id, type, sent, error }) {
  const { code, message } = error;
  failures = [...failures, { id, type, body: sent, since: Date.now(), error: { code, message } }].slice(-MOST_FAILURES);
  keep("failures", failures);
  changed();
}

onClient((client) => {
  failures = kept("failures", []);
  client.on("reply", (outcome) => {
    if (outcome.error) return failed(outcome);
    for (const settled of done.get(outcome.type) ?? []) settled(outcome.body, outcome.sent, outcome.id);
    changed();
  });
});

/** What of `type` waits for its answer or has failed, and is about what `match` says; oldest first. */
export function open(type, match = () => true) {
  if (!client) return [];
  const ours = (entry) => entry.type === type && match(entry.body);
  return [...failures.filter(ours), ...client.pending.filter(ours)];
}

/** What of these types waits for its answer, as far as it is about what `match` says; oldest first. */
export function pending(types, match) {
  return client ? client.pending.filter((entry) => types.includes(entry.type) && match(entry.body)) : [];
}

/** What has failed and has no place of its own on a page. */
export function homeless(placed) {
  return failures.filter(({ type }) => !placed.includes(type));
}

export function drop(id) {
  failures = failures.filter((entry) => entry.id !== id);
  keep("failures", failures);
  changed();
}

export function again(id) {
  const entry = failures.find((entry) => entry.id === id);
  drop(id);
  if (entry) act(entry.type, entry.body);
}

/** Has what is called `name` on pages go on under its `id`. */
export function rename(id, name) {
  if (![...names.values()].includes(name)) names.set(id, name);
}

export const keyOf = (item) => names.get(item.id) ?? item.id;

/** What somebody has just written, as if it had come from the server. */
export const written = ({ id, body, since, error }) => ({
  ...body, id, author: me(), from: me(), created_at: new Date(since).toISOString(), pending: !error, error,
});
