// A user's page, and the lists of followers and followed users.
import { attribute, avatar, button, h, plural, rows, status, text } from "./dom.js";
import { act, whyNobody } from "./effects.js";
import { changed, client, me, pages } from "./live.js";
import { is, loadFollowing, loadProfile, profile } from "./people.js";
import { cards } from "./post_card.js";
import { learn } from "./posts.js";
import { go } from "./router.js";
import { atMost } from "./texts.js";
import { ending } from "./timeline.js";

const field = (label, input) => h("div.field", h("label", { for: input.id }, label), input);

/** Name and bio as fields. */
function editor(known, close) {
  const name = atMost(h("input", { id: "name", value: known?.name }), 50);
  const bio = atMost(h("textarea", { id: "bio", rows: 3 }, known?.bio), 300);
  const save = (event) => {
    event.preventDefault();
    act("profile.update", { name: name.value.trim(), bio: bio.value.trim() });
    close();
  };
  return h("form.panel", { onsubmit: save }, field("Name", name), field("Bio", bio),
    h("p.buttons", button("Cancel", close), h("button.primary", "Save")));
}

export const profilePage = (signOutButton) => (handle, signal) => {
  const isMine = handle === me();
  const toggle = (family) => () => act(`${family}.${is(family, handle) ? "remove" : "add"}`, { user: handle });
  const [follow, block] = [button("Follow", toggle("follow")), button("Block", toggle("block"))];
  const message = button("Message", () => go(`/messages/${handle}`));
  const place = h("div");
  const edit = button("Edit profile", () => {
    place.replaceChildren(editor(profile(handle), () => (place.replaceChildren(), edit.focus())));
    place.querySelector("input").focus();
  });
  const [name, bio, since] = [h("bdi"), h("p.said"), h("span")];
  const [followers, following] = ["followers", "following"].map((direction) => h("a", { href: `#/u/${handle}/${direction}` }));
  const note = status();
  const list = h("div.list");
  const turn = (posts) => posts.map((post) => (learn(post), { id: post.id, post }));
  const posts = pages("post.list", { user: handle }, { signal, turn });
  const end = ending(posts.more);
  const element = h("div.profile",
    h("div.panel", h("div.row", avatar(handle), h("div", h("h1", name), h("p.note", `@${handle}`))), bio, h("p.note.counts", followers, following, since),
      h("p.buttons", ...(isMine ? [edit, button("Settings", () => go("/settings")), signOutButton()] : [follow, message, block]))),
    place, h("h2", "Posts"), note, list, end);

  let error = null;
  loadProfile(handle, signal).catch((failed) => ((error = failed), changed()));
  if (!isMine) loadFollowing();
  const come = ({ post }) => post.author === handle && (posts.items = [...turn([post]), ...posts.items]);
  signal.addEventListener("abort", client.on("event:post.created", come));

  const update = () => {
    const known = profile(handle);
    const [follows, blocks] = [is("follow", handle), is("block", handle)];
    text(name, known?.name || handle);
    text(bio, known?.bio ?? "");
    text(followers, plural(known?.followers ?? 0, "follower"));
    text(following, `${known?.following ?? 0} following`);
    text(since, known ? `since ${new Date(known.created_at).toLocaleDateString(undefined, { month: "long", year: "numeric" })}` : "");
    text(follow, follows ? "Unfollow" : "Follow");
    attribute(follow, "class", follows ? null : "primary");
    text(block, blocks || (error?.code === "not_found" && !known) ? "Unblock" : "Block");
    follow.hidden = message.hidden = blocks;
    const shown = cards(list, blocks ? [] : posts.items, isMine);
    const trouble = error ?? posts.error;
    text(note, blocks ? "You have blocked them: neither of you sees the other." : trouble ? whyNobody(trouble)
      : shown > 0 ? "" : posts.loaded ? "No posts yet." : "Loading…");
    end.update(!blocks && !trouble && (posts.next || !posts.loaded));
  };
  return { title: `@${handle}`, element, update };
};

export function peoplePage(handle, direction, signal) {
  const list = h("ol.list");
  const note = status();
  const people = pages("follow.list", { user: handle, direction, limit: 50 }, { signal });
  const end = ending(people.more);
  const title = direction === "followers" ? `Followers of @${handle}` : `Followed by @${handle}`;
  const row = (who) => h("li", h("a.panel.row", { href: `#/u/${who}` }, avatar(who), h("b", `@${who}`)));
  const update = () => {
    const { items, next, loaded, error } = people;
    rows(list, items, (who) => who, row);
    text(note, error ? whyNobody(error) : items.length > 0 ? "" : loaded ? "Nobody yet." : "Loading…");
    end.update(!error && (next || !loaded));
  };
  return { title, element: h("div", h("h1", title), note, list, end), update };
}
