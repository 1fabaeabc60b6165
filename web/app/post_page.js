// One post by itself, with its comments.
import { h, text } from "./dom.js";
import { because } from "./effects.js";
import { ask, changed } from "./live.js";
import { postCard } from "./post_card.js";
import { isGone, learn } from "./posts.js";

export function postPage(id, signal) {
  const note = h("p.note", { role: "status" }, "Loading…");
  const element = h("div", h("h1", "Post"), note);
  let card = null;
  ask("post.get", { post: id }, signal).then(({ post, liked }) => {
    learn(post, liked);
    card = postCard({ post }, true);
    note.before(card);
    text(note, "");
    changed();
  }, (error) => text(note, error.code === "not_found" ? "This post is gone, or not for you to see." : because(error)));
  const update = () => {
    if (card && isGone(id)) {
      card.remove();
      text(note, "This post was deleted.");
    }
    card?.update();
  };
  return { title: "Post", element, update };
}
