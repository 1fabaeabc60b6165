// The comments below a post.
import { changed } from "./changes.js";
import { avatar, button, h, moment, rich, rows } from "./dom.js";
import { act, again, because, drop, keyOf, onDone, open, rename, written } from "./effects.js";
import { ask, onClient } from "./live.js";

const threads = new Map();
const threadOf = (post) => threads.get(post) ?? threads.set(post, { items: [], next: null, loaded: false, error: null }).get(post);

function take(comment) {
  const thread = threads.get(comment.post);
  if (thread?.loaded && !thread.items.some(({ id }) => id === comment.id)) thread.items.push(comment);
}

onClient((client) => client.on("push:comment.created", ({ comment }) => (take(comment), changed())));
onDone("comment.create", ({ comment }, sent, id) => (rename(comment.id, id), take(comment)));

/** Reads the newest comments, or those before what is there. */
async function read(post, more) {
  const thread = threadOf(post);
  if (thread.reading) return;
  thread.reading = true;
  try {
    const page = await ask("comment.list", { post, ...(more && { before: thread.next }) });
    const items = page.items.toReversed();
    thread.items = more ? [...items, ...thread.items] : items;
    Object.assign(thread, { next: page.next ?? null, loaded: true, error: null });
  } catch (error) {
    thread.error = error;
  }
  thread.reading = false;
  changed();
}

/** What can be done about something that was not sent. */
export function unsent(id, error) {
  return h("p", { class: "unsent" }, `Not sent. ${because(error)} `,
    button("Try again", { onclick: () => again(id) }), button("Discard", { onclick: () => drop(id) }));
}

function comment({ author, text, id, error }) {
  const at = moment();
  const row = h("li", { class: "comment" }, avatar(author),
    h("div", {},
      h("p", { class: "by" }, h("a", { href: `#/u/${author}` }, `@${author}`), " ", at),
      h("p", { class: "said" }, ...rich(text)),
      error ? unsent(id, error) : null));
  row.update = ({ created_at, pending }) => {
    at.update(created_at);
    row.toggleAttribute("data-pending", pending === true);
  };
  return row;
}

/** A text field that grows, sent with its button or with Ctrl and Enter (`enter`: with Enter alone). */
export function writer({ label, send, most, enter = false, ontyping }) {
  const field = h("textarea", { "aria-label": label, placeholder: label, rows: 1, maxlength: most, required: true });
  const form = h("form", { class: "writer" }, field, h("button", { class: "primary" }, send.label));
  const submit = () => {
    const said = field.value.trim();
    if (said === "") return field.focus();
    field.value = "";
    send.do(said);
    field.focus();
  };
  form.addEventListener("submit", (event) => (event.preventDefault(), submit()));
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || event.shiftKey || !(enter || event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    submit();
  });
  field.addEventListener("input", () => ontyping?.(field.value));
  return form;
}

/** The comments of a post, and a place to write one. `update` shows what is new. */
export function commentsOf(post) {
  const list = h("ol", { class: "comments", "aria-label": "Comments" });
  const earlier = button("Earlier comments", { class: "quiet", onclick: () => read(post, true) });
  const note = h("p", { class: "note" });
  const form = writer({ label: "Write a comment", most: 1000, send: { label: "Send comment", do: (text) => act("comment.create", { post, text }) } });
  const section = h("section", { class: "thread", "aria-label": "Comments" }, earlier, note, list, form);
  section.update = () => {
    const thread = threadOf(post);
    const mine = open("comment.create", (body) => body.post === post).map(written);
    rows(list, [...thread.items, ...mine], (item) => keyOf(item) + (item.error ? "!" : ""), comment);
    earlier.hidden = !thread.next;
    const none = thread.loaded && thread.items.length + mine.length === 0;
    note.textContent = thread.error ? because(thread.error) : none ? "No comments yet." : thread.loaded ? "" : "Loading…";
    note.hidden = note.textContent === "";
  };
  read(post);
  section.update();
  return section;
}
