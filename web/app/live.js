// Who is signed in, their connection, and what this browser keeps for them.
import { Session, SoundOff } from "/client/soundoff.js";
import { changed } from "./changes.js";

export const session = new Session();
export let client = null;
export const me = () => session.user?.handle ?? null;

const wired = [];
const prefix = () => `soundoff.app/${me()}/`;

/** Has `wire(client)` called for each connection, now and after the next sign-in. */
export function onClient(wire) {
  wired.push(wire);
  if (client) wire(client);
}

/** What was kept under `name` for who is signed in. */
export function kept(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(prefix() + name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Keeps it. A browser that has no room keeps nothing: all of it is only for showing sooner. */
export function keep(name, value) {
  try {
    localStorage.setItem(prefix() + name, JSON.stringify(value));
  } catch {
    localStorage.removeItem(prefix() + name);
  }
}

/** Calls `heard` when another page of the same user keeps something under `name`. */
export function onKept(name, heard) {
  addEventListener("storage", ({ key }) => key === prefix() + name && heard(kept(name)));
}

/** Forgets what was kept for a user who has signed out. */
export function forget(handle) {
  const ours = Object.keys(localStorage).filter((key) => key.startsWith(`soundoff.app/${handle}/`) || key.includes(`/${handle}/pending/`));
  for (const key of ours) localStorage.removeItem(key);
}

/** Connects as who is signed in. */
export function connect() {
  client = new SoundOff({ user: me(), token: ({ refused }) => session.token({ fresh: refused }) });
  for (const wire of wired) wire(client);
  client.on("state", changed);
  client.start();
}

export async function disconnect() {
  const gone = client;
  client = null;
  await gone?.stop();
}

/** Asks for something that changes nothing. */
export const ask = (type, body, signal) => client.call(type, body, { signal });
