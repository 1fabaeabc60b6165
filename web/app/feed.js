// The reader's timeline: its items, and new ones that wait until the reader lets them in.
import { onDone } from "./effects.js";
import { ask, changed, keep, kept, onClient, pages } from "./live.js";
import { isGone, learn } from "./posts.js";

const KEPT = 20;
const STALE_MS = 60_000;

let computed = null;
const turn = (items) => items.map((item) => (learn(item.post), { at: computed, ...item, id: item.post.id }));
const list = pages("timeline.fetch", {}, { turn });
let fresh = [];
let at = 0;
/** Whether new items may come in by themselves: the page sets it while its reader is at the top. */
let isOpen = () => false;

export const letIn = (when) => (isOpen = when);
export const more = list.more;
export const feed = () => ({ ...list, fresh: fresh.filter(({ id }) => !isGone(id)).length });

const has = (items, id) => items.some((item) => item.id === id);

function set(items) {
  list.items = items;
  keep("timeline", items.slice(0, KEPT).map(({ post, why, score, at }) => ({ post, why, score, at })));
  changed();
}

/** Lets in the waiting items. */
export function showNew() {
  const waiting = fresh;
  fresh = [];
  set([...waiting, ...list.items]);
}

/** Takes a first page. Existing items keep their places, so that nothing moves while somebody reads; with `whole` the page replaces them. */
function take(page, whole = false) {
  computed = page.computed_at;
  at = Date.now();
  const items = turn(page.items);
  if (!list.loaded || whole) {
    fresh = [];
    Object.assign(list, { next: page.next ?? null, loaded: true, error: null });
    return set(items);
  }
  const newest = (item) => items.find(({ id }) => id === item.id) ?? item;
  const unknown = items.filter(({ id }) => !has(list.items, id) && !has(fresh, id));
  fresh = [...fresh.map(newest), ...unknown];
  set(list.items.map(newest));
  if (isOpen()) showNew();
}

/** Takes a post that has come in live, or was just written. */
function come(post, open) {
  const item = { id: post.id, post };
  if (has(list.items, post.id) || has(fresh, post.id)) return changed();
  if (open) set([item, ...list.items]);
  else fresh = [item, ...fresh];
  changed();
}

/** Reads the first page again. */
export const refresh = (whole) => ask("timeline.fetch", {}).then((page) => take(page, whole), () => {});

onClient((client) => {
  list.items = turn(kept("timeline", []));
  client.on("event:timeline", (page) => take(page));
  client.on("push:follow.accepted", () => refresh(true));
  client.on("event:post.created", ({ post }) => come(post, isOpen()));
});
onDone("post.create", ({ post }) => come(post, true));
onDone("follow.add follow.remove block.add block.remove", () => refresh(true));

// Posts that this user has made on another device come only with the next page.
document.addEventListener("visibilitychange", () => !document.hidden && Date.now() - at > STALE_MS && refresh());
