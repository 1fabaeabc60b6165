// The reader's timeline: the page that was ranked last, what came live since, and what waits to be let in.
import { changed } from "./changes.js";
import { onDone } from "./effects.js";
import { ask, keep, kept, onClient } from "./live.js";
import { isGone, learn } from "./posts.js";

const KEPT = 20;
const STALE_MS = 60_000;

const feed = { items: [], next: null, page: null, fresh: [], loaded: false, reading: false, at: 0 };
/** Whether new posts may come in by themselves; the page says so while its reader is at the top. */
let isOpen = () => false;

export const state = () => ({ ...feed, items: feed.items.filter(({ post }) => !isGone(post.id)), fresh: unseen().length });
export const letIn = (when) => (isOpen = when);

const has = (items, id) => items.some(({ post }) => post.id === id);

/** What waits to be shown: newest page and live posts, as far as they are not there yet. */
function unseen() {
  const waiting = [...feed.fresh, ...(feed.page?.items ?? []).filter(({ post }) => !has(feed.fresh, post.id))];
  return waiting.filter(({ post }) => !has(feed.items, post.id) && !isGone(post.id));
}

const itemsOf = (page) => page.items.map((item) => ({ ...item, at: page.computed_at }));

/** A first page. While it is being read, the list is left as it is, and what is new waits. */
function take(page) {
  for (const { post } of page.items) learn(post);
  feed.page = { items: itemsOf(page), next: page.next ?? null };
  feed.at = Date.now();
  if (!feed.loaded || isOpen() || unseen().length === 0) showNew();
  changed();
}

/** Lets in what waits. */
export function showNew() {
  const { page, fresh } = feed;
  if (page) {
    // What came live may be newer than the page.
    const live = feed.loaded ? feed.items.filter((item) => item.live && item.since > feed.at && !has(page.items, item.post.id)) : [];
    const rest = page.items.length > 0 && feed.items.length > page.items.length ? feed.items : [];
    const older = rest.filter((item) => !item.live && !has(page.items, item.post.id));
    feed.items = [...live, ...page.items, ...older];
    feed.next = older.length > 0 ? feed.next : page.next;
  }
  feed.items = [...fresh.filter(({ post }) => !has(feed.items, post.id)), ...feed.items];
  Object.assign(feed, { page: null, fresh: [], loaded: true });
  save();
  changed();
}

function save() {
  keep("timeline", feed.items.slice(0, KEPT).map(({ post, why, score, at }) => ({ post, why, score, at })));
}

/** A post that has come in live. */
function come(post) {
  if (has(feed.items, post.id) || has(feed.fresh, post.id)) return;
  const item = { post, live: true, since: Date.now() };
  if (isOpen()) feed.items = [item, ...feed.items];
  else feed.fresh = [item, ...feed.fresh];
  save();
}

/** Reads the first page anew. */
export async function refresh() {
  if (feed.reading) return;
  feed.reading = true;
  await ask("timeline.fetch", {}).then(take, () => {});
  feed.reading = false;
}

/** Reads the page after what is there. */
export async function more() {
  if (!feed.next || feed.reading) return;
  feed.reading = true;
  changed();
  try {
    const page = await ask("timeline.fetch", { before: feed.next });
    for (const { post } of page.items) learn(post);
    feed.items = [...feed.items, ...itemsOf(page).filter(({ post }) => !has(feed.items, post.id))];
    feed.next = page.next ?? null;
  } catch (error) {
    // The end of the list comes into sight again, and is asked for again.
  }
  feed.reading = false;
  changed();
}

onClient((client) => {
  feed.items = kept("timeline", []);
  client.on("event:timeline", take);
  client.on("event:post.created", ({ post }) => (come(post), changed()));
});

onDone("post.create", ({ post }) => {
  if (!has(feed.items, post.id)) feed.items = [{ post, live: true, since: Date.now() }, ...feed.items];
  save();
});
for (const type of ["follow.add", "follow.remove", "block.add", "block.remove"]) onDone(type, refresh);

// What this user has posted elsewhere comes with the next page only.
document.addEventListener("visibilitychange", () => !document.hidden && Date.now() - feed.at > STALE_MS && refresh());
