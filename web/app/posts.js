// What is known about posts: the server's last word, and on top of it what this user is doing to them.
import { act, onDone, pending } from "./effects.js";
import { isAtLeast } from "./group.js";
import { ask, changed, client, isModerator, onClient } from "./live.js";

const MOST = 5000;
const AT_ONCE = 3;
const DECISIONS = "post.remove post.restore group.hide group.show";
const known = new Map();
/** Posts that are not there for this user, and whether that is final: they may be let in, and what was taken down may be shown again. */
const gone = new Map();
const pictures = new Map();

/** Remembers a post as it is now; `liked` only if that is known. */
export function learn(post, liked = known.get(post.id)?.liked) {
  known.delete(post.id);
  if (!gone.get(post.id)) gone.delete(post.id);
  known.set(post.id, { post, liked });
  if (known.size > MOST) known.delete(known.keys().next().value);
}

/** Whether this user decides about a post of somebody else's: as a moderator of all, or of its group. */
export const mayDecide = (post) => isModerator() || (post?.group !== undefined && isAtLeast("moderator", post.group));

/** Takes a post down, or shows it again. */
export function decide({ id: post, group }, isDown, more) {
  if (isModerator()) act(isDown ? "post.remove" : "post.restore", { post, ...more });
  else act(isDown ? "group.hide" : "group.show", { group, post, ...more });
}

/** A post to show. */
export function shown(post) {
  const { post: newest = post, liked = false } = known.get(post.id) ?? {};
  const isOurs = (body) => body.post === post.id;
  const toggle = pending("like.add like.remove", isOurs).at(-1);
  const mine = toggle ? toggle.type === "like.add" : liked;
  const decision = pending(DECISIONS, isOurs).at(-1);
  const decided = decision && { state: /remove|hide/.test(decision.type) ? "hidden" : "shown", reason: decision.body.reason };
  const likes = Math.max(0, newest.likes + Number(mine) - Number(liked));
  return { ...newest, ...decided, liked: mine, likes, comments: newest.comments + pending("comment.create", isOurs).length };
}

/** A post's text, if it is known; otherwise asks for it. */
export function textOf(id) {
  if (!known.has(id) && !gone.has(id)) want(id);
  return known.get(id)?.post.text ?? "";
}

export const isGone = (id) => gone.has(id) || pending("post.delete", ({ post }) => post === id).length > 0;

export const like = (post) => act(shown(post).liked ? "like.remove" : "like.add", { post: post.id });

/** A picture that was uploaded here, before a post with it has come. */
export const pictureOf = (id) => ({ url: `v1/media/${id}`, feed: `v1/media/${id}?size=feed`, ...pictures.get(id) });

// Timelines do not say whether their reader likes a post, and no event comes when its counts change. So posts that come
// into sight are asked for.

const inSight = new Map();
const waiting = new Set();
let asking = 0;

const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    inSight.delete(target);
    if (!isIntersecting) continue;
    inSight.set(target, target.post);
    want(target.post);
  }
});

/** Asks for the current state of `element.post` each time it comes into sight. */
export const watch = (element) => sight.observe(element);

/** Asks for the current state of a post. */
export async function want(id) {
  waiting.add(id);
  if (asking >= AT_ONCE) return;
  asking += 1;
  for (const next of waiting) {
    waiting.delete(next);
    await ask("post.get", { post: next }).then(({ post, liked }) => learn(post, liked), ({ code }) => code === "not_found" && lose(next));
    changed();
  }
  asking -= 1;
}

function lose(id, isFinal = false) {
  gone.set(id, isFinal || gone.get(id) === true);
  changed();
}

function refresh() {
  if (!document.hidden && client?.state === "online") inSight.forEach(want);
}
document.addEventListener("visibilitychange", refresh);

onClient((client) => {
  client.on("state", refresh);
  client.on("push:media.ready", ({ media }) => pictures.set(media.id, media));
  client.on("event:post.created", ({ post }) => learn(post));
  // What a moderator takes down stays for its author and for moderators, with the reason.
  client.on("event:post.deleted", ({ post: { id } }) => (mayDecide(known.get(id)?.post) ? want(id) : lose(id)));
  client.on("push:post.removed", ({ post }) => known.has(post) && want(post));
  client.on("push:post.restored", ({ post }) => known.has(post) && want(post));
  client.on("push:like.added", ({ post }) => known.has(post) && want(post));
  client.on("push:comment.created", ({ comment }) => known.has(comment.post) && want(comment.post));
});

/** Changes what is known about a post. */
function amend(id, change, liked) {
  const found = known.get(id);
  if (found) learn({ ...found.post, ...change(found.post) }, liked);
}

onDone("post.create", ({ post }) => learn(post, false));
onDone("post.delete", (reply, { post }) => lose(post, true));
onDone(DECISIONS, ({ post }) => learn(post));
// The reply says what holds: a later act, on another device perhaps, may have come first.
onDone("like.add", ({ post, likes, liked }) => amend(post, () => ({ likes }), liked));
// Across a block there is no count, and nothing to see any longer.
onDone("like.remove", ({ post, likes, liked }) => likes === undefined ? lose(post) : amend(post, () => ({ likes }), liked));
onDone("comment.create", (reply, { post }) => amend(post, ({ comments }) => ({ comments: comments + 1 })));
