// Direct messages: with whom, what was said last, and what of it is new. Conversations are known from the pushes of both sides.
import { changed } from "./changes.js";
import { onDone, open, pending, rename, written } from "./effects.js";
import { ask, client, keep, kept, me, onClient, onKept } from "./live.js";

const MOST = 200;
const TYPING_MS = 5000;
const PRESENCE_MS = 15_000;
/** How far this clock may be from the server's. */
const SKEW_MS = 60_000;
let all = {};
const threads = new Map();
const typing = new Map();
let online = new Set();
let told = 0;
/** What waits for its reply, though its message has already come as a push. */
const claimed = new Set();

const peerOf = ({ from, to }) => (from === me() ? to : from);
const threadOf = (peer) => threads.get(peer) ?? threads.set(peer, { items: [], next: null, loaded: false, error: null }).get(peer);
const oldestFirst = (a, b) => (a.id < b.id ? -1 : 1);

function save() {
  const newest = Object.entries(all).sort(([, a], [, b]) => oldestFirst(b.last, a.last));
  all = Object.fromEntries(newest.slice(0, MOST));
  keep("conversations", all);
}

function add(peer, messages) {
  const thread = threadOf(peer);
  const fresh = messages.filter(({ id }) => !thread.items.some((item) => item.id === id));
  thread.items = [...thread.items, ...fresh].sort(oldestFirst);
  for (const { id, from, text, created_at } of fresh) {
    const [first] = pending(["dm.send"], ({ to }) => to === peer).filter((entry) => !claimed.has(entry.id));
    if (from !== me() || first?.body.text !== text || new Date(created_at) < first.since - SKEW_MS) continue;
    claimed.add(first.id);
    rename(id, first.id);
  }
}

/** One message that was sent or has come: once, however often it is told. */
function take(message) {
  const peer = peerOf(message);
  add(peer, [message]);
  typing.delete(peer);
  const { last, unread = 0 } = all[peer] ?? {};
  if (last && last.id >= message.id) return changed();
  // Who answers has read.
  all[peer] = { last: message, unread: message.from === me() ? 0 : unread + 1 };
  save();
  changed();
}

onClient((client) => {
  all = kept("conversations", {});
  client.on("push:dm.received", ({ message }) => take(message));
  client.on("push:dm.sent", ({ message }) => take(message));
  client.on("event:typing", ({ from }) => {
    typing.set(from, Date.now());
    setTimeout(changed, TYPING_MS + 100);
    changed();
  });
  onKept("conversations", (now) => ((all = now ?? {}), changed()));
});
onDone("dm.send", ({ message }, sent, id) => (rename(message.id, id), take(message)));

export const conversations = () => Object.entries(all).map(([peer, { last, unread }]) => ({ peer, last, unread })).sort((a, b) => oldestFirst(b.last, a.last));
export const unread = () => Object.values(all).filter(({ unread }) => unread > 0).length;
export const isTyping = (peer) => Date.now() - (typing.get(peer) ?? 0) < TYPING_MS;
export const isOnline = (peer) => online.has(peer);

export function read(peer) {
  if (!all[peer]?.unread) return;
  all[peer].unread = 0;
  save();
  changed();
}

/** What was said with `peer`, and what is on its way. */
export function thread(peer) {
  const { items, ...rest } = threadOf(peer);
  const mine = open("dm.send", ({ to }) => to === peer).filter(({ id, error }) => error || !claimed.has(id)).map(written);
  return { items: [...items, ...mine], ...rest };
}

/** Reads the newest messages with `peer`, or those before what is there. */
export async function load(peer, more) {
  const thread = threadOf(peer);
  if (thread.reading) return;
  thread.reading = true;
  try {
    const page = await ask("dm.list", { with: peer, limit: 40, ...(more && { before: thread.next }) });
    add(peer, page.items);
    if (more || !thread.loaded) thread.next = page.next ?? null;
    Object.assign(thread, { loaded: true, error: null });
  } catch (error) {
    thread.error = error;
  }
  thread.reading = false;
  changed();
}

/** Says that this user is writing: now and then, and only while it can be heard. */
export function tell(peer) {
  if (Date.now() - told < TYPING_MS / 2) return;
  told = Date.now();
  client.call("typing", { to: peer }).catch(() => {});
}

/** Asks who is there, now and then until `signal` is aborted. */
export function watch(peers, signal) {
  const look = async () => {
    const users = peers().slice(0, 100);
    if (document.hidden || users.length === 0 || client.state !== "online") return;
    await ask("presence.get", { users }).then((found) => (online = new Set(found.online)), () => {});
    changed();
  };
  look();
  const timer = setInterval(look, PRESENCE_MS);
  const stops = [client.on("event:typing", look), client.on("state", look)];
  signal.addEventListener("abort", () => (clearInterval(timer), stops.forEach((stop) => stop())));
}
