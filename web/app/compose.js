// Writing a post, with up to four pictures. They are uploaded while the user writes.
import { attribute, button, h, text } from "./dom.js";
import { act, because } from "./effects.js";
import { sendsWith } from "./comments.js";
import { ask, keep, kept, onClient, session } from "./live.js";
import { loadPrivacy, privacy } from "./people.js";
import { atMost, count, says } from "./texts.js";

const MOST_TEXT = 2000;
const MOST_PICTURES = 4;

/** What the server has said about media, perhaps before the answer to the upload: null when a medium may be shown, otherwise the reason why not. */
const verdicts = new Map();
const composers = new Set();

function judge(id, reason) {
  verdicts.set(id, reason);
  composers.forEach((update) => update());
}

onClient((client) => {
  client.on("push:media.ready", ({ media }) => judge(media.id, null));
  client.on("push:media.failed", ({ id, reason }) => judge(id, reason));
});

const why = (error) => (error.code === "overloaded" ? "The server has no room for it now. Add it again in a moment." : because(error));

/** One picture that is being uploaded. */
function upload(file, update, remove) {
  const preview = URL.createObjectURL(file);
  const stop = new AbortController();
  const bar = h("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
  const note = h("span.note", { role: "status" });
  const row = h("li", h("img", { src: preview, alt: file.name }), bar, note, button(`Remove ${file.name}`, () => (stop.abort(), remove(self)), { picture: "close" }));
  const self = { row, id: null, error: null, isReady: false, free: () => URL.revokeObjectURL(preview) };
  self.update = () => {
    self.error ??= verdicts.get(self.id) ?? null;
    self.isReady = verdicts.has(self.id) && !self.error;
    bar.hidden = self.id !== null || self.error !== null;
    text(note, self.error ? "Not taken" : self.isReady ? "Ready" : self.id ? "Checking…" : "");
    row.toggleAttribute("data-failed", self.error !== null);
  };
  const options = { begin: (body) => ask("media.begin", body), onProgress: (share) => (bar.value = share), signal: stop.signal };
  session.uploadMedia(file, options)
    .then((media) => (self.id = media.id ?? media), (error) => (self.error = stop.signal.aborted ? null : why(error)))
    .then(update);
  return self;
}

/** For whom a post may be, in the words for a public and for a private user. */
const AUDIENCES = { everyone: ["Everyone", "Followers"], followers: ["Followers", "Always followers"], close: ["Close friends", "Close friends"] };

/** Asks for whom a post is. The choice stays: what was for a few must not go to all by itself. */
function audience() {
  const options = Object.keys(AUDIENCES).map((value) => h("option", { value }));
  const choice = h("select", { "aria-label": "Who sees it", onchange: () => (keep("audience", choice.value), choice.update()) }, ...options);
  choice.update = () => {
    const isPrivate = Number(privacy()?.private ?? false);
    for (const option of options) text(option, AUDIENCES[option.value][isPrivate]);
    choice.toggleAttribute("data-few", choice.value !== "everyone");
  };
  choice.value = kept("audience", "everyone");
  loadPrivacy().catch(() => {});
  choice.update();
  return choice;
}

/** A form for a new post; with `group` it is posted there, until `signal` is aborted. */
export function composer({ group, signal } = {}) {
  const draft = group ? `draft/${group}` : "draft";
  let uploads = [];
  let isWanted = false;
  const field = atMost(h("textarea", { "aria-label": "What's happening?", placeholder: "What's happening?", rows: 2 }), MOST_TEXT);
  const chosen = h("input", { type: "file", accept: "image/jpeg,image/png,image/gif,image/webp", multiple: true, hidden: true });
  const add = button("Add pictures", () => chosen.click(), { kind: "quiet", picture: "picture" });
  const post = h("button.primary", "Post");
  const whom = group ? null : audience();
  const left = h("span.count");
  const note = h("span.note", { role: "status" });
  const pictures = h("ul.uploads");
  const form = h("form.composer", { "aria-label": "New post" }, field, pictures, h("p.buttons", add, chosen, whom, note, left, post));
  form.update = () => whom?.update();

  const remove = (gone) => {
    uploads = uploads.filter((other) => other !== gone);
    gone.row.remove();
    gone.free();
    isWanted = false;
    update();
    field.focus();
  };
  const take = (files) => {
    const images = [...files].filter(({ type }) => type.startsWith("image/"));
    uploads.push(...images.slice(0, MOST_PICTURES - uploads.length).map((file) => upload(file, update, remove)));
    pictures.replaceChildren(...uploads.map(({ row }) => row));
    update();
    if (images.length > 0 && uploads.length === MOST_PICTURES) text(note, `A post has at most ${MOST_PICTURES} pictures.`);
  };
  const update = () => {
    uploads.forEach((upload) => upload.update());
    const failed = uploads.find(({ error }) => error)?.error;
    isWanted &&= !failed;
    text(note, failed ? `Not taken: ${failed}` : isWanted ? "Posting once the pictures are ready…" : "");
    add.disabled = uploads.length === MOST_PICTURES;
    const spare = MOST_TEXT - count(field.value);
    text(left, spare < 200 ? spare : "");
    attribute(post, "aria-disabled", (!says(field.value) && uploads.length === 0 || failed) && "true");
    if (isWanted && uploads.every(({ isReady }) => isReady)) send();
  };
  const send = () => {
    act("post.create", { text: says(field.value) ? field.value.trim() : "", ...(uploads.length > 0 && { media: uploads.map(({ id }) => id) }), ...(group ? { group } : whom.value !== "everyone" && { audience: whom.value }) });
    pictures.replaceChildren();
    uploads.forEach(({ free }) => free());
    [field.value, uploads, isWanted] = ["", [], false];
    keep(draft, "");
    update();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    isWanted = says(field.value) || uploads.length > 0;
    if (isWanted) update();
    else field.focus();
  });
  sendsWith(field, form);
  field.addEventListener("input", () => (keep(draft, field.value), update()));
  field.addEventListener("paste", ({ clipboardData }) => take(clipboardData.files));
  chosen.addEventListener("change", () => (take(chosen.files), (chosen.value = "")));
  form.addEventListener("dragover", (event) => event.preventDefault());
  form.addEventListener("drop", (event) => (event.preventDefault(), take(event.dataTransfer.files)));
  field.value = kept(draft, "");
  composers.add(update);
  signal?.addEventListener("abort", () => composers.delete(update));
  update();
  return form;
}
