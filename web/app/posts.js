// What is known of posts: as the server last said, with what this user is just doing to them on top.
import { changed } from "./changes.js";
import { act, onDone, pending, rename } from "./effects.js";
import { ask, client, onClient } from "./live.js";

const MOST = 5000;
const AT_ONCE = 3;
const known = new Map();
const gone = new Set();
const pictures = new Map();

/** Remembers a post as it is now; `liked` only where it is known. */
export function learn(post, liked = known.get(post.id)?.liked) {
  known.delete(post.id);
  known.set(post.id, { post, liked });
  if (known.size > MOST) known.delete(known.keys().next().value);
}

/** A post as it is to be shown. */
export function shown(post) {
  const { post: newest = post, liked } = known.get(post.id) ?? {};
  const like = pending(["like.add", "like.remove"], ({ post: id }) => id === post.id).at(-1);
  const comments = pending(["comment.create"], ({ post: id }) => id === post.id).length;
  const mine = like ? like.type === "like.add" : (liked ?? false);
  const more = like && mine !== (liked ?? false) ? (mine ? 1 : -1) : 0;
  return { ...newest, liked: mine, likes: Math.max(0, newest.likes + more), comments: newest.comments + comments };
}

/** What a post says, if that is known; else it is asked for. */
export function textOf(id) {
  const found = known.get(id);
  if (!found && !gone.has(id)) want(id);
  return found?.post.text ?? "";
}

export const isGone = (id) => gone.has(id) || pending(["post.delete"], ({ post }) => post === id).length > 0;

export function like(post) {
  act(shown(post).liked ? "like.remove" : "like.add", { post: post.id });
}

/** A picture that was uploaded here: shown from this browser until a post brings it from the server. */
export function picture(id, more) {
  pictures.set(id, { ...pictures.get(id), ...more });
}

/** The picture of a post that is on its way. */
export const pictureOf = (id) => ({ id, url: `/v1/media/${id}`, feed: `/v1/media/${id}?size=feed`, ...pictures.get(id) });

// Timelines do not say whether their reader likes a post, and tell nothing when counts change: what comes into sight is asked for.

const inSight = new Map();
const waiting = [];
let asking = 0;

const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) inSight.delete(target);
    else inSight.set(target, target.post);
    if (isIntersecting && known.get(target.post)?.liked === undefined) want(target.post);
  }
});

/** Asks for what is true of `element.post` whenever it comes into sight and that is not known. */
export const watch = (element) => sight.observe(element);

/** Has a post asked for. */
export function want(id) {
  if (!waiting.includes(id)) waiting.push(id);
  next();
}

async function next() {
  if (asking >= AT_ONCE || waiting.length === 0 || client?.state !== "online") return;
  const id = waiting.shift();
  asking += 1;
  try {
    const { post, liked } = await ask("post.get", { post: id });
    learn(post, liked);
    changed();
  } catch (error) {
    if (error.code === "not_found") lose(id);
  }
  asking -= 1;
  next();
}

/** A post is no more. */
function lose(id) {
  gone.add(id);
  changed();
}

const refresh = () => [...inSight.values()].forEach(want);
document.addEventListener("visibilitychange", () => document.hidden || refresh());

onClient((client) => {
  client.on("state", ({ state }) => state === "online" && refresh());
  client.on("event:post.created", ({ post }) => learn(post));
  client.on("event:post.deleted", ({ post }) => lose(post.id));
  client.on("push:post.removed", ({ post }) => lose(post));
  client.on("push:like.added", ({ post }) => known.has(post) && want(post));
  client.on("push:comment.created", ({ comment }) => known.has(comment.post) && want(comment.post));
});

onDone("post.create", ({ post }, sent, id) => {
  rename(post.id, id);
  learn(post, false);
});
onDone("post.delete", (reply, { post }) => lose(post));
for (const type of ["like.add", "like.remove"]) {
  onDone(type, ({ post, likes }) => {
    const { post: before } = known.get(post) ?? {};
    if (before) learn({ ...before, likes }, type === "like.add");
  });
}
onDone("comment.create", (reply, { post }) => {
  const { post: before, liked } = known.get(post) ?? {};
  if (before) learn({ ...before, comments: before.comments + 1 }, liked);
});
