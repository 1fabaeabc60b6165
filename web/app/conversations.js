// Direct messages: with whom, what was said last, and what of it is new. Conversations are known from the pushes, which tell both sides.
import { onDone, written } from "./effects.js";
import { ask, began, changed, client, keep, kept, me, onClient, onKept, pages } from "./live.js";

const MOST = 200;
const TYPING_MS = 5000;
const PRESENCE_MS = 15_000;
let all = {};
let online = new Set();
let told = 0;
const threads = new Map();
const typing = new Map();

const threadOf = (peer) => threads.get(peer) ?? threads.set(peer, pages("dm.list", { with: peer, limit: 40 })).get(peer);
const newestFirst = (a, b) => (a.last.id < b.last.id ? 1 : -1);

export const conversations = () => Object.entries(all).map(([peer, known]) => ({ peer, ...known })).sort(newestFirst);
export const unread = () => conversations().filter(({ unread }) => unread > 0).length;
export const isTyping = (peer) => Date.now() - (typing.get(peer) ?? 0) < TYPING_MS;
export const isOnline = (peer) => online.has(peer);

function save() {
  all = Object.fromEntries(conversations().slice(0, MOST).map(({ peer, last, unread }) => [peer, { last, unread }]));
  keep("conversations", all);
  changed();
}

/** One message that was sent or has come: once, however often it is told. */
function take(message) {
  const { id, from, to, created_at } = message;
  const peer = from === me() ? to : from;
  const thread = threadOf(peer);
  if (!thread.items.some((item) => item.id === id)) thread.items = [message, ...thread.items].sort((a, b) => (a.id < b.id ? 1 : -1));
  if (peer === from) typing.delete(peer);
  changed();
  const { last, unread = 0 } = all[peer] ?? {};
  if (last?.id >= id) return;
  // Who answers has read.
  all[peer] = { last: message, unread: from === me() ? 0 : unread + Number(new Date(created_at) > began) };
  save();
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
  onKept("conversations", (now) => (all = now));
});
onDone("dm.send", ({ message }) => take(message));

export function read(peer) {
  if (!all[peer]?.unread) return;
  all[peer].unread = 0;
  save();
}

/** What was said with `peer` and what is on its way, oldest first; `more` reads what was before. */
export function conversationWith(peer) {
  const thread = threadOf(peer);
  if (!thread.loaded && !thread.error) thread.more();
  return { ...thread, items: [...thread.items.toReversed(), ...written("dm.send", ({ to }) => to === peer, thread.items)] };
}

/** Says that this user is writing: now and then, and only while it can be heard. */
export function tell(peer) {
  if (Date.now() - told < TYPING_MS / 2) return;
  told = Date.now();
  client.call("typing", { to: peer }).catch(() => {});
}

/** Asks who of `peers()` is there, now and then until `signal` is aborted. */
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
