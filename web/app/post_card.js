// One post: what it says and shows, why it is there, and what can be done with it.
import { avatar, attribute, button, confirm, h, icon, moment, plural, rich, text } from "./dom.js";
import { act } from "./effects.js";
import { commentsOf, unsent } from "./comments.js";
import { me } from "./live.js";
import { like, pictureOf, shown, watch } from "./posts.js";

/** An action below a post: a button, and beside it how many have done so. */
function action(name, label, onclick) {
  const count = h("span", { class: "count" });
  const press = button(label, { "aria-label": label, title: label, onclick }, icon(name));
  return { press, count, box: h("span", { class: `action ${name}` }, press, count) };
}

function look(picture, alt) {
  const dialog = h("dialog", { class: "picture", "aria-label": alt, onclose: () => dialog.remove(), onclick: () => dialog.close() },
    h("img", { src: picture.url, alt }), button("Close", { "aria-label": "Close" }, icon("close")));
  document.body.append(dialog);
  dialog.showModal();
}

/** Pictures in the room that they will take. */
function gallery(author, media) {
  const all = media.map((item, at) => {
    const picture = typeof item === "string" ? pictureOf(item) : item;
    const alt = media.length > 1 ? `Picture ${at + 1} of ${media.length} by @${author}` : `Picture by @${author}`;
    const image = h("img", { src: picture.preview ?? picture.feed, alt, loading: "lazy", decoding: "async", width: picture.width ?? 4, height: picture.height ?? 3 });
    const frame = button(alt, { onclick: () => look(picture, alt) }, image);
    if (media.length === 1) frame.style.setProperty("--shape", Math.max(0.7, (picture.width ?? 4) / (picture.height ?? 3)));
    return frame;
  });
  return h("div", { class: `gallery of-${media.length}` }, ...all);
}

const REASONS = [
  ["age", "New", () => "how new it is"],
  ["affinity", "Close", (post) => (post.author === me() ? "it is yours" : `how much you turn to @${post.author}`)],
  ["popularity", "Popular", () => "its likes and comments"],
];

/** What ranked a post, each part as long as its share. */
function reasons({ post, why, score, at }) {
  if (!why) return [h("p", {}, post.author === me() ? "You wrote it." : `It has just come in from @${post.author}, and has not been ranked yet.`)];
  const top = REASONS.reduce((best, reason) => (why[reason[0]] > why[best[0]] ? reason : best));
  const lead = score > 0 ? `Mostly for ${top[2](post)}.` : "Nothing speaks for it but that there is room.";
  const bars = REASONS.map(([part, label, what]) => {
    const bar = h("span", { class: "bar" });
    bar.style.setProperty("--share", score > 0 ? why[part] / score : 0);
    return h("li", {}, h("span", {}, `${label}: ${what(post)}`), bar, h("span", { class: "count" }, why[part].toFixed(2)));
  });
  return [h("p", {}, lead), h("ul", { class: "bars" }, ...bars), h("p", { class: "note" }, `Score ${score.toFixed(2)}, as of ${new Date(at).toLocaleTimeString()}`)];
}

async function remove(post) {
  const sure = await confirm({ title: "Delete this post?", detail: "It goes for everybody, with its pictures. This cannot be undone.", yes: "Delete", no: "Keep it" });
  if (sure) act("post.delete", { post: post.id });
}

/** Opens and closes what is below a card: a button that says so, and what it shows. */
function fold(press, content) {
  let folded = null;
  const set = (to) => {
    attribute(press, "aria-expanded", String(to));
    if (folded) folded.hidden = !to;
  };
  set(false);
  return {
    toggle() {
      const to = press.getAttribute("aria-expanded") !== "true";
      if (!folded) press.closest("article").append((folded = content()));
      set(to);
      return to;
    },
    update: () => folded?.hidden === false && folded.update?.(),
  };
}

/** An article that shows `item` (`{post, why?, score?, at?}`) and is kept up to date by `update`; `whole` with its comments open. */
export function postCard(first, { whole = false } = {}) {
  let item = first;
  const { author } = first.post;
  const at = moment();
  const when = h("a", { class: "when" }, at);
  const likes = action("like", "Like", () => like(item.post));
  const talk = action("comment", "Comments", () => talkFold.toggle());
  const why = action("why", "Why am I seeing this?", () => whyFold.toggle());
  const talkFold = fold(talk.press, () => commentsOf(item.post.id));
  const whyFold = fold(why.press, () => h("div", { class: "why-box" }, ...reasons(item)));
  const trash = author === me() ? action("delete", "Delete", () => remove(item.post)) : null;
  const said = h("p", { class: "said" }, ...rich(first.post.text));
  const state = h("div", { class: "sending" });
  const actions = h("p", { class: "actions" }, likes.box, talk.box, why.box, trash?.box);
  const media = h("div", {});
  const card = h("article", { class: "card", "aria-label": `Post by @${author}` },
    h("p", { class: "by" }, avatar(author), h("a", { href: `#/u/${author}` }, `@${author}`), " ", when), said, media, state, actions);

  card.update = (next = item) => {
    item = next;
    const { pending = false, error } = item;
    const post = pending || error ? item.post : shown(item.post);
    at.update(post.created_at);
    attribute(when, "href", pending || error ? null : `#/post/${post.id}`);
    card.toggleAttribute("data-pending", pending);
    attribute(card, "data-id", post.id);
    if (post.media?.length && media.childElementCount === 0) media.append(gallery(author, post.media));
    if (pending) text(state, "Sending…");
    else if (error) state.childElementCount || state.replaceChildren(unsent(post.id, error));
    else text(state, "");
    actions.hidden = pending || error !== undefined;
    attribute(likes.press, "aria-pressed", String(post.liked === true));
    likes.count.replaceChildren(...counted(post.likes, "like"));
    talk.count.replaceChildren(...counted(post.comments, "comment"));
    talkFold.update();
    if (pending || error || card.post === post.id) return;
    card.post = post.id;
    watch(card);
    if (whole) talkFold.toggle();
  };
  return card;
}

const counted = (count, what) => (count > 0 ? [String(count), h("span", { class: "hidden" }, plural(count, ` ${what}`).replace(/^\d+/, ""))] : []);
