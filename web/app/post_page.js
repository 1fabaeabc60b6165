// One post by itself, with its comments.
import { h, status, text } from "./dom.js";
import { because } from "./effects.js";
import { ask, changed } from "./live.js";
import { postCard } from "./post_card.js";
import { isGone, learn } from "./posts.js";

const GONE = "This post is gone, or not for you to see.";

export function postPage(id, signal) {
  const note = status("Loading…");
  const element = h("div", h("h1", "Post"), note);
  let card = null;
  ask("post.get", { post: id }, signal).then(({ post, liked }) => {
    learn(post, liked);
    card = postCard({ post }, true);
    note.before(card);
    text(note, "");
    changed();
  }, (error) => text(note, error.code === "not_found" ? GONE : because(error)));
  const update = () => {
    if (!card) return;
    card.hidden = isGone(id);
    text(note, card.hidden ? GONE : "");
    card.update();
  };
  return { title: "Post", element, update };
}
