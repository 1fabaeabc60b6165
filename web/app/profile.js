// A user's page, and the lists of who follows whom.
import { changed } from "./changes.js";
import { attribute, avatar, button, h, plural, rows, text } from "./dom.js";
import { act, because, keyOf, open, written } from "./effects.js";
import { ask, client, me } from "./live.js";
import { isBlocked, isFollowed, loadFollowing, loadProfile, profile } from "./people.js";
import { postCard } from "./post_card.js";
import { isGone, learn } from "./posts.js";
import { go } from "./router.js";
import { ending } from "./timeline.js";

/** Pages of a list, read as its end comes near: `{items, done, error}` and `more`. */
function pages(read, signal) {
  const list = { items: [], next: null, done: false, error: null };
  let busy = false;
  list.more = async () => {
    if (busy || list.done) return;
    busy = true;
    try {
      const page = await read(list.next ? { before: list.next } : {});
      list.items.push(...page.items);
      Object.assign(list, { next: page.next ?? null, done: !page.next, error: null });
    } catch (error) {
      if (!signal.aborted) list.error = error;
    }
    busy = false;
    changed();
  };
  return list;
}

const NOBODY = "There is nobody of that handle, or one of you has blocked the other.";
const why = (error) => (error.code === "not_found" ? NOBODY : because(error));

/** Name and bio as fields. */
function editor(user, close) {
  const name = h("input", { id: "name", maxlength: 50, value: user.name });
  const bio = h("textarea", { id: "bio", maxlength: 300, rows: 3 });
  bio.value = user.bio;
  const form = h("form", { class: "panel editor" }, h("div", { class: "field" }, h("label", { for: "name" }, "Name"), name),
    h("div", { class: "field" }, h("label", { for: "bio" }, "Bio"), bio),
    h("p", { class: "buttons" }, button("Cancel", { onclick: close }), h("button", { class: "primary" }, "Save")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act("profile.update", { name: name.value.trim(), bio: bio.value.trim() });
    close();
  });
  return form;
}

export const profilePage = (signOutButton) => (handle, signal) => {
  const mine = handle === me();
  const toggle = (family) => () => act(`${family}.${(family === "follow" ? isFollowed : isBlocked)(handle) ? "remove" : "add"}`, { user: handle });
  const follow = button("Follow", { class: "primary", onclick: toggle("follow") });
  const block = button("Block", { onclick: toggle("block") });
  const message = button("Message", { onclick: () => go(`/messages/${handle}`) });
  const edit = button("Edit profile", { onclick: () => place.replaceChildren(editor(profile(handle) ?? { name: "", bio: "" }, () => (place.replaceChildren(), edit.focus()))) });
  const place = h("div", {});
  const name = h("h1", {});
  const bio = h("p", { class: "said" });
  const count = (direction) => h("a", { href: `#/u/${handle}/${direction}` });
  const [followers, following] = [count("followers"), count("following")];
  const since = h("span", {});
  const note = h("p", { class: "note", role: "status" });
  const list = h("div", { class: "list" });
  const posts = pages(async (page) => {
    const found = await ask("post.list", { user: handle, ...page }, signal);
    found.items.forEach((post) => learn(post));
    return found;
  }, signal);
  const end = ending(posts.more);
  const element = h("div", { class: "profile" },
    h("div", { class: "panel" },
      h("div", { class: "row" }, avatar(handle, true), h("div", {}, name, h("p", { class: "note" }, `@${handle}`))), bio,
      h("p", { class: "note counts" }, followers, following, since),
      h("p", { class: "buttons" }, ...(mine ? [edit, signOutButton()] : [follow, message, block]))),
    place, h("h2", {}, "Posts"), note, list, end);

  let error = null;
  loadProfile(handle, signal).catch((failed) => ((error = failed), changed()));
  if (!mine) loadFollowing();
  signal.addEventListener("abort", client.on("event:post.created", ({ post }) => post.author === handle && posts.items.unshift(post)));
  const update = () => {
    const user = profile(handle);
    text(name, user?.name || handle);
    text(bio, user?.bio ?? "");
    bio.hidden = !user?.bio;
    text(followers, plural(user?.followers ?? 0, "follower"));
    text(following, `${user?.following ?? 0} following`);
    text(since, user ? `since ${new Date(user.created_at).toLocaleDateString(undefined, { month: "long", year: "numeric" })}` : "");
    const [follows, blocks] = [isFollowed(handle), isBlocked(handle)];
    text(follow, follows ? "Unfollow" : "Follow");
    attribute(follow, "class", follows ? null : "primary");
    text(block, blocks || (error?.code === "not_found" && !user) ? "Unblock" : "Block");
    follow.hidden = message.hidden = blocks;
    const shown = blocks ? [] : posts.items.filter(({ id }) => !isGone(id)).map((post) => ({ id: post.id, post }));
    const waiting = mine ? open("post.create").map((entry) => ({ ...written(entry), post: { ...written(entry), likes: 0, comments: 0 } })).reverse() : [];
    rows(list, [...waiting, ...shown], (item) => keyOf(item) + (item.error ? "!" : ""), (item) => postCard(item));
    const trouble = blocks ? "You have blocked each other's view. Unblock to see what is here." : (error ?? posts.error) && why(error ?? posts.error);
    text(note, trouble || (posts.done && shown.length + waiting.length === 0 ? "No posts yet." : posts.done || shown.length > 0 ? "" : "Loading…"));
    end.hidden = posts.done || posts.error !== null;
  };
  return { title: `@${handle}`, element, update };
};

export function peoplePage(handle, direction, signal) {
  const list = h("ol", { class: "list" });
  const note = h("p", { class: "note", role: "status" });
  const people = pages((page) => ask("follow.list", { user: handle, direction, limit: 50, ...page }, signal), signal);
  const end = ending(people.more);
  const title = direction === "followers" ? `Followers of @${handle}` : `Followed by @${handle}`;
  const element = h("div", {}, h("h1", {}, title), note, list, end);
  const row = (who) => h("li", {}, h("a", { class: "panel row", href: `#/u/${who}` }, avatar(who), h("b", {}, `@${who}`)));
  const update = () => {
    rows(list, people.items, (who) => who, row);
    text(note, people.error ? why(people.error) : people.done ? (people.items.length === 0 ? "Nobody yet." : "") : "Loading…");
    end.hidden = people.done || people.error !== null;
  };
  return { title, element, update };
}
