// Writing a post, with up to four pictures. They go up while the text is written.
import { changed } from "./changes.js";
import { attribute, button, h, icon } from "./dom.js";
import { act, because } from "./effects.js";
import { ask, keep, kept, onClient, session } from "./live.js";
import { picture } from "./posts.js";

const MOST_TEXT = 2000;
const MOST_PICTURES = 4;
const TAKEN = "image/jpeg,image/png,image/gif,image/webp";

/** What the server has said of media, which may come before the upload's own answer. */
const verdicts = new Map();
onClient((client) => {
  client.on("push:media.ready", ({ media }) => judge(media.id, { media }));
  client.on("push:media.failed", ({ id, reason }) => judge(id, { reason }));
});

function judge(id, verdict) {
  verdicts.set(id, verdict);
  if (verdict.media) picture(id, { width: verdict.media.width, height: verdict.media.height });
  changed();
}

/** One picture on its way. */
class Upload {
  constructor(file, onchange) {
    this.preview = URL.createObjectURL(file);
    this.stop = new AbortController();
    this.share = 0;
    this.bar = h("progress", { max: 1, value: 0, "aria-label": "Upload" });
    this.note = h("span", { class: "note", role: "status" });
    this.row = h("li", {}, h("img", { src: this.preview, alt: file.name }), this.bar, this.note);
    this.send(file, onchange);
  }

  async send(file, onchange) {
    const onProgress = (share) => (this.bar.value = share);
    try {
      const { id } = await session.uploadMedia(file, { begin: (body) => ask("media.begin", body), onProgress, signal: this.stop.signal });
      this.id = id.id ?? id;
    } catch (error) {
      this.error = because(error);
    }
    onchange();
  }

  /** `sending`, `checking`, `ready` or `failed`. */
  get state() {
    const verdict = this.id && verdicts.get(this.id);
    if (this.error || verdict?.reason) return "failed";
    return verdict ? "ready" : this.id ? "checking" : "sending";
  }

  update() {
    const { state } = this;
    this.bar.hidden = state !== "sending";
    const failed = () => `Not taken: ${this.error ?? verdicts.get(this.id).reason}`;
    this.note.textContent = { sending: "", checking: "Checking…", ready: "Ready", failed: state === "failed" ? failed() : "" }[state];
    attribute(this.row, "data-state", state);
    if (state === "ready") picture(this.id, { preview: this.preview });
  }
}

export function composer() {
  let uploads = [];
  let wanted = false;
  const field = h("textarea", { "aria-label": "What's happening?", placeholder: "What's happening?", rows: 2, maxlength: MOST_TEXT });
  const chosen = h("input", { type: "file", accept: TAKEN, multiple: true, class: "hidden", tabindex: -1, "aria-hidden": "true" });
  const add = button("Add pictures", { class: "icon", "aria-label": "Add pictures", title: "Add pictures", onclick: () => chosen.click() }, icon("picture"));
  const post = h("button", { class: "primary" }, "Post");
  const left = h("span", { class: "count" });
  const note = h("span", { class: "note", role: "status" });
  const pictures = h("ul", { class: "uploads" });
  const form = h("form", { class: "composer", "aria-label": "New post" }, field, pictures, h("p", { class: "buttons" }, add, chosen, note, left, post));

  const take = (files) => {
    const images = [...files].filter(({ type }) => type.startsWith("image/"));
    const fit = images.slice(0, MOST_PICTURES - uploads.length);
    for (const file of fit) {
      const upload = new Upload(file, update);
      upload.row.append(button("Remove picture", { class: "icon", "aria-label": "Remove picture", onclick: () => remove(upload) }, icon("close")));
      uploads.push(upload);
      pictures.append(upload.row);
    }
    update();
    if (images.length > fit.length) note.textContent = `A post has at most ${MOST_PICTURES} pictures.`;
  };
  const remove = (upload) => {
    upload.stop.abort();
    upload.row.remove();
    uploads = uploads.filter((other) => other !== upload);
    wanted = false;
    update();
    field.focus();
  };
  const update = () => {
    uploads.forEach((upload) => upload.update());
    const busy = uploads.filter(({ state }) => state === "sending" || state === "checking").length;
    const failed = uploads.some(({ state }) => state === "failed");
    if (failed) wanted = false;
    note.textContent = failed ? "Remove what was not taken, then post." : wanted ? "Posting once the pictures are ready…" : "";
    add.disabled = uploads.length >= MOST_PICTURES;
    left.textContent = field.value.length > MOST_TEXT - 200 ? String(MOST_TEXT - field.value.length) : "";
    attribute(post, "aria-disabled", field.value.trim() === "" || failed ? "true" : null);
    if (wanted && busy === 0) send();
  };
  const send = () => {
    const text = field.value.trim();
    const media = uploads.map(({ id }) => id);
    act("post.create", { text, ...(media.length > 0 && { media }) });
    field.value = "";
    pictures.replaceChildren();
    uploads = [];
    wanted = false;
    keep("draft", "");
    update();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (field.value.trim() === "") return field.focus();
    wanted = true;
    update();
  });
  field.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.requestSubmit());
  field.addEventListener("input", () => (keep("draft", field.value), update()));
  field.addEventListener("paste", ({ clipboardData }) => take(clipboardData.files));
  chosen.addEventListener("change", () => (take(chosen.files), (chosen.value = "")));
  form.addEventListener("dragover", (event) => event.preventDefault());
  form.addEventListener("drop", (event) => (event.preventDefault(), take(event.dataTransfer.files)));
  field.value = kept("draft", "");
  form.update = update;
  update();
  return form;
}
