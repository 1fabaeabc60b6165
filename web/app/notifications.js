// What others did that concerns this user: as it came in, the newest on top.
import { changed } from "./changes.js";
import { attribute, avatar, h, moment, rows } from "./dom.js";
import { keep, kept, onClient, onKept } from "./live.js";
import { textOf } from "./posts.js";

const MOST = 200;
const DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
let items = [];
let seen = 0;

/** When a message was sent: its id begins with that. */
const sentAt = (mid) => [...mid.slice(0, 10)].reduce((ms, digit) => ms * 32 + DIGITS.indexOf(digit), 0);

const post = (id) => h("a", { href: `#/post/${id}` }, "your post");

const KINDS = {
  "like.added": ({ by, post: id }) => ({ by, say: [" likes ", post(id)], quote: () => textOf(id) }),
  "comment.created": ({ comment }) => ({ by: comment.author, say: [" commented on ", post(comment.post)], quote: () => comment.text }),
  "follow.added": ({ by }) => ({ by, say: [" follows you"] }),
  "post.removed": () => ({ by: null, say: ["A moderator has taken one of your posts down"] }),
};

onClient((client) => {
  items = kept("notifications", []);
  seen = kept("seen", 0);
  client.on("push", ({ seq, type, mid, body }) => {
    if (!KINDS[type] || items.some((item) => item.seq === seq)) return;
    items = [{ seq, type, at: sentAt(mid), body }, ...items].slice(0, MOST);
    keep("notifications", items);
    changed();
  });
  onKept("seen", (now) => ((seen = now), changed()));
});

export const unseen = () => items.filter(({ seq }) => seq > seen).length;

function row({ type, body, at }) {
  const { by, say, quote } = KINDS[type](body);
  const when = moment();
  const said = h("p", { class: "note quote" });
  const line = h("li", { class: "panel row" }, avatar(by ?? "!"),
    h("div", {}, h("p", {}, by && h("a", { href: `#/u/${by}` }, `@${by}`), ...say, " ", when), said));
  line.update = ({ seq }) => {
    when.update(at);
    said.textContent = quote?.() ?? "";
    if (seq > seen) attribute(line, "data-new", true);
  };
  return line;
}

export function notifications() {
  const list = h("ol", { class: "list", "aria-label": "Notifications", "aria-live": "polite" });
  const empty = h("div", { class: "empty" }, h("h2", {}, "Nothing yet"), h("p", {}, "Likes and comments on your posts come in here, and who follows you."));
  const element = h("div", {}, h("h1", {}, "Notifications"), empty, list);
  const update = () => {
    rows(list, items, ({ seq }) => seq, row);
    empty.hidden = items.length > 0;
    if (document.hidden || unseen() === 0) return;
    seen = items[0].seq;
    keep("seen", seen);
    changed();
  };
  return { title: "Notifications", element, update };
}
