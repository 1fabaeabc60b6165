// One post: its text and pictures, why it is there, and its actions.
import { avatar, attribute, button, confirm, h, moment, plural, rich, slidingRows, text, user } from "./dom.js";
import { act, keyOf, unsent, written } from "./effects.js";
import { commentsOf } from "./comments.js";
import { nameOf } from "./group.js";
import { me } from "./live.js";
import { atMost } from "./texts.js";
import { decide, isGone, like, mayDecide, pictureOf, shown, want, watch } from "./posts.js";

/** An action below a post: a button, and beside it how many people have used it. */
function action(picture, label, onclick) {
  const count = h("span.count");
  const press = button(label, onclick, { picture });
  return { press, count, box: h(`span.action.${picture}`, press, count) };
}

function look({ url }, alt) {
  const dialog = h("dialog.picture", { "aria-label": alt, onclose: () => dialog.remove(), onclick: () => dialog.close() },
    h("img", { src: url, alt }), button("Close", () => {}, { picture: "close" }));
  document.body.append(dialog);
  dialog.showModal();
}

/** Pictures, each with its final size from the start. The addresses of those that are for few end; `update` has new ones. */
function gallery({ id, author, media }) {
  const pictured = (item) => (item.id ? item : pictureOf(item));
  const frames = media.map((item, at) => {
    let [picture, isEnded] = [pictured(item), false];
    const { width = 4, height = 3 } = picture;
    const alt = `Picture${media.length > 1 ? ` ${at + 1} of ${media.length}` : ""} by @${author}`;
    const ended = () => ((isEnded = true), item.id && want(id));
    const image = h("img", { src: picture.feed, alt, loading: "lazy", decoding: "async", onerror: ended });
    const frame = h("button", { type: "button", onclick: () => look(picture, alt) }, image);
    frame.style.setProperty("--shape", Math.max(0.7, width / height));
    frame.update = (now) => {
      picture = pictured(now);
      if (!isEnded || image.getAttribute("src") === picture.feed) return;
      isEnded = false;
      image.src = picture.feed;
    };
    return frame;
  });
  const box = h(`div.gallery.of-${media.length}`, ...frames);
  box.update = (media) => frames.forEach((frame, at) => media[at] && frame.update(media[at]));
  return box;
}

const REASONS = [
  ["age", "New", () => "how new it is"],
  ["affinity", "Close", ({ author }) => (author === me() ? "you" : `how much you turn to @${author}`)],
  ["popularity", "Popular", () => "its likes and comments"],
];

/** The parts of a post's score, each as wide as its share. */
function reasons({ post, why, score, at }) {
  if (!why) return h("p.why-box", post.author === me() ? "You wrote it." : `It is by @${post.author}, and has not been ranked on your timeline.`);
  const top = REASONS.reduce((best, reason) => (why[reason[0]] > why[best[0]] ? reason : best));
  const bars = REASONS.map(([part, label, what]) => {
    const bar = h("span.bar");
    bar.style.setProperty("--share", score > 0 ? why[part] / score : 0);
    return h("li", h("span", `${label}: ${what(post)}`), bar, h("span.count", why[part].toFixed(2)));
  });
  return h("div.why-box", h("p", score > 0 ? `Mostly because of ${top[2](post)}.` : "Nothing speaks for it but that there is room."),
    h("ul.bars", ...bars), h("p.note", `Score ${score.toFixed(2)}, as of ${new Date(at).toLocaleTimeString()}`));
}

async function remove(post) {
  const sure = await confirm("Delete this post?", "It goes for everybody, with its pictures. This cannot be undone.", "Delete", "Keep it");
  if (sure) act("post.delete", { post: post.id });
}

const AUDIENCES = { followers: "Followers only", close: "Close friends only" };
/** What a moderator has decided. */
const STATES = {
  hidden: "Taken down by a moderator: only its author and moderators see it.",
  held: "Held by a moderator until it is decided: only its author and moderators see it.",
  limited: "Limited by a moderator: it is on no list, and who has its link sees it.",
};

async function takeDown(post) {
  const reason = atMost(h("textarea", { id: "reason", rows: 3 }), 500);
  const field = h("div.field", h("label", { for: "reason" }, "Reason, which its author reads"), reason);
  const sure = await confirm("Take this post down?", "Nobody but its author and moderators sees it from then on. You can show it again.", "Take down", "Leave it", field);
  const said = reason.value.trim();
  if (sure) decide(post, true, said && { reason: said });
}

