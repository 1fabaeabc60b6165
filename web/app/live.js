// The signed-in user, their connection, what this browser keeps for them, and the signal that any of it has changed.
import { Session, SoundOff } from "../client/soundoff.js";

/** Our name and version, as operators know them. */
const APP = "web-0.1.0";

/** Where the server is: this page's folder, which a proxy may have put anywhere. */
export const home = () => new URL(".", location.href).href;
export const session = new Session({ url: home(), app: APP });
export let client = null;
export const me = () => session.user?.handle;

let role;
/** Whether this user decides about others' posts. The server checks it: this only decides what is offered. */
export const isModerator = () => role === "moderator" || role === "admin";

/** The access token to connect with, which says what its user may do. */
async function pass({ refused }) {
  const token = await session.token({ fresh: refused });
  role = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).role;
  return token;
}

const wired = [];
const key = (name) => `soundoff.app/${me()}/${name}`;

/** Calls `wire(client)` when there is a connection. */
export const onClient = (wire) => wired.push(wire);

/** What was kept under `name` for the signed-in user. */
export function kept(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(key(name))) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Keeps it, if there is room: it only helps to show things sooner. */
export function keep(name, value) {
  try {
    localStorage.setItem(key(name), JSON.stringify(value));
  } catch {
    localStorage.removeItem(key(name));
  }
}

/** Calls `heard` when another page of this browser keeps something under `name`. */
export function onKept(name, heard) {
  addEventListener("storage", (event) => {
    if (event.key !== key(name) || event.newValue === null) return;
    heard(JSON.parse(event.newValue));
    changed();
  });
}

/** Removes what was kept for a user who has signed out. */
export function forget(handle) {
  const ours = Object.keys(localStorage).filter((key) => key.startsWith("soundoff") && key.includes(`/${handle}/`));
  ours.forEach((key) => localStorage.removeItem(key));
}

let why;
let shut = null;

/** Why the service does not let us in, and when it will: `{ why, at, isKnown }`. Null: it is open, as far as we know. */
export const closed = () => shut;

/** Who does not know when it opens asks for waits of up to a minute. */
function close(why, waitMs = 30_000) {
  shut = { why, at: Date.now() + waitMs, isKnown: waitMs > 60_000 };
  changed();
}

/** The outcome of a call of the session that somebody makes before they are signed in. */
export async function heeded(call) {
  const open = () => ((shut = null), changed());
  try {
    const answer = await call;
    open();
    return answer;
  } catch (error) {
    if (error.code === "closed") close(error.message, error.retryAfterMs);
    else if (error.code !== "offline") open();
    throw error;
  }
}

/** Whether the connection waits because too many pages are open. */
export const crowded = () => client.state === "waiting" && (why === 4429 || why === "overloaded");

/** Connects as the signed-in user. */
export function connect() {
  client = new SoundOff({ url: home(), app: APP, user: me(), token: pass });
  wired.forEach((wire) => wire(client));
  client.on("state", ({ state, reason, retryInMs }) => {
    why = reason?.code;
    if (reason?.text) close(reason.text, retryInMs);
    else if (state !== "connecting") shut = null;
    // Asking for another token shows whether the sign-in has ended elsewhere.
    if (state === "refused" && reason?.code !== "signed_out") session.token({ fresh: true }).catch(() => {});
    changed();
  });
  client.on("pending", changed);
  client.start();
}

/** Asks for something that changes nothing. */
export const ask = (type, body, signal) => client.call(type, body, { signal });

/** Pages of a list in `list.items`, one more at each `more()`; `turn` changes a page's items. */
export function pages(type, body, { signal, turn = (items) => items } = {}) {
  const list = { items: [], next: null, loaded: false, busy: false, error: null };
  list.more = async () => {
    if (list.busy || (list.loaded && !list.next)) return;
    list.busy = true;
    try {
      const { items, next = null } = await ask(type, { ...body, ...(list.next && { before: list.next }) }, signal);
      const known = new Set(list.items.map(({ id }) => id));
      const fresh = turn(items).filter((item) => item.id === undefined || !known.has(item.id));
      list.items = [...list.items, ...fresh];
      Object.assign(list, { next, loaded: true, error: null });
    } catch (error) {
      if (!signal?.aborted) list.error = error;
    }
    list.busy = false;
    changed();
  };
  return list;
}

const listeners = new Set();
let due = false;

function ring() {
  due = false;
  for (const listener of [...listeners]) listener();
}

/** Says that something has changed: the page is updated once, at the end of the current task. */
export function changed() {
  if (due) return;
  due = true;
  queueMicrotask(ring);
}

/** Calls `listener` after changes, until `signal` is aborted. */
export function onChange(listener, signal) {
  listeners.add(listener);
  signal?.addEventListener("abort", () => listeners.delete(listener));
}

// Times in words get old as well.
setInterval(changed, 30_000);
document.addEventListener("visibilitychange", changed);
