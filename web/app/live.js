// Who is signed in, their connection, what this browser keeps for them, and the bell that rings when anything of it changes.
import { Session, SoundOff } from "/client/soundoff.js";

export const session = new Session();
export let client = null;
export const me = () => session.user?.handle;

/** How much of what has come before a new device is shown. */
const HISTORY = 200;
const wired = [];
const key = (name) => `soundoff.app/${me()}/${name}`;

/** Has `wire(client)` called once there is a connection. */
export const onClient = (wire) => wired.push(wire);

/** What was kept under `name` for who is signed in. */
export function kept(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(key(name))) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Keeps it, if there is room: all of it only helps to show things sooner. */
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

/** Forgets what was kept for a user who has signed out. */
export function forget(handle) {
  const ours = Object.keys(localStorage).filter((key) => key.startsWith(`soundoff.app/${handle}/`) || key.includes(`/${handle}/pending/`));
  ours.forEach((key) => localStorage.removeItem(key));
}

/** When this browser first connected as this user: what is older is not new here. */
export let began = 0;

/** Connects as who is signed in. */
export function connect() {
  began = kept("began", Date.now());
  keep("began", began);
  client = new SoundOff({ user: me(), token: ({ refused }) => session.token({ fresh: refused }), history: HISTORY });
  wired.forEach((wire) => wire(client));
  client.on("state", ({ state, reason }) => {
    // A sign-in that has ended elsewhere is found out by asking for another token.
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

/** Says that something has changed: soon after, what is on the page is brought up to date once. */
export function changed() {
  if (due) return;
  due = true;
  // Not with the next frame: a hidden page gets none, and its title still counts what is new.
  setTimeout(ring);
}

/** Calls `listener` after changes, until `signal` is aborted. */
export function onChange(listener, signal) {
  listeners.add(listener);
  signal?.addEventListener("abort", () => listeners.delete(listener));
}

// Times in words grow old, too.
setInterval(changed, 30_000);
document.addEventListener("visibilitychange", changed);
