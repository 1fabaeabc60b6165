// A user's page, and the lists of followers and followed users.
import { attribute, avatar, button, confirm, h, person, plural, rows, status, text } from "./dom.js";
import { act, pending, whyNobody } from "./effects.js";
import { changed, client, me, pages } from "./live.js";
import { followOf, isBlocked, loadPrivacy, loadProfile, privacy, profile } from "./people.js";
import { cards, outside } from "./post_card.js";
import { learn } from "./posts.js";
import { link, load } from "./requests.js";
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

const closed = (follows) => `This account is private. Only followers see its posts.${follows === "requested" ? " You have asked to follow it, and there is no answer yet." : ""}`;
const FOLLOWS = { none: ["Follow"], requested: ["Requested", "Press to take your request back"], following: ["Following", "Press to follow no longer"] };

/** Follows a user, takes a request back, or follows no longer: what there is to do. */
async function turn(handle) {
  const now = followOf(handle);
  if (now === "none") return act("follow.add", { user: handle });
  const isEasy = now === "requested" || !profile(handle)?.private;
  if (isEasy || (await confirm(`Follow @${handle} no longer?`, "This account is private: to follow it again, you have to ask again.", "Follow no longer", "Go on following")))
    act("follow.remove", { user: handle });
}

export const profilePage = (signOutButton) => (handle, signal) => {
  const isMine = handle === me();
  const follow = button("Follow", () => turn(handle));
  const block = button("Block", () => act(block.textContent === "Block" ? "block.add" : "block.remove", { user: handle }));
  const message = button("Message", () => go(`/messages/${handle}`));
  const place = h("div");
  const edit = button("Edit profile", () => {
    place.replaceChildren(editor(profile(handle), () => (place.replaceChildren(), edit.focus())));
    place.querySelector("input").focus();
  });
  const [name, bio, since, locked] = [h("bdi"), h("p.said"), h("span"), h("span.mark", "Private account")];
  const [followers, following] = ["followers", "following"].map((direction) => h("a", { href: `#/u/${handle}/${direction}` }));
  const note = status();
  const list = h("div.list");
  const take = (posts) => posts.map((post) => (learn(post), { id: post.id, post }));
  const posts = pages("post.list", { user: handle }, { signal, turn: take });
  const end = ending(posts.more);
  const counts = h("p.note.counts", followers, following, since);
  const asks = link("a.panel.row");
  const element = h("div.profile",
    h("div.panel", h("div.row", avatar(handle), h("div", h("h1", name), h("p.note", h("span", `@${handle}`), " ", locked))), bio, counts,
      h("p.buttons", ...(isMine ? [edit, button("Settings", () => go("/settings")), signOutButton()] : [follow, message, block]))),
    place, isMine && asks, h("h2", "Posts"), note, list, end);

  let [error, wasShut] = [null, false];
  loadProfile(handle, signal).catch((failed) => ((error = failed), changed()));
  if (isMine) load(), loadPrivacy(signal).catch(() => {});
  const come = ({ post }) => post.author === handle && outside(post) && !posts.items.some(({ id }) => id === post.id) && (posts.items = [...take([post]), ...posts.items]);
  signal.addEventListener("abort", client.on("event:post.created", come));

  const update = () => {
    const known = profile(handle);
    const [follows, blocks] = [followOf(handle), isBlocked(handle)];
    const isNobody = !known && error?.code === "not_found";
    const isClosed = known?.private === true && follows !== "following";
    const isShut = blocks || isNobody || isClosed;
    // Who is let in reads the posts that they could not see before.
    if (wasShut && !isShut) Object.assign(posts, { items: [], next: null, loaded: false, error: null });
    wasShut = isShut;
    text(name, known?.name || handle);
    text(bio, known?.bio ?? "");
    text(followers, plural(known?.followers ?? 0, "follower"));
    text(following, `${known?.following ?? 0} following`);
    text(since, known ? `since ${new Date(known.created_at).toLocaleDateString(undefined, { month: "long", year: "numeric" })}` : "");
    const [label, more] = FOLLOWS[follows];
    text(follow, label);
    attribute(follow, "aria-description", more);
    attribute(follow, "class", `follow${follows === "none" ? " primary" : ""}`);
    text(block, blocks || isNobody ? "Unblock" : "Block");
    follow.hidden = message.hidden = blocks || isNobody;
    counts.hidden = isNobody;
    locked.hidden = !(isMine ? privacy() : known)?.private;
    for (const [link, direction] of [[followers, "followers"], [following, "following"]]) attribute(link, "href", !isClosed && `#/u/${handle}/${direction}`);
    asks.update();
    const shown = cards(list, isShut ? [] : posts.items, isMine && outside);
    const trouble = (known ? null : error) ?? posts.error;
    text(note, blocks ? "You blocked this user: neither of you sees the other." : isClosed ? closed(follows) : trouble ? whyNobody(trouble)
      : shown > 0 ? "" : posts.loaded ? "No posts yet." : "Loading…");
    end.update(!isShut && !trouble && (posts.next || !posts.loaded));
  };
  return { title: `@${handle}`, element, update };
};

export function peoplePage(handle, direction, signal) {
  const list = h("ol.list");
  const note = status();
  const people = pages("follow.list", { user: handle, direction, limit: 50 }, { signal });
  const end = ending(people.more);
  const isMine = handle === me() && direction === "followers";
  const title = direction === "followers" ? `Followers of @${handle}` : `Followed by @${handle}`;
  const remove = async (who) => {
    const isSure = await confirm(`Remove @${who}?`, "They follow you no longer, and are not told. They may follow you again, or ask to while your account is private.", "Remove", "Keep");
    if (isSure) act("request.reject", { user: who });
  };
  const row = (who) => isMine
    ? person(who, button("Remove", () => remove(who), { "aria-label": `Remove follower @${who}` }))
    : h("li", h("a.panel.row", { href: `#/u/${who}` }, avatar(who), h("b", `@${who}`)));
  const heard = client.on("reply", ({ type, sent, error }) => {
    if (type === "request.reject" && !error) people.items = people.items.filter((who) => who !== sent.user);
  });
  signal.addEventListener("abort", heard);
  const update = () => {
    const { next, loaded, error } = people;
    const items = people.items.filter((who) => !isMine || pending("request.reject", ({ user }) => user === who).length === 0);
    rows(list, items, (who) => who, row);
    text(note, error ? whyNobody(error) : items.length > 0 ? "" : loaded ? "Nobody yet." : "Loading…");
    end.update(!error && (next || !loaded));
  };
  return { title, element: h("div", h("h1", title), note, list, end), update };
}
