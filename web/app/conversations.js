// Direct messages: with whom, the last message, and what is new. Conversations are known from the pushes, which both
// sides get.
import { onDone, written } from "./effects.js";
import { ask, changed, client, keep, kept, me, onClient, onKept, pages } from "./live.js";

const MOST = 200;
const TYPING_MS = 5000;
const PRESENCE_MS = 15_000;
/** By peer: no object, since `__proto__` is a handle. */
let all = new Map();
let online = new Set();
let told = 0;
const threads = new Map();
const typing = new Map();

const threadOf = (peer) => threads.get(peer) ?? threads.set(peer, pages("dm.list", { with: peer, limit: 40 })).get(peer);
const newestFirst = (a, b) => (a.last.id < b.last.id ? 1 : -1);

export const conversations = () => [...all].map(([peer, known]) => ({ peer, ...known })).sort(newestFirst);
export const unread = () => conversations().filter(({ unread }) => unread > 0).length;
export const isTyping = (peer) => Date.now() - (typing.get(peer) ?? 0) < TYPING_MS;
export const isOnline = (peer) => online.has(peer);

function save() {
  all = new Map(conversations().slice(0, MOST).map(({ peer, last, unread }) => [peer, { last, unread }]));
  keep("conversations", Object.fromEntries(all));
  changed();
}

/** Adds one message that was sent or received: once, however often it comes. */
function take(message, isNew = true) {
  const { id, from, to } = message;
  const peer = from === me() ? to : from;
  const thread = threadOf(peer);
  if (!thread.items.some((item) => item.id === id)) thread.items = [message, ...thread.items].sort((a, b) => (a.id < b.id ? 1 : -1));
  if (peer === from) typing.delete(peer);
  changed();
  const { last, unread = 0 } = all.get(peer) ?? {};
  if (last?.id >= id) return;
  // A user who answers has read the conversation.
  all.set(peer, { last: message, unread: from === me() ? 0 : unread + Number(isNew) });
  save();
}

onClient((client) => {
  all = new Map(Object.entries(kept("conversations", {})));
  client.on("push:dm.received", ({ message }) => take(message));
  client.on("push:dm.sent", ({ message }) => take(message));
  client.on("event:typing", ({ from }) => {
    typing.set(from, Date.now());
    setTimeout(changed, TYPING_MS + 100);
    changed();
  });
  onKept("conversations", (now) => (all = new Map(Object.entries(now))));
});
onDone("dm.send", ({ message }) => take(message));

export function read(peer) {
  if (!all.get(peer)?.unread) return;
  all.get(peer).unread = 0;
  save();
}

/** A new browser knows no conversation, and the server has no list of them: it asks once about the users who follow and are followed. */
export async function discover() {
  if (kept("discovered", false)) return;
  keep("discovered", true);
  const peers = new Set();
  try {
    for (const direction of ["following", "followers"]) (await ask("follow.list", { direction, limit: 50 })).items.forEach((peer) => peers.add(peer));
    for (const peer of peers) (await ask("dm.list", { with: peer, limit: 1 })).items.forEach((message) => take(message, false));
  } catch {
    keep("discovered", false);
  }
}

/** The messages with `peer`, and those that are on their way, oldest first; `more` reads earlier ones. */
export function conversationWith(peer) {
  const thread = threadOf(peer);
  if (!thread.loaded && !thread.error) thread.more();
  return { ...thread, items: [...thread.items.toReversed(), ...written("dm.send", ({ to }) => to === peer, thread.items)] };
}

/** Says that this user is writing: now and then, and only while online. */
export function tell(peer) {
  if (Date.now() - told < TYPING_MS / 2) return;
  told = Date.now();
  client.call("typing", { to: peer }).catch(() => {});
}

/** Asks now and then which of `peers()` are online, until `signal` is aborted. */
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