/** What a moderator has decided about a post, and why; a moderator can take it back. */
function verdict() {
  const [what, said] = [h("p"), h("bdi")];
  const why = h("p", "Reason: ", said);
  const again = button("Show again", () => decide(box.post, false));
  const box = h("div.verdict", what, why, again);
  box.update = (post) => {
    const { state = "shown", reason } = (box.post = post);
    box.hidden = !STATES[state];
    text(what, STATES[state] ?? "");
    text(said, reason ?? "");
    why.hidden = !reason;
    again.hidden = !mayDecide(post);
  };
  return box;
}

/** Makes `press` open and close something below its article; `content` makes it when it is first opened. */
function fold(press, content) {
  let folded = null;
  attribute(press, "aria-expanded", "false");
  const toggle = () => {
    if (folded) folded.hidden = !folded.hidden;
    else press.closest("article").append((folded = content()));
    attribute(press, "aria-expanded", String(!folded.hidden));
  };
  press.addEventListener("click", toggle);
  return { toggle, update: () => folded && !folded.hidden && folded.update?.() };
}

/** How often something was done; only screen readers say what. */
function count(element, number, what) {
  if (element.number === number) return;
  element.number = number;
  element.replaceChildren(...(number > 0 ? [number, h("span.hidden", ` ${what}${number === 1 ? "" : "s"}`)] : []));
}

/** An article that shows `item` (`{post, why?, score?, at?, pending?, error?}`); `whole` with its comments open. */
export function postCard(first, whole = false) {
  let item = first;
  const { author, text: said } = first.post;
  const at = moment();
  const when = h("a", at);
  const likes = action("like", "Like", () => like(item.post));
  const talk = action("comment", "Comments");
  const why = action("why", "Why am I seeing this?");
  const comments = fold(talk.press, () => commentsOf(item.post.id));
  fold(why.press, () => reasons(item));
  const trash = author === me() && action("delete", "Delete", () => remove(item.post)).box;
  const down = action("remove", "Take down", () => takeDown(item.post)).box;
  const decided = verdict();
  const inside = first.post.group && h("a.mark.in", { href: `#/groups/${first.post.group}` }, h("bdi"));
  const state = h("p.note");
  const actions = h("p.actions", likes.box, talk.box, why.box, down, trash);
  const media = h("div");
  const card = h("article.card", { "aria-label": `Post by @${author}` },
    h("p.by", avatar(author), user(author), when, inside, AUDIENCES[first.post.audience] && h("span.mark", AUDIENCES[first.post.audience])), h("p.said", ...rich(said)), media, state, decided, first.error && unsent(first.id), actions);

  card.update = (next = item) => {
    item = next;
    const { pending = false, error } = item;
    const open = pending || error !== undefined;
    const post = open ? item.post : shown(item.post);
    at.update(post.created_at);
    card.toggleAttribute("data-pending", pending);
    text(state, pending ? "Sending…" : "");
    if (post.media?.length) media.firstChild ? media.firstChild.update(post.media) : media.append(gallery(post));
    decided.update(post);
    if (inside) text(inside.firstChild, nameOf(post.group) || "In a group");
    actions.hidden = open;
    if (open) return;
    down.hidden = !mayDecide(post) || author === me() || !decided.hidden;
    when.href = `#/post/${post.id}`;
    attribute(likes.press, "aria-pressed", String(post.liked));
    count(likes.count, post.likes, "like");
    count(talk.count, post.comments, "comment");
    comments.update();
    if (card.post === post.id) return;
    card.post = post.id;
    watch(card);
    if (whole) comments.toggle();
  };
  return card;
}

/** Picks what is posted in no group. */
export const outside = ({ group }) => !group;

/** Shows `items` in a list as cards; with `mine`, this user's newest posts that it picks come first. */
export function cards(list, items, mine) {
  const there = items.filter(({ post }) => !isGone(post.id)).map((item) => ({ ...item, id: item.post.id }));
  const wrote = mine ? written("post.create", mine, items.map(({ post }) => post)).reverse() : [];
  slidingRows(list, [...wrote.map(({ pending, error, ...post }) => ({ id: post.id, post, pending, error })), ...there], keyOf, (item) => postCard(item));
  return wrote.length + there.length;
}
