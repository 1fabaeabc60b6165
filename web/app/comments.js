// The comments below a post.
import { avatar, button, h, moment, rich, rows, text, user } from "./dom.js";
import { act, because, keyOf, onDone, unsent, written } from "./effects.js";
import { changed, onClient, pages } from "./live.js";
import { atMost, says } from "./texts.js";

const threads = new Map();

function take(comment) {
  const thread = threads.get(comment.post);
  if (thread && !thread.items.some(({ id }) => id === comment.id)) thread.items = [comment, ...thread.items];
}

onClient((client) => client.on("push:comment.created", ({ comment }) => (take(comment), changed())));
onDone("comment.create", ({ comment }) => take(comment));

function row({ author, text: said, id, error }) {
  const at = moment();
  const line = h("li.remark", avatar(author), h("div", h("p.by", user(author), at), h("p.said", ...rich(said)), error && unsent(id)));
  line.update = ({ created_at, pending }) => {
    at.update(created_at);
    line.toggleAttribute("data-pending", pending === true);
  };
  return line;
}

/** A text field that grows. Its button or Ctrl+Enter sends it; with `enter`, Enter alone does. */
export function writer(label, send, most, done, { enter = false, ontyping } = {}) {
  const field = atMost(h("textarea", { "aria-label": label, placeholder: label, rows: 1, oninput: () => ontyping?.() }), most);
  const form = h("form.writer", field, h("button.primary", send));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const said = field.value.trim();
    field.value = "";
    field.focus();
    if (says(said)) done(said);
  });
  sendsWith(field, form, enter);
  return form;
}

/** Lets the keyboard send a form. */
export function sendsWith(field, form, enter = false) {
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || event.shiftKey || !(enter || event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit();
  });
}

/** The comments of a post, and a field to write one. `update` shows new ones. */
export function commentsOf(post) {
  const thread = threads.get(post) ?? pages("comment.list", { post });
  threads.set(post, Object.assign(thread, { items: [], next: null, loaded: false }));
  const list = h("ol.comments");
  const earlier = button("Earlier comments", thread.more, { kind: "quiet" });
  const note = h("p.note");
  const form = writer("Write a comment", "Send comment", 1000, (text) => act("comment.create", { post, text }));
  const section = h("section.thread", { "aria-label": "Comments" }, earlier, note, list, form);
  section.update = () => {
    const { items, next, loaded, error } = thread;
    const all = [...items.toReversed(), ...written("comment.create", (body) => body.post === post, items)];
    rows(list, all, keyOf, row);
    earlier.hidden = !next;
    text(note, error ? because(error) : all.length > 0 ? "" : loaded ? "No comments yet." : "Loading…");
  };
  thread.more();
  section.update();
  return section;
}
